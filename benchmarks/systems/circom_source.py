"""A dense network as a circom program: integer weights as constants, so its products are linear.

Values grow from layer to layer without rescaling: the field is large enough, and the only error is
from rounding input and weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.errors import SystemRefused

#: Fractional bits of the input and of each layer's weights.
INPUT_BITS = WEIGHT_BITS = 8

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DenseLayer:
    """``weight`` [outputs, inputs] and ``bias`` [outputs], as integers of the layer's own scale."""

    weight: Integers
    bias: Integers
    relu: bool


@dataclass(frozen=True, kw_only=True)
class IntegerNetwork:
    """Exact arithmetic on integers; an output stands for ``n / 2^output_bits``."""

    layers: tuple[DenseLayer, ...]

    @property
    def output_bits(self) -> int:
        return INPUT_BITS + WEIGHT_BITS * len(self.layers)

    @property
    def activations(self) -> int:
        return sum(len(layer.bias) for layer in self.layers if layer.relu)

    @classmethod
    def read(cls, model: bytes) -> IntegerNetwork:
        """Raises ``SystemRefused`` for anything but a chain of ``Gemm`` (transB = 1) and
        ``Relu``."""
        graph = onnx.load_from_string(model).graph
        tensors = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in graph.initializer}
        layers: list[DenseLayer] = []
        value = graph.input[0].name
        for node in graph.node:
            chained = node.input[0] == value
            if node.op_type == "Relu" and chained and layers and not layers[-1].relu:
                layers[-1] = DenseLayer(weight=layers[-1].weight, bias=layers[-1].bias, relu=True)
            elif node.op_type == "Gemm" and chained and len(node.input) == 3:
                weight, bias = tensors[node.input[1]], tensors[node.input[2]]
                transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
                at = INPUT_BITS + WEIGHT_BITS * (len(layers) + 1)
                layers.append(
                    DenseLayer(
                        weight=_rounded(weight if transposed else weight.T, WEIGHT_BITS),
                        bias=_rounded(bias, at),
                        relu=False,
                    )
                )
            else:
                raise SystemRefused(
                    f"the circom programs here are dense layers and ReLU; there is {node.op_type}"
                )
            value = node.output[0]
        return cls(layers=tuple(layers))

    def quantise(self, x: NDArray[np.floating]) -> Integers:
        return _rounded(np.asarray(x, dtype=np.float64).reshape(-1), INPUT_BITS)

    def run(self, x: Integers) -> Integers:
        """The circuit's exact result (all values stay far below 2^63)."""
        for layer in self.layers:
            x = layer.weight @ x + layer.bias
            if layer.relu:
                x = np.maximum(x, 0)
        return x

    def source(self, relu: str) -> str:
        """The program; ``relu`` is the path of circomlib-ml's file."""
        lines = ["pragma circom 2.0.0;", f'include "{relu}";', ""]
        lines += ["template Network() {", f"    signal input x[{self.layers[0].weight.shape[1]}];"]
        lines.append(f"    signal output y[{len(self.layers[-1].bias)}];")
        name = "x"
        for at, layer in enumerate(self.layers):
            last = at == len(self.layers) - 1
            outputs = len(layer.bias)
            target = "y" if last and not layer.relu else f"z{at}"
            if target != "y":
                lines.append(f"    signal {target}[{outputs}];")
            for i in range(outputs):
                terms = [f"{w}*{name}[{j}]" for j, w in enumerate(layer.weight[i].tolist()) if w]
                total = _sum([*terms, str(int(layer.bias[i]))])
                lines.append(f"    {target}[{i}] <== {total};")
            if layer.relu:
                name = "y" if last else f"a{at}"
                if not last:
                    lines.append(f"    signal {name}[{outputs}];")
                lines.append(f"    component r{at}[{outputs}];")
                lines.append(f"    for (var i = 0; i < {outputs}; i++) {{")
                lines.append(f"        r{at}[i] = ReLU(); r{at}[i].in <== {target}[i];")
                lines.append(f"        {name}[i] <== r{at}[i].out;")
                lines.append("    }")
            else:
                name = target
        return "\n".join([*lines, "}", "", "component main {public [x]} = Network();", ""])


def _sum(terms: Sequence[str]) -> str:
    """The sum as a balanced tree: the compiler recurses into expressions, and a chain of 785 terms
    overflows its stack."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


def _rounded(values: NDArray[np.float64], bits: int) -> Integers:
    return np.rint(np.ldexp(values, bits)).astype(np.int64)
