"""Quantised models have the answers that ONNX defines, on every processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, parser

from circuits.calibration.reference import run_reference

_HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
_SCALES = "s = Constant<value = float {0.01}>() t = Constant<value = float {0.02}>()" + (
    " u = Constant<value = float {8.0}>()"
)


def _model(text: str, **constants: NDArray[Any]) -> bytes:
    model: ModelProto = parser.parse_model(_HEAD + text)
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return bytes(model.SerializeToString())


def _drawn() -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sides of a product, of all 8 bits: two products exceed 16 bits."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (5, 40)).astype(np.uint8)
    return left, rng.integers(-128, 128, (40, 8)).astype(np.int8)


@pytest.mark.parametrize("zero", [None, 7, "each column"])
def test_integer_products_do_not_saturate(zero: Any) -> None:
    a, b = _drawn()
    shift = np.arange(-4, 4) if zero == "each column" else np.array(zero or 0)
    given = "" if zero is None else ", za, zb"
    zeros = {} if zero is None else {"za": np.uint8(3), "zb": shift.astype(np.int8)}
    model = _model(
        f"g (uint8[5, 40] a) => (int32[5, 8] y) {{ y = MatMulInteger(a, b{given}) }}",
        b=b,
        **{name: np.asarray(value) for name, value in zeros.items()},
    )
    want = (a.astype(int) - int(zeros.get("za", 0))) @ (b.astype(int) - shift)
    assert np.array_equal(run_reference(model, [{"a": a}])[0][0], want)


@pytest.mark.parametrize("op", ["QLinearMatMul", "com.microsoft.QGemm"])
def test_rounded_products_do_not_saturate(op: str) -> None:
    a, b = _drawn()
    last = ", , u, zy" if "QGemm" in op else ", u, zy"
    model = _model(
        f"g (uint8[5, 40] a) => (uint8[5, 8] y) {{ {_SCALES} y = {op}(a, s, za, b, t, zb{last}) }}",
        b=b,
        za=np.array(3, np.uint8),
        zb=np.array(7, np.int8),
        zy=np.array(100, np.uint8),
    )
    exact = (a.astype(int) - 3) @ (b.astype(int) - 7)
    want = np.clip(np.rint(exact * (0.01 * 0.02 / 8)) + 100, 0, 255)
    assert np.array_equal(run_reference(model, [{"a": a}])[0][0], want)


@pytest.mark.parametrize("op", ["ConvInteger", "QLinearConv"])
def test_convolutions_do_not_saturate(op: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (1, 4, 9, 9)).astype(np.uint8)
    w = rng.integers(-128, 128, (6, 4, 3, 3)).astype(np.int8)
    zeros = {"za": np.array(3, np.uint8), "zb": np.zeros(6, np.int8), "zy": np.array(9, np.uint8)}
    windows = np.lib.stride_tricks.sliding_window_view(x[0].astype(int) - 3, (3, 3), axis=(1, 2))
    want = np.einsum("chwij,ocij->ohw", windows, w.astype(int))
    if op == "ConvInteger":
        kind, call, zeros = "int32", "ConvInteger(a, b, za)", {"za": zeros["za"]}
    else:
        kind, call = "uint8", "QLinearConv(a, s, za, b, t, zb, u, zy)"
        want = np.clip(np.rint(want * (0.01 * 0.02 / 8)) + 9, 0, 255).astype(int)
    text = f"g (uint8[1, 4, 9, 9] a) => ({kind}[1, 6, 7, 7] y) {{ {_SCALES} y = {call} }}"
    found = run_reference(_model(text, b=w, **zeros), [{"a": x}])[0][0]
    assert np.array_equal(found[0], want)


def test_products_between_steps_are_those_of_the_floats_they_stand_for() -> None:
    """Layers that share a zero point, which onnxruntime's own option cannot."""
    a, b = _drawn()
    model = _model(
        f"""g (uint8[5, 40] a) => (float[5, 8] y) {{ {_SCALES}
        f = DequantizeLinear(a, s) g = DequantizeLinear(b, t, zb) h = MatMul(f, g)
        i = DequantizeLinear(c, t, zb) k = QuantizeLinear(h, u) l = DequantizeLinear(k, u)
        y = MatMul(l, i) }}""",
        b=b,
        c=b[:8],
        zb=np.array(7, np.int8),
    )
    weights = (b.astype(int) - 7) * 0.02
    steps = np.clip(np.rint(a.astype(int) * 0.01 @ weights / 8), 0, 255) * 8
    assert run_reference(model, [{"a": a}])[0][0] == pytest.approx(steps @ weights[:8], rel=1e-5)


def test_products_inside_branches_and_functions_do_not_saturate() -> None:
    a, b = _drawn()
    text = """g (uint8[5, 40] a, bool c) => (int32[5, 8] y, int32[5, 8] z) {
        y = If (c) <
          then_branch = t () => (int32[5, 8] p) { p = MatMulInteger(a, b) },
          else_branch = e () => (int32[5, 8] q) { q = MatMulInteger(a, b) }>
        z = own.product(a, b) }
        <domain: "own", opset_import: ["" : 17]> product (l, r) => (m) {
          m = MatMulInteger(l, r) }"""
    model = parser.parse_model(_HEAD.replace("]>", ', "own" : 1]>') + text)
    model.graph.initializer.append(numpy_helper.from_array(b, "b"))
    feed = {"a": a, "c": np.array(False)}
    for found in run_reference(model.SerializeToString(), [feed])[0]:
        assert np.array_equal(found, a.astype(int) @ b.astype(int))
