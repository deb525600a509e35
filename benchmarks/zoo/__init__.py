"""Seeded builders of the networks that are measured, demonstrated and tested."""
