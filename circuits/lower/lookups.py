"""Tables that are looked up at places given as an input, such as embeddings, as products.

An input's places have bounds: within the table and never negative, each is a row of zeros with a
single one. Where the bounds reach further the lookup stays, and has no form in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir

from circuits.frontend.fixed_shapes import infer_shapes
from circuits.rewrite.edit import Builder, attr, constant, expand
from circuits.rewrite.selection import look_up, source

Ends = tuple[tuple[str, float, float], ...]


def with_lookups(data: bytes, input_bounds: Mapping[str, tuple[float, float]]) -> bytes:
    """The rewritten graph with such lookups written out; ``input_bounds`` as ``lower`` has them."""
    ends = ((n, float(np.min(low)), float(np.max(high))) for n, (low, high) in input_bounds.items())
    return _with_lookups(data, tuple(ends))


@lru_cache(maxsize=4)
def _with_lookups(data: bytes, ends: Ends) -> bytes:
    if b"Gather" not in data:
        return data
    model = ir.from_proto(onnx.load_model_from_string(data))
    bounds = {name: (low, high) for name, low, high in ends}
    found = False

    def gather(node: ir.Node, build: Builder) -> ir.Value | None:
        nonlocal found
        table, places = constant(node.inputs[0]), source(node.inputs[1])
        if table is None or places is None or not places.is_graph_input():
            return None
        low, high = bounds[places.name or ""]
        if low < 0 or high >= table.shape[attr(node, "axis", 0)]:
            return None
        made = look_up(node, build)
        found |= made is not None
        return made

    expand(model, {"Gather": gather})
    if not found:
        return data
    written = ir.to_proto(model)
    del written.graph.value_info[:]
    inferred: bytes = infer_shapes(written).SerializeToString(deterministic=True)
    return inferred
