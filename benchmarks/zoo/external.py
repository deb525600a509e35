"""Models of an external folder: ``NAME/network.onnx`` with ``NAME/input.json``.

EZKL's examples have this form, with one input each. Calibration and held-out samples are uniformly
random between the smallest and the largest value of that input, the same for every system.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.zoo.entry import Built, Entry, Floats
from circuits.compiler.inspect import inspect_model
from circuits.errors import Fault, ZkmlError
from prover.jobs.inputs import read_input

CALIBRATION, HELD_OUT = 40, 30


class ZooMissing(ZkmlError):
    """The folder of models does not exist or holds none."""

    code = "zoo_missing"
    fault = Fault.INPUT


def entries(folder: Path) -> list[Entry]:
    """One entry, named ``zoo/NAME``, for each model of the folder; raises ``ZooMissing``."""
    found = sorted(
        p.parent for p in folder.glob("*/network.onnx") if (p.parent / "input.json").exists()
    )
    if not found:
        raise ZooMissing(f"{folder} holds no NAME/network.onnx with NAME/input.json")
    return [
        Entry(
            name=f"zoo/{model.name}",
            title=model.name.replace("_", " "),
            build=partial(_build, model),
            multiplications=None,
            activations=None,
            bound_by="not looked into",
        )
        for model in found
    ]


def _build(folder: Path) -> Built:
    onnx = (folder / "network.onnx").read_bytes()
    signature = inspect_model(onnx, allow_refused=True).signature
    given, _ = read_input((folder / "input.json").read_bytes(), signature)
    rng = np.random.default_rng(zlib.crc32(folder.name.encode()))
    drawn = {n: _like(a, CALIBRATION + HELD_OUT - 1, rng) for n, a in given.items()}
    return Built(
        onnx=onnx,
        calibration={n: a[:CALIBRATION] for n, a in drawn.items()},
        held_out={n: np.concatenate([given[n][None], a[CALIBRATION:]]) for n, a in drawn.items()},
    )


def _like(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    """``count`` arrays of the same shape and type between the extremes of ``values``."""
    shape = (count, *values.shape)
    if values.dtype.kind == "f":
        return rng.uniform(values.min(), values.max(), shape).astype(values.dtype)
    low, high = int(values.min()), int(values.max())
    return rng.integers(low, high, shape, endpoint=True).astype(values.dtype)
