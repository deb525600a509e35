"""The suites by name."""
