"""The model of one case, and its inputs.

Inputs are drawn from a grid of eighths, so that quantising them changes nothing and ties, zeros and
equal values occur: where an operator jumps, the engine has to jump at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, parser

V4 = "float[1, 4] x"
TWO = "float[1, 4] x, float[1, 4] z"
CUBE = "float[2, 3, 4] x"
IMAGE = "float[1, 2, 5, 5] x"
EVEN = "float[1, 2, 4, 4] x"
BITS = "bool[1, 4] a, bool[1, 4] b"

_GRID = 8
_DTYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool",
}


@dataclass(frozen=True)
class Case:
    """A model's text: its nodes, inputs, constants and outputs, the range of its inputs, and
    whether it has an answer where all of them are equal."""

    nodes: str
    inputs: str = V4
    constants: str = ""
    outputs: str = "float y"
    low: float = -2.0
    high: float = 2.0
    opset: int = 17
    ties: bool = True

    def model(self) -> bytes:
        constants = f"<{self.constants}>" if self.constants else ""
        text = (
            f'<ir_version: {8 if self.opset < 20 else 10}, opset_import: ["" : {self.opset}]>'
            f" g ({self.inputs}) => ({self.outputs}) {constants} {{ {self.nodes} }}"
        )
        return bytes(parser.parse_model(text).SerializeToString())

    def samples(self, count: int = 4) -> list[dict[str, NDArray[np.generic]]]:
        """Inputs on the grid; the last sample has every input equal to every other."""
        rng = np.random.default_rng(3)
        model = onnx.load_model_from_string(self.model())
        shapes = {i.name: i.type.tensor_type for i in model.graph.input}
        drawn = []
        for number in range(count):
            sample = {}
            for name, kind in shapes.items():
                shape = [d.dim_value for d in kind.shape.dim]
                dtype = _DTYPES[kind.elem_type]
                places = rng.integers(0, int((self.high - self.low) * _GRID) + 1, shape)
                if number == count - 1 and self.ties:
                    places = np.full(shape, int((self.high - self.low) * _GRID) // 2)
                if dtype == "bool":
                    values = places % 2 == 0
                elif dtype.startswith("float"):
                    values = self.low + places / _GRID
                else:
                    values = np.floor(self.low + places / _GRID)
                sample[name] = np.asarray(values).astype(dtype)
            drawn.append(sample)
        return drawn
