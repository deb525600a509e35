"""Estimates of a circuit's cost, before any work."""
