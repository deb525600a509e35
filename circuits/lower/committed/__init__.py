"""The lowering to circuits with committed hints (docs/decisions/0015-committed-hints.md).

``reading`` turns a rewritten graph into a network, ``quantising`` its numbers into integers,
``circuit`` these into the graph that the engine lays out (``writing`` is its pen), and
``candidates`` tries sizes.
"""
