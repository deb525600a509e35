"""Inputs from outside: each way to be wrong has its own code, and nothing wrong gets through."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest

from circuits.errors import InputError
from circuits.format.npz import read_npz
from circuits.format.tensors import InputEncoding, Signature, TensorSpec
from prover.jobs.inputs import load_input, parse_input, read_input, store_input

X = TensorSpec(name="x", dtype="float32", shape=(1, 2))
N = TensorSpec(name="n", dtype="int64", shape=(3,))
B = TensorSpec(name="b", dtype="bool", shape=(2,))
SCALAR = TensorSpec(name="s", dtype="float64", shape=())
SMALL = TensorSpec(name="u", dtype="uint8", shape=(1,))


def signature(*tensors: TensorSpec) -> Signature:
    return Signature(inputs=tensors, outputs=())


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def code_of(payload: object, *tensors: TensorSpec) -> str:
    with pytest.raises(InputError) as caught:
        parse_input(payload, signature(*(tensors or (X,))))
    assert len(caught.value.detail) < 300
    return caught.value.code


@pytest.mark.parametrize(
    "payload",
    [
        {"inputs": {"x": [[1.5, -2]]}},
        {"input_data": [[1.5, -2]]},
        {"input_data": [[[1.5, -2]]]},
        {"input_data": [[[1.5], [-2]]]},  # EZKL reads a flat list, whatever its nesting
    ],
)
def test_the_same_numbers_in_each_form_are_the_same_input(payload: object) -> None:
    arrays, _ = parse_input(payload, signature(X))
    assert arrays["x"].dtype == np.float32
    assert arrays["x"].tolist() == [[1.5, -2.0]]


def test_an_npz_file_is_an_input() -> None:
    given = npz(x=np.array([[1.5, -2.0]]), n=np.array([1, 2, 3], dtype=np.int32))
    arrays, _ = read_input(given, signature(X, N))
    assert arrays["n"].dtype == np.int64
    assert arrays["x"].tolist() == [[1.5, -2.0]]


def test_one_row_may_leave_its_batch_of_one_out() -> None:
    arrays, _ = read_input(b'{"inputs": {"x": [1.5, -2]}}', signature(X))
    assert arrays["x"].tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize(
    ("payload", "tensors", "code"),
    [
        ([], (X,), "input_invalid"),
        (None, (X,), "input_invalid"),
        ({}, (X,), "input_invalid"),
        ({"inputs": {"x": [[1, 2]]}, "input_data": [[1, 2]]}, (X,), "input_invalid"),
        ({"inputs": [[1, 2]]}, (X,), "input_invalid"),
        ({"input_data": {"x": 1}}, (X,), "input_invalid"),
        ({"input_data": []}, (X,), "input_names"),
        ({"input_data": [[1, 2]]}, (X, N), "input_names"),
        ({"inputs": {}}, (X,), "input_names"),
        ({"inputs": {"y": [[1, 2]]}}, (X,), "input_names"),
        ({"inputs": {"more": [[1, 2]]}}, (X,), "input_names"),
        ({"inputs": {"x": [[1, 2], [3, 4]]}}, (X,), "input_shape"),
        ({"input_data": [[1, 2], [3, 4]]}, (X,), "input_shape"),
        ({"inputs": {"x": [[1, 2, 3]]}}, (X,), "input_shape"),
        ({"inputs": {"x": []}}, (X,), "input_shape"),
        ({"inputs": {"x": 1.0}}, (X,), "input_shape"),
        ({"inputs": {"x": [[1], [2, 3]]}}, (X,), "input_shape"),
        ({"inputs": {"x": [[1, [2]]]}}, (X,), "input_shape"),
        ({"input_data": [[]]}, (X,), "input_shape"),
        ({"input_data": [[1, 2, 3]]}, (X,), "input_shape"),
        ({"inputs": {"x": [["1", "2"]]}}, (X,), "input_dtype"),
        ({"inputs": {"x": "0x01"}}, (X,), "input_dtype"),
        ({"input_data": [["0x" + "0" * 64, 1]]}, (X,), "input_dtype"),
        ({"input_data": ["/etc/passwd"]}, (X,), "input_dtype"),
        ({"inputs": {"x": [[None, 1]]}}, (X,), "input_dtype"),
        ({"inputs": {"x": None}}, (X,), "input_dtype"),
        ({"inputs": {"x": [[{}, 1]]}}, (X,), "input_dtype"),
        ({"inputs": {"x": [[True, 1.0]]}}, (X,), "input_dtype"),
        ({"inputs": {"n": [1, 2, True]}}, (N,), "input_dtype"),
        ({"inputs": {"n": [1.5, 2, 3]}}, (N,), "input_dtype"),
        ({"input_data": [[1.5, 2, 3]]}, (N,), "input_dtype"),
        ({"inputs": {"n": [2**63, 0, 0]}}, (N,), "input_dtype"),
        ({"inputs": {"n": [10**400, 0, 0]}}, (N,), "input_not_finite"),
        ({"inputs": {"n": [1e300, 0, 0]}}, (N,), "input_dtype"),
        ({"inputs": {"u": [256]}}, (SMALL,), "input_dtype"),
        ({"inputs": {"u": [-1]}}, (SMALL,), "input_dtype"),
        ({"inputs": {"b": [1, 2]}}, (B,), "input_dtype"),
        ({"inputs": {"x": [[float("nan"), 1]]}}, (X,), "input_not_finite"),
        ({"inputs": {"x": [[float("inf"), 1]]}}, (X,), "input_not_finite"),
        ({"inputs": {"x": [[1e300, 1]]}}, (X,), "input_not_finite"),
        ({"input_data": [[1e300, 1]]}, (X,), "input_not_finite"),
        ({"input_data": [[float("nan"), 1]]}, (X,), "input_not_finite"),
        ({"inputs": {"x": [[10**400, 1]]}}, (X,), "input_not_finite"),
        ({"inputs": {"x": [[10**20, 10**400]]}}, (X,), "input_not_finite"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_code(
    payload: object, tensors: tuple[TensorSpec, ...], code: str
) -> None:
    assert code_of(payload, *tensors) == code


def test_the_expected_names_are_reported() -> None:
    with pytest.raises(InputError, match="'z'") as caught:
        parse_input({"inputs": {"z": [[1, 2]], "y": 1}}, signature(X))
    assert "'x'" in caught.value.advice


def test_numbers_of_every_kind_that_fit_are_taken() -> None:
    arrays, _ = parse_input(
        {"inputs": {"n": [1.0, -2, 2**62], "b": [True, False], "s": 10**20, "u": [255]}},
        signature(N, B, SCALAR, SMALL),
    )
    assert arrays["n"].tolist() == [1, -2, 2**62]
    assert arrays["b"].tolist() == [True, False]
    assert arrays["s"].shape == ()
    assert float(arrays["s"]) == 1e20
    assert arrays["u"].dtype == np.uint8


def test_a_scalar_is_taken_from_an_ezkl_list() -> None:
    assert parse_input({"input_data": [[2.5]]}, signature(SCALAR))[0]["s"].item() == 2.5


def test_depth_that_would_end_a_recursive_reader_does_not_end_this_one() -> None:
    deep: Any = 1.0
    for _ in range(100_000):
        deep = [deep]
    assert code_of({"inputs": {"x": deep}}) == "input_shape"
    assert code_of({"input_data": [deep]}) == "input_shape"


def test_text_that_is_no_json_is_refused() -> None:
    deep = b'{"inputs": ' + b"[" * 200_000
    digits = b'{"input_data": [[' + b"9" * 5000 + b"]]}"
    broken = (b"", b"{", b"\xff\xfe", b"PK\x03\x04 no zip", b"[1, 2", deep, b"\x00" * 100, digits)
    for data in broken:
        with pytest.raises(InputError) as caught:
            read_input(data, signature(X))
        assert caught.value.code == "input_invalid"


def test_a_pickle_in_an_npz_file_is_not_read() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("a pickle of the client's was run",))

    pickled = npz(x=np.array([None], dtype=object))
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Bomb()))
    for data in (pickled, raw.getvalue(), pickled[:-20], pickled[:40]):
        with pytest.raises(InputError) as caught:
            read_input(data, signature(X))
        assert caught.value.code == "input_invalid"


def test_an_npz_file_that_says_it_is_huge_is_not_unpacked() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 1000)
    with pytest.raises(InputError, match="larger than its bytes") as caught:
        read_input(lying.getvalue(), signature(X))
    assert caught.value.code == "input_invalid"


def test_an_npz_file_that_would_fill_the_memory_is_not_unpacked() -> None:
    bomb = io.BytesIO()
    np.savez_compressed(bomb, x=np.zeros(1 << 20, dtype=np.uint8))
    assert len(bomb.getvalue()) < 4096
    with pytest.raises(ValueError, match="more than 0 MiB"):
        read_npz(bomb.getvalue(), max_unpacked=1 << 19)


def test_text_and_complex_numbers_in_an_npz_file_are_refused() -> None:
    for array in (np.array([["a", "b"]]), np.array([[1j, 2]])):
        with pytest.raises(InputError) as caught:
            read_input(npz(x=array), signature(X))
        assert caught.value.code == "input_dtype"


def test_what_is_stored_for_a_worker_is_what_was_checked() -> None:
    names = signature(
        TensorSpec(name="file", dtype="float32", shape=(1,)),
        TensorSpec(name="input/with slash", dtype="int64", shape=()),
        TensorSpec(name="données", dtype="bool", shape=(2,)),
    )
    arrays, _ = parse_input({"input_data": [[1.5], [7], [True, False]]}, names)
    loaded = load_input(store_input(arrays))
    assert {n: (a.dtype, a.tolist()) for n, a in loaded.items()} == {
        n: (a.dtype, a.tolist()) for n, a in arrays.items()
    }


def test_rounding_is_half_away_from_zero_and_the_range_is_closed() -> None:
    encoding = InputEncoding(tensor=X, scale=1, lower=-1.25, upper=1.25)
    assert encoding.quantise(np.array([[1.25, -1.25]])) == [3, -3]
    with pytest.raises(InputError, match=r"1\.2500001.*\[0, 1\]") as caught:
        encoding.quantise(np.array([[0.0, 1.2500001]]))
    assert caught.value.code == "input_out_of_range"


def test_a_body_is_read_as_json_reads_it() -> None:
    body = json.dumps({"inputs": {"x": [[1, 2]]}, "model": "sha256:…"}).encode()
    assert read_input(body, signature(X))[0]["x"].tolist() == [[1.0, 2.0]]
