"""What can be asked for by name, and what each suite measures."""
