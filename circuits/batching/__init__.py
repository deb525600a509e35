"""Many inputs in one circuit: each has a *lane*, a slot of its own in a leading batch dimension.

``widen`` carries the batch dimension through a graph, ``check`` holds the wide graph to the narrow
one in onnxruntime, ``build`` makes a wide circuit out of a circuit of one lane.
"""
