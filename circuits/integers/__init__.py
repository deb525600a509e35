"""Graphs of integers, run exactly and without the engine.

They are few operators with the engine's own rounding and scales. ``circuits.lower`` makes such
graphs; whoever proves runs them for what a circuit is given (``hints``), and so needs no more of
the compiler than this.
"""
