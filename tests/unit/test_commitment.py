"""The input as a file, and what is published of it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from circuits.format.tensors import InputEncoding, TensorSpec
from prover.statement.commitment import commit, input_json, parse_input_json


def encoding(dtype: str = "float32") -> InputEncoding:
    spec = TensorSpec(name="x", dtype=dtype, shape=(2, 2))
    return InputEncoding(tensor=spec, scale=7, lower=-10.0, upper=10.0)


@given(
    arrays(np.float32, (2, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
)
def test_an_input_reads_back_exactly(values: np.ndarray) -> None:
    document = input_json([encoding()], {"x": values})
    (back,) = parse_input_json(document, [encoding()]).values()
    assert np.array_equal(back.astype(np.float32), values)
    assert input_json([encoding()], {"x": back}) == document


def test_its_bytes_are_those_of_the_specification() -> None:
    document = input_json([encoding()], {"x": np.array([[1, -2], [0.1, 3]])})
    assert document == (
        b'{"inputs":[{"dtype":"float32","name":"x","shape":[2,2],'
        b'"values":[1.0,-2.0,0.10000000149011612,3.0]}]}'
    )
    assert commit(document, None) == "sha256:" + hashlib.sha256(document).hexdigest()
    salted = hashlib.sha256(b"zkml-prover/input/v1\n" + b"s" * 32 + document).hexdigest()
    assert commit(document, b"s" * 32) == "sha256:" + salted


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"inputs":[]}',
        b'{"inputs":[1]}',
        b'{"inputs":[{"dtype":"float32","name":"y","shape":[2,2],"values":[1.0,2.0,3.0,4.0]}]}',
        b'{"inputs":[{"dtype":"float32","name":"x","shape":[4],"values":[1.0,2.0,3.0,4.0]}]}',
        b'{"inputs":[{"dtype":"float32","name":"x","shape":[2,2],"values":[1.0,2.0,3.0]}]}',
        b'{"inputs":[{"dtype":"float32","name":"x","shape":[2,2],"values":[1.0,2.0,3.0,"4"]}]}',
        b'{"inputs":[{"dtype":"float32","name":"x","shape":[2,2],"values":[1.0,2.0,3.0,NaN]}]}',
    ],
)
def test_an_input_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any: the verifier reports its text
        parse_input_json(data, [encoding()])
