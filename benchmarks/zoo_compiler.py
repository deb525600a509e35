"""What the graph compiler makes of a folder of models: refused, rewritten, lowered, and the cost.

``python -m benchmarks.zoo_compiler FOLDER [-o REPORT.md]``, where the folder holds
``NAME/network.onnx`` with ``NAME/input.json``. Prices circuits and proves nothing: minutes for a
hundred models.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from circuits.costs import ENGINE_DEFAULT, FIXED_POINT
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, Priced, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.errors import EngineError, ZkmlError
from circuits.inspect import inspect_model
from circuits.lower import Bits, choose_bits, lower
from circuits.lower.bits import Trial
from circuits.rewrite import Rewritten, rewrite
from circuits.tensors import TensorSpec

_LIMITS = Limits(deadline_s=120)
_SAMPLES = 12
_MAX_ERROR, _AGREEMENT = 0.01, 0.99


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: assignments as uploaded, rewritten and in integers (None: not possible), the
    integer graph's error over the output's range, and what stood in the way."""

    name: str
    uploaded: int | None
    rewritten: int | None
    integers: int | None
    error: float | None
    bits: str
    passes: str
    why: str
    seconds: float

    def markdown(self) -> str:
        cells = [
            self.name,
            _number(self.uploaded),
            _number(self.rewritten),
            _number(self.integers),
            "" if self.error is None else f"{self.error:.2%}",
            self.bits,
            self.passes,
            self.why,
            f"{self.seconds:.1f}",
        ]
        return "| " + " | ".join(cells) + " |"


def _number(value: int | None) -> str:
    return "—" if value is None else f"{value:,}".replace(",", " ")


def report(folder: Path, engine: EzklEngine) -> Iterator[Row]:
    """One row a model, in order of names."""
    for path in sorted(folder.glob("*/network.onnx")):
        started = time.perf_counter()
        data = path.read_bytes()
        try:
            row = _row(engine, path.parent.name, data, path.with_name("input.json"), started)
        except ZkmlError as error:
            row = _failed(engine, path.parent.name, data, error, started)
        yield row


def _row(engine: EzklEngine, name: str, data: bytes, inputs: Path, started: float) -> Row:
    summary = inspect_model(data)
    samples = _samples(summary.signature.inputs, inputs)
    result = rewrite(data, samples)
    bits, integers, error, why = _integers(engine, result, samples)
    return Row(
        name=name,
        uploaded=_assignments(engine, data, ENGINE_DEFAULT),
        rewritten=_assignments(engine, result.onnx, FIXED_POINT),
        integers=integers,
        error=error,
        bits=bits,
        passes=", ".join(p.name for p in result.passes),
        why=why,
        seconds=time.perf_counter() - started,
    )


def _failed(engine: EzklEngine, name: str, data: bytes, error: ZkmlError, started: float) -> Row:
    return Row(
        name=name,
        uploaded=_assignments(engine, data, ENGINE_DEFAULT),
        rewritten=None,
        integers=None,
        error=None,
        bits="",
        passes="",
        why=f"{error.code}: {error.detail}"[:160].replace("|", "/"),
        seconds=time.perf_counter() - started,
    )


def _integers(
    engine: EzklEngine, result: Rewritten, samples: list[dict[str, NDArray[np.generic]]]
) -> tuple[str, int | None, float | None, str]:
    bounds = {
        spec.name: (
            min(float(np.min(s[spec.name])) for s in samples),
            max(float(np.max(s[spec.name])) for s in samples),
        )
        for spec in result.signature.inputs
    }
    try:
        choices = choose_bits(result.onnx, samples, bounds, _MAX_ERROR, _AGREEMENT)
        if not choices:
            return "", None, None, "no bits are exact enough"
        return _priced_integers(engine, result.onnx, samples, bounds, choices[0])
    except ZkmlError as error:
        return "", None, None, error.detail[:120].replace("|", "/")


def _priced_integers(
    engine: EzklEngine,
    onnx: bytes,
    samples: list[dict[str, NDArray[np.generic]]],
    bounds: dict[str, tuple[float, float]],
    bits: Bits,
) -> tuple[str, int | None, float | None, str]:
    variant = lower(onnx, bits, bounds)
    legs = max(2, -(-variant.value_bounds.decomposed.bit_length() // 14))
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=20,
        decomp_base=1 << 14,
        decomp_legs=legs,
    )
    error = Trial(onnx, samples, bounds).error(bits).largest
    shown = f"{bits.input}; " + " ".join(str(b) for b in bits.weights)
    return shown, _assignments(engine, variant.onnx, args), error, ""


def _assignments(engine: EzklEngine, onnx: bytes, args: RunArgs) -> int | None:
    try:
        (priced,) = engine.price(onnx, [args], _LIMITS)
    except EngineError:
        return None
    return priced.assignments + priced.einsum_size if isinstance(priced, Priced) else None


def _samples(inputs: tuple[TensorSpec, ...], path: Path) -> list[dict[str, NDArray[np.generic]]]:
    """The shipped input, and others drawn from its range."""
    rows = json.loads(path.read_text())["input_data"]
    shipped = {
        spec.name: np.resize(np.asarray(row, dtype=np.float64), spec.shape).astype(spec.dtype)
        for spec, row in zip(inputs, rows, strict=False)
    }
    rng = np.random.default_rng(11)
    samples: list[dict[str, NDArray[np.generic]]] = [shipped]
    for _ in range(_SAMPLES - 1):
        drawn = {}
        for spec in inputs:
            low, high = float(shipped[spec.name].min()), float(shipped[spec.name].max())
            if spec.dtype.startswith("float"):
                drawn[spec.name] = rng.uniform(low, high, spec.shape).astype(spec.dtype)
            else:
                drawn[spec.name] = rng.integers(int(low), int(high) + 1, spec.shape).astype(
                    spec.dtype
                )
        samples.append(drawn)
    return samples


_HEAD = """| model | uploaded, EZKL's defaults | rewritten, fixed point | integers | error | bits \
(input; weights) | passes | why not | s |
|---|--:|--:|--:|--:|---|---|---|--:|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    lines = ["Assignments (Freivalds columns included) of each model.", "", *_HEAD.splitlines()]
    print("\n".join(lines))
    for row in report(arguments.folder, EzklEngine(Sandbox())):
        lines.append(row.markdown())
        print(lines[-1], flush=True)
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
