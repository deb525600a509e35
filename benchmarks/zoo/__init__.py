"""Seeded builders of the networks for benchmarks, demo and tests."""
