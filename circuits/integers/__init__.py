"""Graphs of integers, run exactly and without the engine.

They are few operators with the engine's own rounding and scales. ``circuits.lower`` makes such
graphs, and tries bits on them.
"""
