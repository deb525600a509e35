"""Proves every model of a folder through the real pipeline, and reports the results.

``python -m benchmarks.prove_folder FOLDER [-o DIR] [--only NAME…]``, where the folder holds
``NAME/network.onnx`` with ``NAME/input.json`` and optionally ``NAME/calibration.npz``. Other
``NAME/*.onnx``, the same model from other exporters, are only inspected. DIR gets ``results.jsonl``
and ``report.md``; models that have a line there run again only if named. Other settings come from
the environment (``ZKML_HOME``, ``ZKML_PLAN_EFFORT``…).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.machine import describe
from benchmarks.report import folder_report
from benchmarks.report.folder_report import Off, Outcome, Row, Run
from circuits.calibration.accuracy import compare, output_range
from circuits.calibration.samples import nearer
from circuits.calibration.session import open_session
from circuits.engine.port import Simulated
from circuits.errors import ModelTooLarge, ZkmlError
from circuits.format.field import to_felt
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile
from circuits.format.tensors import InputEncoding, Signature
from prover.app import App
from prover.jobs.inputs import parse_input
from prover.records.job import Job, JobOptions, JobState
from prover.settings import Settings
from prover.statement.envelope import Receipt

#: Random inputs to find the range of a model's outputs, and how many of them the circuit runs.
_DRAWN, _TRIED = 256, 8

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Prover:
    """Proves folders of one model each. ``commit`` is the version of the code; a model
    that takes longer than ``seconds``, or is estimated to, has its estimate for a result."""

    app: App
    commit: str
    profile: Profile
    seconds: float = 3600

    def row(self, folder: Path) -> Row:
        """One model, whatever its outcome."""
        row = Row(
            name=folder.name,
            outcome=Outcome.FAILED,
            commit=self.commit,
            inspected=self._inspected(folder),
        )
        try:
            record, _ = self.app.add_model((folder / "network.onnx").read_bytes(), folder.name)
            payload = json.loads((folder / "input.json").read_text())
            inputs, _ = parse_input(payload, Signature.from_json(record.signature))
            calibration = folder / "calibration.npz"
            samples = calibration.read_bytes() if calibration.exists() else None
            estimate = self.app.estimate(record.id, self.profile, samples)
            late = replace(row, outcome=Outcome.LATE, logrows=estimate["logrows"])
            if estimate["setup_s"] + estimate["prove_s"] > self.seconds:
                return late
            ends = JobOptions(deadline=datetime.now(UTC) + timedelta(seconds=self.seconds))
            job = self.app.prove_inputs(record, inputs, self.profile, None, samples, options=ends)
            self.app.run(job.id, "benchmark")
            job = self.app.store.job(job.id)
            if job.state is JobState.EXPIRED:
                return late
        except ZkmlError as error:
            return _refused(row, error.problem())
        if job.state is not JobState.SUCCEEDED:
            return _refused(row, job.problem or {})
        return self._judged(row, job, inputs)

    def _inspected(self, folder: Path) -> dict[str, str]:
        """Why the model's other files are refused at inspection, by name; empty: accepted."""
        found = {}
        for path in sorted(set(folder.glob("*.onnx")) - {folder / "network.onnx"}):
            try:
                self.app.inspect_bytes(path.read_bytes())
                found[path.stem] = ""
            except ZkmlError as error:
                found[path.stem] = f"{error.code}: {error.detail}"
        return found

    def _judged(self, row: Row, job: Job, inputs: Arrays) -> Row:
        """A finished job, its receipt compared with onnxruntime on the file as uploaded."""
        manifest = CircuitManifest.from_json(self.app.store.circuit(job.circuit_id).manifest)
        # The uploaded file; another model only if its outputs are maps or strings.
        reference = _Reference(self.app.artifacts.get(manifest.reference_sha256))
        drawn = reference.answered(_draw(manifest.inputs), manifest.inputs)
        wanted = reference(inputs)
        columns = zip(*(drawn[1] or [wanted]), strict=True)
        ranges = [output_range(np.stack(column)) for column in columns]
        predicate = Receipt.from_bytes(self.app.receipt(job)).statement().predicate
        stated = [np.array(o.values).reshape(o.shape) for o in predicate.outputs]
        given = _off([wanted], [stated], ranges)
        row = replace(
            row,
            outcome=Outcome.PROVED,
            repaired=manifest.reference_sha256 != manifest.model_sha256,
            lowering="integers" if manifest.lowering else "fixed point",
            logrows=manifest.srs.logrows,
            build_s=round(job.timings.get("compile", 0.0), 2),
            prove_s=round(job.timings["prove"], 3),
            peak_bytes=job.peak_rss_bytes,
            given=given,
            drawn=self._tried(manifest, drawn, ranges),
        )
        if not self.app.verify(self.app.bundle(job), None)["ok"]:
            return replace(row, outcome=Outcome.WRONG, detail="the bundle does not verify")
        if given.relative > self.profile.max_error:
            return replace(row, outcome=Outcome.WRONG, detail="the outputs are off")
        return row

    def _tried(
        self,
        manifest: CircuitManifest,
        drawn: tuple[list[Arrays], list[list[NDArray[Any]]]],
        ranges: Sequence[float],
    ) -> Off:
        """The circuit's arithmetic on random inputs, without proofs."""
        settings = self.app.artifacts.get(manifest.files["settings"]).decode()
        felts = [_encoded(manifest, sample) for sample in drawn[0][:_TRIED]]
        results = self.app.engine.simulate(
            self.app.artifacts.get(manifest.files["rewritten"]),
            settings,
            felts,
            self.app.settings.engine_limits,
            self.app.artifacts.get(manifest.files["hints"]) if manifest.commitments else None,
        )
        tables = _Tables.of(settings)
        held = [
            (answer, _decoded(manifest, result))
            for result, answer in zip(results, drawn[1], strict=False)
            if isinstance(result, Simulated) and tables.hold(result)
        ]
        off = _off([want for want, _ in held], [have for _, have in held], ranges)
        return replace(off, out=len(results) - len(held))


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """The ranges of a circuit's tables; the engine cannot prove a value outside."""

    lookup: tuple[float, float]
    widest: int

    @classmethod
    def of(cls, settings: str) -> _Tables:
        parsed = json.loads(settings)
        low, high = parsed["run_args"]["lookup_range"]
        checks = [high - low for low, high in parsed["required_range_checks"]]
        looked_up = bool(parsed["required_lookups"])
        return cls(
            lookup=(low, high) if looked_up else (-math.inf, math.inf),
            widest=max(checks, default=0),
        )

    def hold(self, result: Simulated) -> bool:
        low, high = self.lookup
        return (
            low <= result.lookup_min
            and result.lookup_max <= high
            and result.range_max <= self.widest
        )


