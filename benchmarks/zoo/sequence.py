"""A recurrent network and an attention block, untrained, for their operators."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.zoo.entry import Built, Entry
from benchmarks.zoo.network import write_model

STEPS, FEATURES, HIDDEN = 6, 4, 8
TOKENS, WIDTH = 8, 16


def lstm() -> Built:
    """ONNX's LSTM over 6 steps, 4 features and 8 hidden units, then a dense layer to one value."""
    rng = np.random.default_rng(0)
    bound = 1 / math.sqrt(HIDDEN)
    arrays = {
        "w": rng.uniform(-bound, bound, (1, 4 * HIDDEN, FEATURES)),
        "r": rng.uniform(-bound, bound, (1, 4 * HIDDEN, HIDDEN)),
        "b": rng.uniform(-bound, bound, (1, 8 * HIDDEN)),
        "dense": rng.uniform(-bound, bound, (HIDDEN, 1)),
    }
    nodes = [
        helper.make_node(
            "LSTM", ["x", "w", "r", "b"], ["", "last"], name="lstm", hidden_size=HIDDEN
        ),
        helper.make_node("Reshape", ["last", "row"], ["state"], name="state"),
        helper.make_node("MatMul", ["state", "dense"], ["y"], name="dense"),
    ]
    return _built(
        "lstm", nodes, arrays, {"row": np.array([1, HIDDEN])}, (STEPS, 1, FEATURES), (1, 1)
    )


def attention() -> Built:
    """One head over 8 tokens of width 16, projected, with the input added."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(0, 1 / math.sqrt(WIDTH), (WIDTH, WIDTH)) for name in ("q", "k", "v", "o")
    }
    arrays["scale"] = np.array(1 / math.sqrt(WIDTH))
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["queries"], name="queries"),
        helper.make_node("MatMul", ["x", "k"], ["keys"], name="keys"),
        helper.make_node("MatMul", ["x", "v"], ["values"], name="values"),
        helper.make_node("Transpose", ["keys"], ["keys_t"], name="transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["queries", "keys_t"], ["raw"], name="scores"),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"], name="scale"),
        helper.make_node("Softmax", ["scaled"], ["shares"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "values"], ["mixed"], name="mix"),
        helper.make_node("MatMul", ["mixed", "o"], ["projected"], name="project"),
        helper.make_node("Add", ["projected", "x"], ["y"], name="add"),
    ]
    shape = (1, TOKENS, WIDTH)
    return _built("attention", nodes, arrays, {}, shape, shape)


def _built(
    name: str,
    nodes: list[onnx.NodeProto],
    arrays: dict[str, np.ndarray],
    integers: dict[str, np.ndarray],
    x: tuple[int, ...],
    y: tuple[int, ...],
) -> Built:
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    tensors += [numpy_helper.from_array(a.astype(np.int64), n) for n, a in integers.items()]
    inputs = np.random.default_rng(1).normal(0, 0.5, (264, *x)).clip(-2, 2).astype(np.float32)
    return Built(
        onnx=write_model(name, nodes, tensors, {"x": x}, {"y": y}),
        calibration={"x": inputs[:64]},
        held_out={"x": inputs[64:]},
    )


def entries() -> list[Entry]:
    gates = STEPS * 4 * HIDDEN
    return [
        Entry(
            name="lstm",
            title=f"LSTM, {STEPS} steps, {HIDDEN} units",
            build=lstm,
            multiplications=gates * (FEATURES + HIDDEN) + 3 * STEPS * HIDDEN + HIDDEN,
            activations=gates + STEPS * HIDDEN,
            bound_by="pieces of its functions",
            tables="sigmoid, tanh",
        ),
        Entry(
            name="attention",
            title=f"attention block, {TOKENS} tokens of {WIDTH}",
            build=attention,
            multiplications=4 * TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH + TOKENS**2,
            activations=TOKENS**2,
            bound_by="the softmax",
            tables="exp, of the softmax",
        ),
    ]
