"""Calibration data: what a circuit's accuracy is measured on and its input range comes from."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.digests import digest_json, sha256
from circuits.errors import CalibrationError
from circuits.tensors import Signature, TensorSpec

#: One sample: each input by name, in its shape.
Sample = Mapping[str, NDArray[Any]]
#: Accepted values of an input, ``(lower, upper)``.
Range = tuple[float, float]

MAX_PLAN, MAX_HELD_OUT = 64, 256
_DRAWN = 64
_MAX_UNPACKED = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Data to plan on and data held out; ``ranges`` bounds each input, margins not yet added.

    ``digest`` identifies where they came from (the calibration file, or the declared ranges).
    """

    plan: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    ranges: dict[str, Range]
    calibrated: bool
    digest: str


def read_calibration(data: bytes, signature: Signature) -> Samples:
    """Calibration samples from a file's bytes.

    Accepts ``.npz`` (each input's name, shape ``[N, …]`` or ``[N·b, …]`` for inputs with a leading
    batch b), JSON ``{"inputs": {name: [sample, …]}}``, or JSON lines of
    ``{"inputs": {name: nested list}}``. A deterministic quarter is held out. Raises
    ``CalibrationError`` for a wrong name, shape or value, or fewer than two samples.
    """
    columns = _read_npz(data) if data[:4] == b"PK\x03\x04" else _read_json(data)
    arrays = {t.name: _column(columns, t) for t in signature.inputs}
    if unknown := sorted(set(columns) - set(arrays)):
        raise CalibrationError(
            f"the calibration data has {unknown[0]!r}, which is no input of the model",
            hint=f"The model's inputs are {', '.join(repr(n) for n in arrays)}.",
        )
    counts = {name: len(a) for name, a in arrays.items()}
    count = min(counts.values())
    if len(set(counts.values())) > 1:
        raise CalibrationError(f"the inputs have different numbers of samples: {counts}")
    if count < 2:
        raise CalibrationError(
            f"the calibration data has {count} sample, and at least two are needed",
            hint="One part is planned on, another is held out to measure accuracy.",
        )
    ranges = {n: (float(a.min()), float(a.max())) for n, a in arrays.items()}
    order = np.random.default_rng(0).permutation(count)
    held = order[: max(1, min(MAX_HELD_OUT, count // 4))]
    plan = order[len(held) :][:MAX_PLAN]
    return Samples(
        plan=tuple(_pick(arrays, i) for i in plan),
        held_out=tuple(_pick(arrays, i) for i in held),
        ranges=ranges,
        calibrated=True,
        digest=sha256(data),
    )


def draw(signature: Signature, ranges: Mapping[str, Range]) -> Samples:
    """Samples drawn uniformly from declared ranges: for a model without calibration data."""
    rng = np.random.default_rng(0)
    drawn = tuple(
        {t.name: _draw(rng, t, *ranges[t.name]) for t in signature.inputs} for _ in range(_DRAWN)
    )
    return Samples(
        plan=drawn[: _DRAWN // 2],
        held_out=drawn[_DRAWN // 2 :],
        ranges=dict(ranges),
        calibrated=False,
        digest=digest_json({"ranges": {n: list(r) for n, r in ranges.items()}}),
    )


def covering_ranges(sample: Sample) -> dict[str, Range]:
    """Symmetric power-of-two ranges, at least ±1, that hold a sample with a little room.

    What a circuit without calibration data is built for: few different ones, so later inputs of
    about the same size find the circuit made.
    """
    out = {}
    for name, values in sample.items():
        largest = float(np.abs(values).max(initial=0.0))
        bound = 2.0 ** max(0, math.ceil(math.log2(largest))) if largest > 0 else 1.0
        out[name] = (-bound, bound)
    return out


def widened(range_: Range, margin: float) -> Range:
    """A range with ``margin`` times its width added on each side."""
    lower, upper = range_
    room = margin * (upper - lower)
    return lower - room, upper + room


def _pick(arrays: Mapping[str, NDArray[Any]], at: int) -> Sample:
    return {name: a[at] for name, a in arrays.items()}


def _draw(rng: np.random.Generator, tensor: TensorSpec, lower: float, upper: float) -> NDArray[Any]:
    if tensor.dtype.startswith("float"):
        return rng.uniform(lower, upper, tensor.shape).astype(tensor.dtype)
    whole = rng.integers(math.ceil(lower), math.floor(upper), tensor.shape, endpoint=True)
    return whole.astype(tensor.dtype)


def _column(columns: Mapping[str, Any], tensor: TensorSpec) -> NDArray[Any]:
    """One input's samples as ``[N, *shape]``."""
    if tensor.name not in columns:
        raise CalibrationError(f"the calibration data lacks the input {tensor.name!r}")
    try:
        values = np.asarray(columns[tensor.name], dtype=np.float64)
    except (TypeError, ValueError):
        raise CalibrationError(
            f"{tensor.name!r}: the samples are not numbers of one shape"
        ) from None
    if not np.isfinite(values).all():
        raise CalibrationError(f"{tensor.name!r}: the calibration data holds NaN or an infinity")
    batch = tensor.shape[0] if tensor.shape else 1
    if values.shape[1:] != tensor.shape and values.shape[1:] == tensor.shape[1:] and batch:
        if len(values) % batch:
            raise CalibrationError(
                f"{tensor.name!r}: {len(values)} rows are no multiple of {batch}"
            )
        values = values.reshape(-1, *tensor.shape)
    if values.ndim == 0 or values.shape[1:] != tensor.shape:
        raise CalibrationError(
            f"{tensor.name!r}: calibration samples have the shape {list(values.shape[1:])}, the"
            f" model wants {list(tensor.shape)}"
        )
    return values.astype(tensor.dtype)


def _read_npz(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(i.file_size for i in archive.infolist()) > _MAX_UNPACKED:
                raise CalibrationError("the calibration data unpacks to more than 1 GiB")
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError):
        raise CalibrationError("the calibration data is no readable .npz file") from None


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
        try:
            whole = json.loads(text)
            rows: Sequence[Any] | None = None
        except json.JSONDecodeError:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise CalibrationError(
            "the calibration data is neither .npz, JSON nor JSON lines",
            hint='Send {"inputs": {name: [sample, …]}} or numpy\'s .npz.',
        ) from None
    if rows is None:
        if isinstance(whole, dict) and isinstance(whole.get("inputs"), dict):
            return dict(whole["inputs"])
        raise CalibrationError('the calibration data has no {"inputs": {name: [sample, …]}}')
    if not all(isinstance(r, dict) and isinstance(r.get("inputs"), dict) for r in rows):
        raise CalibrationError('each line of the calibration data must be {"inputs": {name: …}}')
    names = {name for r in rows for name in r["inputs"]}
    return {name: [r["inputs"].get(name) for r in rows] for name in names}
