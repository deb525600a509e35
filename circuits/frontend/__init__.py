"""An uploaded model as data: read without trust, bound to one shape, folded, judged.

``reading`` parses bytes nobody has vouched for, ``shapes`` fixes dimensions, ``folding`` computes
what does not depend on the input, ``operators`` knows what the engine computes faithfully.
"""
