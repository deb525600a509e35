"""A recipe's pieces of functions, held to the functions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.format.commitments import Weights
from circuits.format.profile import Visibility
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import LoweringTask
from circuits.plan.graphs import float_graph


def kernel_machine() -> tuple[bytes, NDArray[np.float32]]:
    """Twice a kernel about one point in 24 dimensions, less a half; and the point."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 24] x) => (float[1, 2] y) { s = Sub(x, p)
      q = ReduceSumSquare<axes = [1], keepdims = 1>(s) e = Neg(q) k = Exp(e) y = Gemm(k, w, b) }""")
    point = np.random.default_rng(1).uniform(-1, 1, (1, 24)).astype(np.float32)
    for name, value in (("p", point), ("w", [[4, -4]]), ("b", [-1, 1])):
        array = np.array(value, dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(made.SerializeToString()), point


def test_a_rebuild_refuses_pieces_of_another_function_where_no_random_input_comes() -> None:
    """A straight line from the point to where data ends makes the class of its surroundings
    another; all random inputs lie beyond."""
    model, point = kernel_machine()
    rng = np.random.default_rng(2)
    x = [(point + 0.25 * rng.normal(size=point.shape)).astype(np.float32) for _ in range(60)]
    samples = tuple({"x": row} for row in x)
    graph = float_graph(model, samples[:2], 1)
    task = LoweringTask(
        accepted={"x": (-1.5, 1.5)},
        limbs=1,
        plan=samples[:40],
        held_out=samples[40:],
        visibility=Visibility.PRIVATE_INPUT,
        max_error=0.05,
    )
    found = committed_graphs(graph, task, False, Weights.SEALED)
    assert isinstance(found, list)
    honest = found[0].recipe
    assert honest is not None
    recompiled(graph, honest, (), shown=False, weights=Weights.SEALED)
    bent = copy.deepcopy(honest)
    squares, kernel = bent["steps"]["sums"][1:3]
    end = round(3.2 * squares["scale"])  # of squared distances
    (own,) = kernel["kinks"]
    kernel["kinks"] = [sorted({*(k for k in own if k > end), *range(end, end + 32, 8)})]
    with pytest.raises(CannotLower, match="pieces are those of another"):
        recompiled(graph, bent, (), shown=False, weights=Weights.SEALED)