def _refused(row: Row, problem: dict[str, Any]) -> Row:
    code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))
    outcome = Outcome.REFUSED if code == ModelTooLarge.code else Outcome.FAILED
    return replace(row, outcome=outcome, code=code, detail=detail)


class _Reference:
    """onnxruntime in this process, independent of the planner's measurements."""

    def __init__(self, model: bytes) -> None:
        self._session = open_session(model)

    def __call__(self, inputs: Arrays) -> list[NDArray[Any]]:
        return [np.asarray(v, dtype=np.float64) for v in self._session.run(None, inputs)]

    def answered(
        self, samples: Sequence[Arrays], inputs: Sequence[InputEncoding]
    ) -> tuple[list[Arrays], list[list[NDArray[Any]]]]:
        """The samples with finite outputs, and these outputs.

        A sample without finite outputs is retried nearer to zero, as in the planner.
        """
        ranges = {e.tensor.name: (e.lower, e.upper) for e in inputs}
        pairs = []
        for sample in samples:
            for tried in (sample, dict(nearer(sample, ranges))):
                if (answer := self._finite(tried)) is not None:
                    pairs.append((tried, answer))
                    break
        return [s for s, _ in pairs], [a for _, a in pairs]

    def _finite(self, sample: Arrays) -> list[NDArray[Any]] | None:
        try:
            answer = self(sample)
        except Exception:  # onnxruntime's exception types have no common base
            return None
        return answer if all(np.isfinite(v).all() for v in answer) else None


