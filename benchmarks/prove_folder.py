"""Proves every model of a folder through the real pipeline, and says what came of it.

``python -m benchmarks.prove_folder FOLDER [-o REPORT.md]``, where the folder holds
``NAME/network.onnx`` with ``NAME/input.json`` and perhaps ``NAME/calibration.npz``. Settings are
those of the environment (``ZKML_HOME``, ``ZKML_PLAN_EFFORT``…).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import ZkmlError
from circuits.profile import Profile
from circuits.tensors import Signature
from prover.app import App
from prover.inputs import parse_inputs
from prover.jobs import Job, JobState
from prover.receipt import Receipt
from prover.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: the road it took, its k, seconds to build and to prove, the proof's error over the
    output's range; or why it failed."""

    name: str
    road: str = ""
    logrows: int | None = None
    build_s: float | None = None
    prove_s: float | None = None
    error: float | None = None
    why: str = ""

    def markdown(self) -> str:
        cells = [
            self.name,
            self.road,
            "" if self.logrows is None else str(self.logrows),
            "" if self.build_s is None else f"{self.build_s:.1f}",
            "" if self.prove_s is None else f"{self.prove_s:.2f}",
            "" if self.error is None else f"{self.error:.2%}",
            "verified" if not self.why else self.why[:160].replace("|", "/"),
        ]
        return "| " + " | ".join(cells) + " |"


def prove_all(app: App, folder: Path) -> Iterator[Row]:
    """One row a model, in order of names."""
    for path in sorted(folder.glob("*/network.onnx")):
        try:
            yield _prove(app, path.parent)
        except ZkmlError as error:
            yield Row(name=path.parent.name, why=f"{error.code}: {error.detail}")


def _prove(app: App, folder: Path) -> Row:
    record, _ = app.add_model((folder / "network.onnx").read_bytes(), folder.name)
    payload = json.loads((folder / "input.json").read_text())
    calibration = folder / "calibration.npz"
    job = app.prove_inputs(
        record,
        parse_inputs(payload, Signature.from_json(record.signature)),
        Profile(),
        None,
        calibration.read_bytes() if calibration.exists() else None,
    )
    app.run(job.id, "benchmark")
    return _judged(app, folder.name, app.store.job(job.id))


def _judged(app: App, name: str, job: Job) -> Row:
    if job.state is not JobState.SUCCEEDED:
        problem = job.problem or {}
        return Row(name=name, why=f"{problem.get('code')}: {problem.get('detail')}")
    if not app.verify(app.bundle(job), None)["ok"]:
        return Row(name=name, why="the bundle does not verify")
    manifest = app.store.circuit(job.circuit_id).manifest
    statement = Receipt.from_bytes(app.receipt(job)).statement()
    return Row(
        name=name,
        road="integers" if manifest.get("lowering") else "fixed point",
        logrows=manifest["srs"]["logrows"],
        build_s=job.timings.get("compile"),
        prove_s=job.timings.get("prove"),
        error=statement.predicate.accuracy.this_input.max_relative,
    )


_HEAD = """| model | road | k | build, s | prove, s | error | |
|---|---|--:|--:|--:|--:|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    lines = _HEAD.splitlines()
    print(_HEAD)
    app = App.open(Settings.load())
    started = time.monotonic()
    try:
        for row in prove_all(app, arguments.folder):
            lines.append(row.markdown())
            print(lines[-1], flush=True)
    finally:
        app.close()
    print(f"\n{time.monotonic() - started:.0f} s")
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
