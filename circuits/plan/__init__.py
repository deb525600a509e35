"""The planner: which circuit for a model, found by layouts candidates instead of by defaults.

``samples`` (calibration data), ``reference`` (onnxruntime), ``accuracy`` (how far a circuit is
from it), ``committed``, ``integers`` and ``fixed_point`` (the roads to ``lowered_candidates``: graphs with
number formats that are exact enough, made in children by ``graphs``), ``layouts`` (bases, legs,
columns, rows for one of them), ``cost`` (time and memory of each), ``effort`` (timing for real),
``planner`` (the choice, and why); beside them ``estimate``, ``calibrate`` (the cost model, fitted
to a machine) and ``picture``.
"""
