"""What models and circuits cost: assignments counted, seconds and memory predicted."""
