"""Which circuit: how fine its inputs are, how long its table, and what a recipe stands for."""
