"""A model whose products are packed two in a number."""

from __future__ import annotations

from tests.cases.integers import graph

TERMS = 40

#: Seven outputs: three pairs, and one that is left over.
DENSE = graph(
    "a = Gemm(x, w, b) r = Relu(a) y = MatMul(r, w2)",
    f"float[1, {TERMS}] x",
    {"w": [TERMS, 7], "b": [7], "w2": [7, 3]},
)
