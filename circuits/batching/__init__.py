"""Many inputs in one circuit: each has a *lane*, a slot of its own in a leading batch dimension.

``vectorize`` carries the batch dimension through a graph, ``committed`` writes the integers of a
network for many, ``batched_circuit`` makes a batched circuit out of a circuit of one lane.
"""
