"""Calibration data: the forms it may have, what is refused, and that nothing of it is random."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.calibration.samples import (
    MAX_HELD_OUT,
    MAX_PLAN,
    Sample,
    answered,
    covering_ranges,
    default_ranges,
    draw,
    nearer,
    read_calibration,
    widened,
)
from circuits.errors import CalibrationError
from circuits.format.tensors import Signature, TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=(1, 2))
IDS = TensorSpec(name="ids", dtype="int64", shape=(3,))
ONE = Signature(inputs=(X,), outputs=())
TWO = Signature(inputs=(X, IDS), outputs=())
ROWS = [[[0.0, 1.0]], [[2.0, -3.0]], [[0.5, 0.5]], [[1.0, 1.0]]]


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def lines(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps({"inputs": {"x": row}}) for row in rows).encode()


@pytest.mark.parametrize(
    "data",
    [
        npz(x=np.array(ROWS)),
        npz(x=np.array(ROWS).reshape(4, 2)),  # rows of a batch of one
        json.dumps({"inputs": {"x": ROWS}}).encode(),
        json.dumps({"inputs": {"x": ROWS}}, indent=2).encode(),
        lines(ROWS),
        lines(ROWS) + b"\n\n",
    ],
)
def test_each_form_holds_the_same_samples(data: bytes) -> None:
    samples = read_calibration(data, ONE)

    assert samples.calibrated
    assert samples.ranges == {"x": (-3.0, 2.0)}
    seen = [s["x"].tolist() for s in (*samples.plan, *samples.held_out)]
    assert sorted(seen) == sorted(ROWS)
    assert len(samples.held_out) == 1
    assert all(s["x"].dtype == np.float32 for s in samples.plan)


def test_samples_are_split_the_same_way_each_time_and_none_is_in_both_parts() -> None:
    data = npz(x=np.arange(4000.0).reshape(2000, 1, 2))
    first, second = read_calibration(data, ONE), read_calibration(data, ONE)

    def firsts(samples: Any) -> list[float]:
        return [float(s["x"][0, 0]) for s in samples]

    assert firsts(first.plan) == firsts(second.plan)
    assert (len(first.plan), len(first.held_out)) == (MAX_PLAN, MAX_HELD_OUT)
    assert not set(firsts(first.plan)) & set(firsts(first.held_out))
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "neither"),
        (b"[" * 100_000, "neither"),
        (b"PK\x03\x04 and no more", "damaged"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"input_data": [[1, 2]]}', "1 sample,"),
        (b'{"inputs": {"x": ' + b"9" * 5000 + b"}}", "neither"),
        (b'{"inputs": 1}\n{"inputs": 2}', "must be an object"),
        (lines(ROWS) + b"\n{}", 'neither "inputs" nor'),
        (lines(ROWS) + b'\n{"inputs": {"y": 1}}', "is missing"),
        (npz(y=np.zeros((4, 1, 2))), "input 'x' is missing"),
        (npz(x=np.zeros((4, 1, 2)), y=np.zeros(4)), "'y', which is no input"),
        (npz(x=np.zeros((4, 1, 3))), r"\[4, 1, 3\]"),
        (npz(x=np.zeros((4, 2, 2))), r"\[4, 2, 2\]"),
        (npz(x=np.float64(1.0)), "shape"),
        (npz(x=np.zeros((1, 1, 2))), "1 sample"),
        (npz(x=np.zeros((0, 1, 2))), "0 sample"),
        (npz(x=np.array([[[0, np.nan]], [[0, 0]]])), "NaN"),
        (npz(x=np.array([[[0, np.inf]], [[0, 0]]])), r"an infinity at \[0, 1\] of row 0"),
        (npz(x=np.array([[[0, 1e300]], [[0, 0]]])), "too large for float32"),
        (npz(x=np.array([["a", "b"], ["c", "d"]])), "<U1 where"),
        (npz(x=np.array([[[1j, 0]], [[0, 0]]])), "complex128 where"),
        (lines([[[1, 2]], [[1]], [[2, 3]]]), r"the shape \[1, 1\]"),
        (lines([[[1, None]], [[1, 2]]]), "null where"),
        (lines([[["0x01", 1]], [[1, 2]]]), "text '0x01' where"),
        (lines([[["1.5", 1]], [[1, 2]]]), "text '1.5' where"),
        (lines([[[True, False]], [[True, True]]]), "a boolean where"),
        (lines([[[10**400, 1]], [[1, 2]]]), "too large for float32"),
    ],
)
def test_what_cannot_be_used_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(CalibrationError, match=says) as caught:
        read_calibration(data, ONE)
    assert caught.value.code == "calibration_invalid"
    assert len(caught.value.detail) < 300


def test_whole_numbers_stay_whole() -> None:
    data = npz(x=np.zeros((4, 1, 2)), ids=np.array([[1, 2, 3]] * 4))
    assert read_calibration(data, TWO).plan[0]["ids"].dtype == np.int64
    with pytest.raises(CalibrationError, match="fractions"):
        read_calibration(npz(x=np.zeros((4, 1, 2)), ids=np.full((4, 3), 0.5)), TWO)
    with pytest.raises(CalibrationError, match="int64"):
        read_calibration(npz(x=np.zeros((4, 1, 2)), ids=np.full((4, 3), 1e20)), TWO)


def test_inputs_with_different_numbers_of_samples_are_refused() -> None:
    with pytest.raises(CalibrationError, match="different numbers"):
        read_calibration(npz(x=np.zeros((4, 1, 2)), ids=np.zeros((5, 3))), TWO)


def test_samples_drawn_from_ranges_are_the_same_each_time_and_inside() -> None:
    ranges = {"x": (-2.0, 3.0), "ids": (0.0, 5.0)}
    first, second = draw(TWO, ranges), draw(TWO, ranges)

    assert not first.calibrated
    assert first.digest == second.digest != draw(TWO, ranges | {"x": (-2.0, 4.0)}).digest
    for a, b in zip(first.plan, second.plan, strict=True):
        assert np.array_equal(a["x"], b["x"])
        assert (a["x"].min() >= -2) & (a["x"].max() <= 3)
        assert a["ids"].dtype == np.int64
        assert set(a["ids"].tolist()) <= {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("largest", "bound"),
    [
        (0.0, 1.0),
        (0.3, 1.0),
        (1.0, 1.0),
        (1.01, 2.0),
        (5.0, 8.0),
        (-0.01, 2.0**-6),
        (1e-9, 2.0**-20),
        (-100.0, 128.0),
        (1e12, 2.0**40),
    ],
)
def test_an_input_alone_gives_one_of_few_ranges(largest: float, bound: float) -> None:
    low = -bound if largest < 0 else 0.0
    assert covering_ranges({"x": np.array([0.0, largest])}, ()) == {"x": (low, bound)}


def test_a_margin_does_not_make_what_is_never_negative_so() -> None:
    assert widened((0.0, 2.0), 0.25) == (0.0, 2.5)
    assert widened((-1.0, 1.0), 0.25) == (-1.5, 1.5)


def root(samples: Sequence[Sample]) -> list[list[NDArray[Any]]]:
    with np.errstate(invalid="ignore"):
        return [[np.sqrt(s["x"])] for s in samples]


def test_random_samples_without_finite_outputs_are_dropped_and_given_ones_refused() -> None:
    samples = [{"x": np.array([v])} for v in (-1.0, 4.0)]
    drawn_from = {"x": (-4.0, 4.0)}
    kept, answers = answered(samples, root, drawn_from)
    assert kept == (samples[1],)
    assert answers == [[np.array([2.0])]]
    with pytest.raises(CalibrationError, match="1 of 2 calibration samples"):
        answered(samples, root, None)
    with pytest.raises(CalibrationError, match="1 of 1 samples drawn"):
        answered(samples[:1], root, drawn_from)


def test_a_random_sample_without_a_finite_output_is_retried_nearer_to_zero() -> None:
    def up_to_one(samples: Sequence[Sample]) -> list[list[NDArray[Any]]]:
        return root([{"x": 1 - s["x"]} for s in samples])

    (kept,), answers = answered([{"x": np.array([6.0])}], up_to_one, {"x": (0.0, 8.0)})
    assert kept["x"] == [0.75]
    assert answers == [[np.array([0.5])]]


def test_a_drawn_sample_moves_towards_zero_and_stays_in_its_range() -> None:
    sample = {"x": np.array([-2.0, 0.5], dtype=np.float32), "n": np.array([16])}
    moved = nearer(sample, {"x": (-2.0, 2.0), "n": (0.0, 16.0)})
    np.testing.assert_array_equal(moved["x"], np.array([-0.25, 0.0625], dtype=np.float32))
    np.testing.assert_array_equal(moved["n"], sample["n"])
    beyond = nearer({"x": np.array([9.0])}, {"x": (1.0, 9.0)})
    np.testing.assert_array_equal(beyond["x"], [2.0])


def test_a_quarter_of_drawn_samples_lies_near_zero_among_those_planned_on_and_those_held_out() -> (
    None
):
    samples = draw(Signature(inputs=(X,), outputs=()), {"x": (-8.0, 8.0)})
    for part in (samples.plan, samples.held_out):
        near = [s for s in part if np.abs(s["x"]).max() <= 1.0]
        assert len(part) / 4 <= len(near) < len(part) / 2


def test_a_range_is_no_wider_than_its_dtype_nor_than_whole_numbers_seen() -> None:
    sample = {
        "byte": np.array([200], dtype=np.uint8),
        "flag": np.array([True]),
        "half": np.array([-60000.0], dtype=np.float16),
        "long": np.array([-(2**39)], dtype=np.int64),
    }
    ranges = covering_ranges(sample, ())
    assert ranges["byte"] == (0.0, 200.0)
    assert ranges["flag"] == (0.0, 1.0)
    assert ranges["long"] == (-(2.0**39), 0.0)
    assert ranges["half"] == (-65504.0, 65504.0)
    tensors = tuple(TensorSpec(name=n, dtype=v.dtype.name, shape=(5,)) for n, v in sample.items())
    signature = Signature(inputs=tensors, outputs=())
    assert default_ranges(signature)["byte"] == (0.0, 1.0)
    for drawn in draw(signature, ranges).plan:
        for tensor in tensors:
            low, high = ranges[tensor.name]
            values = drawn[tensor.name].astype(np.float64)
            assert ((values >= low) & (values <= high)).all()
