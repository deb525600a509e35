"""From an arrangement of integers to the graph that the engine lays out."""
