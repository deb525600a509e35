"""What a circuit would cost, before any work."""
