"""From a network to integers: how many steps its numbers are cut into."""
