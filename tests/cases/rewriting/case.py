"""Cases of passes, and how a graph is written down.

Graphs stand in ONNX's own text. After a pass its new values are called ``t1``, ``t2``, …, small
constants stand where they are used, and of larger ones only the type and the shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from circuits.frontend.fixed_shapes import bind_shapes, infer_shapes
from circuits.frontend.inputs import plain_inputs
from circuits.rewrite.draft import Draft
from circuits.rewrite.edit import Pass

X2 = "float[1, 2] x"
X4 = "float[N, 4] x"
IMAGE = "float[1, 2, 5, 5] x"
KERNEL = "<float[2, 2, 2, 2] w = {1,2,3,4,5,6,7,8,1,-2,3,-4,5,-6,7,-8}>"
#: Of more values than these, a graph's text shows only type and shape.
_SHOWN = 8


def graph(
    body: str, inputs: str, weights: str = "", opset: int = 17, domains: str = "", ir: int = 8
) -> bytes:
    """A model whose output is ``y``. ``domains``: further operator sets, ``"name" : version``."""
    opsets = f'"" : {opset}' + (f", {domains}" if domains else "")
    text = (
        f"<ir_version: {ir}, opset_import: [{opsets}]> g ({inputs}) => (float y)"
        f" {weights} {{ {body} }}"
    )
    return bytes(parser.parse_model(text).SerializeToString())


def samples(data: bytes, low: float = -3.0, high: float = 3.0) -> list[dict[str, np.ndarray]]:
    """Of ``x``, and of its mask where values may be missing; a text is one of the first two."""
    rng = np.random.default_rng(7)
    model = onnx.load_model_from_string(data)
    plain_inputs(model)
    value, *masks = model.graph.input
    shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        return [{"x": rng.integers(0, 2, shape)} for _ in range(8)]
    drawn: list[dict[str, np.ndarray]]
    drawn = [{"x": rng.uniform(low, high, shape).astype(np.float32)} for _ in range(8)]
    for mask in masks:
        for sample in drawn:
            sample[mask.name] = rng.random(shape) < 0.3
            sample["x"][sample[mask.name]] = 0
    return drawn


@dataclass(frozen=True)
class Case:
    """A graph, and the nodes that a pass alone leaves in it."""

    before: str
    inputs: str
    expected: str
    weights: str = ""
    opset: int = 17
    domains: str = ""
    ir: int = 8

    @property
    def model(self) -> bytes:
        return graph(self.before, self.inputs, self.weights, self.opset, self.domains, self.ir)

    @property
    def nodes(self) -> str:
        return dedent(self.expected).strip()


def after(step: Pass, data: bytes) -> str:
    """The nodes of a model after one pass, a line each."""
    model = onnx.load_model_from_string(data)
    plain_inputs(model)
    bind_shapes(model, None)
    draft = Draft(infer_shapes(model))
    draft.run(step)
    written = draft.model
    was, now = (m.opset_import[0].version for m in (model, written))
    kept = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return (f"opset {now}\n" if was != now else "") + _nodes(written, kept)


def _nodes(model: onnx.ModelProto, kept: set[str]) -> str:
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    named: dict[str, str] = {}

    def value(name: str) -> str:
        if name in constants:
            return _constant(constants[name])
        return name if name in kept else named.setdefault(name, f"t{len(named) + 1}")

    lines = []
    for node in model.graph.node:
        attributes = ", ".join(
            f"{a.name} = {_attribute(helper.get_attribute_value(a))}"
            for a in sorted(node.attribute, key=lambda a: a.name)
        )
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        operands = ", ".join(value(name) for name in node.input)
        results = ", ".join(value(name) for name in node.output)
        shown = f"<{attributes}>" if attributes else ""
        lines.append(f"{results} = {operator}{shown}({operands})")
    return "\n".join(lines)


def _constant(array: np.ndarray) -> str:
    if array.size > _SHOWN:
        return f"{array.dtype}{list(array.shape)}"
    return "{" + ", ".join(_number(v) for v in array.reshape(-1).tolist()) + "}"


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _attribute(value: Any) -> str:
    if isinstance(value, bytes):
        return f'"{value.decode()}"'
    if isinstance(value, onnx.TensorProto):
        return _constant(numpy_helper.to_array(value))
    if isinstance(value, int | float):
        return _number(value)
    return "[" + ", ".join(_attribute(v) for v in value) + "]"
