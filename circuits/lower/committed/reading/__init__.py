"""From a rewritten graph to a network of sums: which models have committed hints."""
