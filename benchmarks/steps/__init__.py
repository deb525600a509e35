"""Programs that do the measured work, each in a process of its own."""
