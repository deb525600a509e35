"""One reader for inputs, batches and calibration: every form in each of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.calibration.samples import read_calibration
from circuits.format.input_forms import read_columns
from circuits.format.tensors import Signature, TensorSpec
from prover.batch.row import Row
from prover.batch.rows import read_rows
from prover.jobs.inputs import read_input

X = TensorSpec(name="x", dtype="float32", shape=(1, 3))
ONE = Signature(inputs=(X,), outputs=())
TWO = Signature(inputs=(X, TensorSpec(name="n", dtype="int64", shape=(1, 1))), outputs=())
VALUES = [[1.5, -2.0, 3.0], [0.5, 4.0, 5.0], [7.0, 8.0, -9.5], [0.0, 1.0, 2.0]]


def saved(write: Any, *args: Any, **named: Any) -> bytes:
    out = io.BytesIO()
    write(out, *args, **named)
    return out.getvalue()


def table(header: str, rows: list[list[float]]) -> bytes:
    lines = [header] if header else []
    return "\n".join([*lines, *(",".join(map(str, row)) for row in rows)]).encode()


def forms(rows: list[list[float]]) -> dict[str, bytes]:
    """The same rows in each form."""
    array, flat = np.array(rows), [v for row in rows for v in row]
    lines = [{"inputs": {"x": [row]}} for row in rows]
    ezkl = [{"input_data": [row]} for row in rows]
    return {
        "inputs": json.dumps({"inputs": {"x": rows}}).encode(),
        "inputs, indented": json.dumps({"inputs": {"x": rows}}, indent=1).encode(),
        "input_data, flat": json.dumps({"input_data": [flat]}).encode(),
        "input_data, in rows": json.dumps({"input_data": rows}).encode(),
        "lines": "\n".join(map(json.dumps, lines)).encode(),
        "lines of input_data": "\n".join(map(json.dumps, ezkl)).encode() + b"\n\n",
        "table": table("x[0],x[1],x[2]", rows),
        "table, other order": table("x[1],x[0],x[2]", [[r[1], r[0], r[2]] for r in rows]),
        "table, names of its own": table("area,rooms,year", rows),
        "table without a header": table("", rows),
        "npz": saved(np.savez, x=array[:, None]),
        "npz, rows of a batch of one": saved(np.savez, x=array),
        "npz without a name": saved(np.savez, array),
        "npy": saved(np.save, array),
    }


@pytest.mark.parametrize("form", list(forms(VALUES)))
def test_each_form_is_read_by_all_three(form: str, tmp_path: Path) -> None:
    many, single = forms(VALUES)[form], forms(VALUES[:1])[form]
    assert read_columns(many, ONE).arrays["x"].tolist() == [[row] for row in VALUES]
    samples = read_calibration(many, ONE)
    assert len(samples.plan) + len(samples.held_out) == 4
    given, unused = read_input(single, ONE)
    assert given["x"].dtype == np.float32
    assert (given["x"].tolist(), unused) == (VALUES[:1], ())
    (tmp_path / "rows").write_bytes(many)
    rows = list(read_rows(tmp_path / "rows", ONE, max_row_bytes=10_000))
    assert all(isinstance(row, Row) for row in rows), rows
    assert [row.inputs["x"].tolist() for row in rows if isinstance(row, Row)] == [
        [row] for row in VALUES
    ]


@pytest.mark.parametrize(
    ("data", "unused"),
    [
        (json.dumps({"input_data": [VALUES[0], [7], [1, 2]]}).encode(), ("input_data[2]",)),
        (
            json.dumps({"inputs": {"x": [VALUES[0]], "n": [[7]], "mask": [1]}}).encode(),
            ("mask",),
        ),
        (table("n,x[0],x[1],x[2],more", [[7, *VALUES[0], 1]]), ("more",)),
        (saved(np.savez, x=np.array([VALUES[0]]), n=np.array([[7]]), y=np.ones(1)), ("y",)),
    ],
    ids=["input_data", "inputs", "table", "npz"],
)
def test_what_a_model_does_not_use_is_left_out_and_named(
    data: bytes, unused: tuple[str, ...]
) -> None:
    given, left = read_input(data, TWO)
    assert (given["x"].tolist(), given["n"].tolist(), left) == (VALUES[:1], [[7]], unused)


def test_many_inputs_where_one_is_wanted_are_a_batch() -> None:
    with pytest.raises(Exception, match="expected one input, got 2") as caught:
        read_input(forms(VALUES[:2])["inputs"], ONE)
    assert "zkml batch" in caught.value.advice  # type: ignore[attr-defined]
