"""Small models whose products are given to the circuit as hints, and how these are packed."""

from __future__ import annotations

from circuits.integers.interpreter import Graph
from circuits.lower import BitWidths, GraphVariant, LoweringOptions, lower
from circuits.lower.variant import Hinted
from tests.cases.integers import BOUND, graph

BITS = BitWidths(input=5, weights=(6, 7))

DENSE = graph(
    "a = Gemm(x, w, b) r = Relu(a) y = MatMul(r, w2)",
    "float[1, 30] x",
    {"w": [30, 17], "b": [17], "w2": [17, 5]},
)

IMAGE = graph(
    "a = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, w, b) r = Relu(a)"
    " p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)"
    " c = Conv<pads = [0, 0, 0, 0], strides = [1, 1]>(p, k, d) s = Relu(c)"
    " f = Flatten(s) y = Gemm(f, z, e)",
    "float[1, 2, 6, 6] x",
    {"w": [6, 2, 3, 3], "b": [6], "k": [5, 6, 2, 2], "d": [5], "z": [20, 4], "e": [4]},
)

#: Both branches of the sum are products: the first is computed, the second is given.
FORKED = graph(
    "a = MatMul(x, w) c = MatMul(x, v) s = Add(a, c) r = Relu(s) y = MatMul(r, z)",
    "float[1, 30] x",
    {"w": [30, 17], "v": [30, 17], "z": [17, 5]},
)

#: Nothing bounds what the first product gives but the second.
LINEAR = graph("a = MatMul(x, w) y = MatMul(a, z)", "float[1, 30] x", {"w": [30, 17], "z": [17, 5]})

#: Two layers of windows so many that a challenge costs less than packing.
WINDOWS = graph(
    "a = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, w, b) r = Relu(a)"
    " c = Conv<pads = [0, 0, 0, 0], strides = [1, 1]>(r, k, d) s = Relu(c)"
    " f = Flatten(s) y = Gemm(f, z, e)",
    "float[1, 2, 6, 6] x",
    {"w": [20, 2, 3, 3], "b": [20], "k": [9, 20, 2, 2], "d": [9], "z": [225, 4], "e": [4]},
)

GIVEN = {
    "dense": (DENSE, 2),
    "image": (IMAGE, 3),
    "forked": (FORKED, 2),
    "linear": (LINEAR, 1),
    "windows": (WINDOWS, 3),
}


def hinted(data: bytes) -> tuple[GraphVariant, Hinted]:
    variant = lower(data, BITS, BOUND, LoweringOptions(hints=True))
    assert variant.hinted is not None
    return variant, variant.hinted


def apart_of(made: Hinted, product: int = 0) -> int:
    """By how many bits the results of one of the packed products lie apart: its second power's."""
    return packings(made, "MatMul")[product][1].bit_length() - 1


def packings(made: Hinted, kind: str) -> list[list[int]]:
    """The powers of two that results are multiplied by: by a MatMul where they are packed, by a Mul
    (then of all groups) where groups are challenged."""
    parsed = Graph(made.onnx)
    factors = [parsed.constants.get(n.input[1]) for n in parsed.nodes if n.op_type == kind]
    lists = [[int(w) for w in f.reshape(-1)] for f in factors if f is not None and 1 in f.shape]
    return [p for p in lists if p[0] == 1 and len(p) > 1 and not any(w & (w - 1) for w in p)]
