"""The planner: which circuit for a model, found by pricing candidates instead of by defaults.

``samples`` (calibration data), ``reference`` (onnxruntime), ``accuracy`` (how far a circuit is from
it), ``variants`` (graphs and scales that are exact enough), ``shapes`` (bases, legs, columns, rows
for one variant), ``cost`` (time and memory of each), ``planner`` (the choice, and why).
"""
