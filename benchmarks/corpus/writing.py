"""Writes a model of the corpus with its inputs, as ``benchmarks.prove_folder`` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Rows of calibration data.
SAMPLES = 100


def save(
    folder: Path, model: bytes, sample: Mapping[str, Any], rows: Mapping[str, Any] | None = None
) -> None:
    """``folder/network.onnx`` with ``input.json`` (tensors of one run by name) and, where there are
    ``rows``, ``calibration.npz`` (a leading axis more)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.onnx").write_bytes(model)
    given = {name: np.asarray(values).tolist() for name, values in sample.items()}
    (folder / "input.json").write_text(json.dumps({"inputs": given}))
    if rows is not None:
        np.savez(folder / "calibration.npz", allow_pickle=False, **rows)


def save_rows(folder: Path, model: Any, data: np.ndarray) -> None:
    """A model of one table: its first input gets one of the shuffled rows of ``data``."""
    rows = data[np.random.default_rng(0).permutation(len(data))[:SAMPLES], None, :]
    name = model.graph.input[0].name
    save(folder, model.SerializeToString(), {name: rows[7]}, {name: rows})
