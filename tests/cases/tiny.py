"""Models of a few parameters, so that real proofs of them take tenths of a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

_WEIGHTS = np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5], [-0.75, 1.0, 0.5], [0.25, 0.5, 1.0]])


def model(
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    outputs: dict[str, tuple[int, Sequence[int | str]]],
    constants: dict[str, NDArray[Any]] | None = None,
    *,
    opset: int = 17,
) -> bytes:
    """An ONNX file: inputs and outputs by name as ``(element type, shape)``."""
    proto: ModelProto = helper.make_model(
        helper.make_graph(
            list(nodes),
            "tiny",
            [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
            [helper.make_tensor_value_info(n, t, s) for n, (t, s) in outputs.items()],
            [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    checker.check_model(proto)
    return bytes(proto.SerializeToString())


def linear(*, activation: str | None = "Relu", scale: float = 1.0) -> bytes:
    """``y = activation(x · W + b)``: x is float32 [1, 4], y float32 [1, 3].

    ``scale`` multiplies the weights, so that each value gives another model.
    """
    last = "y" if activation is None else "sum"
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], [last], name="dense")]
    if activation is not None:
        nodes.append(helper.make_node(activation, ["sum"], ["y"], name="activation"))
    return model(
        nodes,
        {"x": (TensorProto.FLOAT, [1, 4])},
        {"y": (TensorProto.FLOAT, [1, 3])},
        {
            "w": (_WEIGHTS * scale).astype(np.float32),
            "b": np.array([0.125, -0.25, 0.5], dtype=np.float32),
        },
    )


def unary(operator: str, shape: Sequence[int] = (1, 4), **attributes: Any) -> bytes:
    """``y = operator(x)`` on float32 of one shape."""
    return model(
        [helper.make_node(operator, ["x"], ["y"], name="the_node", **attributes)],
        {"x": (TensorProto.FLOAT, shape)},
        {"y": (TensorProto.FLOAT, shape)},
    )


def non_zero() -> bytes:
    """A model with an operator that no circuit has, at the node ``the_node``."""
    return model(
        [helper.make_node("NonZero", ["x"], ["y"], name="the_node")],
        {"x": (TensorProto.FLOAT, [1, 4])},
        {"y": (TensorProto.INT64, [2, "found"])},
    )


def wide(width: int = 256) -> bytes:
    """One layer of ``width²`` weights: its proof takes seconds."""
    weights = np.random.default_rng(0).normal(0, width**-0.5, (width, width))
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, [1, width])},
        {"y": (TensorProto.FLOAT, [1, width])},
        {"w": weights.astype(np.float32)},
    )
