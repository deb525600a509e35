"""Rows of a batch file: what is good is read, what is bad is named by line, and nothing is held."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuits.format.tensors import Signature, TensorSpec
from prover.batch.ranges import Tally
from prover.batch.row import BadRow, Row
from prover.batch.rows import read_rows
from prover.records.batch_errors import BatchFormat

X = TensorSpec(name="x", dtype="float32", shape=(1, 2))
ONE = Signature(inputs=(X,), outputs=())
TWO = Signature(inputs=(X, TensorSpec(name="n", dtype="float32", shape=(1,))), outputs=())


def rows(path: Path, signature: Signature = ONE, limit: int = 1000) -> list[tuple[int, Any]]:
    """Line by line: the values of a good row, the code of a bad one."""
    return [
        (r.line, r.error.code if isinstance(r, BadRow) else (r.id, r.inputs["x"].tolist()))
        for r in read_rows(path, signature, max_row_bytes=limit)
    ]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rows"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def line(values: object, **more: object) -> str:
    return json.dumps({"inputs": {"x": values}} | more)


def test_invalid_lines_are_reported_and_the_others_read(tmp_path: Path) -> None:
    text = "\n".join(
        [
            line([[1, 2]], id="a"),
            line([[1, 2, 3]]),
            "",
            line([[3, 4]]),
            line([[5, 6]], id="a"),
            '{"inputs": {"y": [1, 2]}}',
            line([[1, "two"]]),
            line([[1, float("nan")]]),
            line([[7, 8]], id=9),
            line([[7, 8]], id=["no"]),
            "[1, 2]",
            line([[0] * 600]),
            line([[9, 9]], id="last"),
            '{"inputs": {"x": [[1, 2',
        ]
    )
    assert rows(written(tmp_path, text)) == [
        (1, ("a", [[1, 2]])),
        (2, "input_shape"),
        (4, ("3", [[3, 4]])),
        (5, "row_duplicate_id"),
        (6, "input_names"),
        (7, "input_dtype"),
        (8, "input_not_finite"),
        (9, ("9", [[7, 8]])),
        (10, "row_id"),
        (11, "row_broken"),
        (12, "row_too_long"),
        (13, ("last", [[9, 9]])),
        (14, "row_broken"),
    ]


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_file_is_one_bad_row(tmp_path: Path, content: str) -> None:
    assert rows(written(tmp_path, content)) == [(1, "batch_empty")]


def test_a_table_is_read_by_its_header_in_any_order(tmp_path: Path) -> None:
    text = "id,x[1],n,x[0]\nfirst,2,5,1\n,4,5,3\nshort,1\nlast,x,5,1\n"
    assert rows(written(tmp_path, text), TWO) == [
        (2, ("first", [[1, 2]])),
        (3, ("2", [[3, 4]])),
        (4, "row_broken"),
        (5, "input_dtype"),
    ]


@pytest.mark.parametrize("header", ["a,b,c", "x[0]", "x[0],y", "x[0],x[1],x[1]", "1.0,2.0,3.0"])
def test_a_header_that_does_not_fit_the_model_is_the_one_bad_row(
    tmp_path: Path, header: str
) -> None:
    assert rows(written(tmp_path, f"{header}\n1,2\n")) == [(1, "batch_columns")]


def test_arrays_are_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez_compressed(
        path, x=np.array([[1, 2], [np.inf, 0], [3, 4]]), id=np.array(["a", "b", "c"])
    )
    assert rows(path) == [(1, ("a", [[1, 2]])), (2, "input_not_finite"), (3, ("c", [[3, 4]]))]


@pytest.mark.parametrize(
    "arrays",
    [
        {"y": np.zeros((2, 2))},
        {"x": np.zeros((2, 3))},
        {"x": np.zeros((2, 2)), "id": np.array(["a"])},
    ],
    ids=["name", "shape", "length"],
)
def test_arrays_that_do_not_fit_the_model_are_the_one_bad_row(
    tmp_path: Path, arrays: dict[str, Any]
) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)
    assert rows(tmp_path / "rows.npz") == [(1, "batch_columns")]


def test_an_archive_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchFormat):
        rows(written(tmp_path, b"PK\x03\x04 and nothing more"))


@pytest.mark.long
def test_ten_thousand_rows_are_never_held_together(tmp_path: Path) -> None:
    wide = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 64)),), outputs=())
    jsonl, npz = tmp_path / "rows.jsonl", tmp_path / "rows.npz"
    values = np.random.default_rng(0).normal(size=(10_000, 64))
    with jsonl.open("w") as out:
        out.writelines(line([row.tolist()]) + "\n" for row in values)
    np.savez_compressed(npz, x=values.astype(np.float32))
    for path in (jsonl, npz):
        tracemalloc.start()
        count = sum(isinstance(r, Row) for r in read_rows(path, wide, max_row_bytes=1 << 20))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 10_000
        assert peak < 8 << 20  # the file itself has 12 MB, its values 5


@pytest.mark.parametrize(
    ("largest", "bound"),
    [
        ([0.9] * 198 + [5.0, 1e9], 8.0),
        ([0.9] * 20 + [1e6] * 3, 1.0),
        ([0.5, 0.7, 0.3, 1e6], 1.0),
        ([0.0, 0.0, 100.0], 128.0),
        ([0.5, 1e6], 2.0**20),
        ([0.9], 1.0),
    ],
    ids=["one-in-many", "several", "one-of-four", "not-that-far", "which-of-two", "alone"],
)
def test_rows_far_outside_do_not_widen_the_range_of_most(
    largest: list[float], bound: float
) -> None:
    tally = Tally()
    for value in largest:
        tally.add({"x": np.array([value, -0.1])})
    assert tally.ranges() == {"x": (-bound, bound)}
