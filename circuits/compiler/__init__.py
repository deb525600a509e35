"""From a model to a circuit that serves, and from its manifest back to its graph."""