def _draw(inputs: Sequence[InputEncoding]) -> list[Arrays]:
    """Random inputs from a circuit's accepted range; the circuit runs on the first few."""
    rng = np.random.default_rng(6)

    def one(encoding: InputEncoding) -> NDArray[Any]:
        shape, dtype = encoding.tensor.shape, encoding.tensor.dtype
        low, high = encoding.lower, encoding.upper
        if not dtype.startswith("float"):
            whole = rng.integers(int(np.ceil(low)), int(np.floor(high)), shape, endpoint=True)
            return np.asarray(whole).astype(dtype)
        middle, half = (low + high) / 2, (high - low) / 2
        inner = half * (1 - 1e-6)  # rounding to float32 must not leave the range
        return np.asarray(rng.uniform(middle - inner, middle + inner, shape)).astype(dtype)

    return [{e.tensor.name: one(e) for e in inputs} for _ in range(_DRAWN)]


def _encoded(manifest: CircuitManifest, sample: Arrays) -> list[list[str]]:
    felts = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in manifest.inputs]
    if manifest.context.limbs:
        felts.append(manifest.context.encode(0))
    return felts


def _decoded(manifest: CircuitManifest, result: Simulated) -> list[NDArray[Any]]:
    felts = manifest.model_outputs(result.outputs)
    return [e.decode(f) for e, f in zip(manifest.outputs, felts, strict=True)]


def _off(
    want: Sequence[Sequence[NDArray[Any]]],
    have: Sequence[Sequence[NDArray[Any]]],
    ranges: Sequence[float],
) -> Off:
    """Outputs of some inputs, compared."""
    pairs = [
        [
            float(np.abs(w - h.reshape(w.shape)).max(initial=0.0))
            for w, h in zip(ws, hs, strict=True)
        ]
        for ws, hs in zip(want, have, strict=True)
    ]
    shares = [d / r for differences in pairs for d, r in zip(differences, ranges, strict=True)]
    agree = [compare([w], [h]).agreement == 1.0 for w, h in zip(want, have, strict=True)]
    return Off(
        inputs=len(pairs),
        absolute=max((d for differences in pairs for d in differences), default=0.0),
        relative=max(shares, default=0.0),
        top=sum(agree),
    )


def main() -> None:
    arguments = _arguments()
    settings = Settings.load(engine_memory_mb=int(arguments.memory_gib * 1024))
    machine = describe()
    run = Run(
        tolerance=Profile().max_error,
        memory_gib=arguments.memory_gib,
        deadline_s=60 * arguments.minutes,
        effort=settings.plan_effort,
        machine=f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
    )
    rows = {} if arguments.output is None else folder_report.read_rows(arguments.output)
    named = arguments.only or [
        path.parent.name
        for path in sorted(arguments.folder.glob("*/network.onnx"))
        if path.parent.name not in rows
    ]
    app = App.open(settings)
    try:
        prover = Prover(
            app=app, commit=machine["commit"], profile=Profile(), seconds=60 * arguments.minutes
        )
        for name in named:
            started = time.monotonic()
            rows[name] = prover.row(arguments.folder / name)
            print(f"{time.monotonic() - started:6.1f} s  {_spoken(rows[name])}", flush=True)
            if arguments.output is not None:
                folder_report.write(arguments.output, rows.values(), run)
    finally:
        app.close()


def _spoken(row: Row) -> str:
    if row.given is None or row.drawn is None:
        return f"{row.name}: {row.outcome}: {row.code}: {row.detail}"
    return (
        f"{row.name}: {row.outcome}, {row.lowering}, k = {row.logrows}, built in {row.build_s} s,"
        f" proved in {row.prove_s} s, error {row.given.relative:.3%};"
        f" random {row.drawn.relative:.3%}, top {row.drawn.top} of {row.drawn.inputs},"
        f" out {row.drawn.out} {row.detail}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="for results.jsonl and report.md")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these models, even again")
    parser.add_argument("--memory-gib", type=float, default=8.0, help="limit of an engine call")
    parser.add_argument("--minutes", type=float, default=10.0, help="limit of a model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
