"""One step of our flow, in a separate process: the counterpart of ``ezkl_default.py``.

    python -m benchmarks.systems.ours_flow STEP WORK [ARGUMENT...]

Uses the public Python API of ``circuits``, like the service and the command line, without receipts,
store and queue, and with this machine's cost model if there is one. The last line on stdout is
JSON; an error is ``{"problem": …}`` with exit status 2 or 3.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.steps import own_settings, run_step, step_limits
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Simulated
from circuits.format.field import to_felt
from circuits.format.manifest import CircuitManifest, Role
from circuits.format.profile import Profile
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract

_INSPECT = "circuits.compiler.inspect:inspect_model"  # by name: it runs in a child
_SRS_STAGE = "reference string"
#: Sizes at which the planner may time candidates at balanced effort.
_TIMED_LOGROWS = range(6, 15)


def build(
    engine: EzklEngine, work: Path, onnx: str, calibration: str, srs: str, profile: str
) -> dict[str, Any]:
    """From model and calibration data to keys in ``work``. Generating an SRS is not timed."""
    # Imported here: a process that proves does not load the compiler, in the service either.
    from circuits.calibration.samples import read_calibration
    from circuits.compiler.build import Builder
    from prover.jobs.circuit_registry import machine_costs

    model = Path(onnx).read_bytes()
    samples = read_calibration(
        Path(calibration).read_bytes(),
        engine.sandbox.call(_INSPECT, model, limits=step_limits()).signature,
    )
    folder = SrsFolder(Path(srs))
    for logrows in _TIMED_LOGROWS:  # so that generating them is not part of the planning time
        folder.ensure(
            logrows,
            Policy.DEVELOPMENT,
            lambda path, k: engine.generate_srs(path, k, step_limits()),
        )
    builder = Builder(
        engine=engine,
        srs=folder,
        policy=Policy.DEVELOPMENT,
        limits=step_limits(),
        cost_model=machine_costs(own_settings()),
    )
    stages: list[tuple[str, float]] = [("plan", time.perf_counter())]
    work.mkdir(parents=True, exist_ok=True)
    built = builder.build(
        model,
        samples,
        Profile.from_json(json.loads(profile)),
        work,
        on_progress=lambda stage: stages.append((stage, time.perf_counter())),
    )
    stages.append(("end", time.perf_counter()))
    spent: dict[str, float] = {}
    before_srs = True
    for (stage, begin), (_, end) in pairwise(stages):
        before_srs = before_srs and stage != _SRS_STAGE
        name = "plan" if before_srs else stage
        spent[name] = spent.get(name, 0.0) + end - begin
    spent.pop(_SRS_STAGE, None)
    paths = {name: str(path) for name, path in built.files.items()}
    (work / "circuit.json").write_text(
        json.dumps({"manifest": built.manifest.to_json(), "files": paths}), encoding="utf-8"
    )
    return {"stages": spent, "seconds": sum(spent.values())}


def prove(engine: EzklEngine, work: Path, inputs: str) -> dict[str, Any]:
    """Proves and verifies the input of a JSON file, bound to a new context."""
    manifest, files, _ = _circuit(work)
    named = json.loads(Path(inputs).read_text(encoding="utf-8"))["inputs"]
    felts = [
        [to_felt(n) for n in e.quantise(np.array(named[e.tensor.name]))] for e in manifest.inputs
    ]
    context = secrets.randbits(248)
    if manifest.context.limbs:
        felts.append(manifest.context.encode(context))
    result = engine.prove(files, felts, step_limits())
    (work / "proof.json").write_bytes(result.proof_json)
    shown = felts[0] if manifest.profile.visibility.shows_input else []
    about = {"context": f"{context:x}", "input": shown}  # committed hints are hashed with it
    (work / "about.json").write_text(json.dumps(about), encoding="utf-8")
    begin = time.perf_counter()
    verified = engine.verify(
        result.proof_json,
        files.settings.read_bytes(),
        files.vk.read_bytes(),
        extract(files.srs),
        step_limits(),
    )
    verify_s = time.perf_counter() - begin
    (first, *_) = [part for part in manifest.layout if part.role is Role.OUTPUT]
    output = manifest.outputs[0].decode(result.instances[first.offset : first.offset + first.count])
    return {
        "seconds": {**result.seconds, "verify": verify_s},
        "peak_rss_bytes": result.peak_rss_bytes,
        "proof_bytes": len(result.proof),
        "verified": verified,
        "output": output.reshape(-1).tolist(),
    }


def outputs(engine: EzklEngine, work: Path, held_out: str, count: str) -> dict[str, Any]:
    """The circuit's outputs for the first ``count`` samples of an ``.npz``, without proofs."""
    manifest, files, rewritten = _circuit(work)
    samples = []
    with np.load(held_out) as archive:
        arrays = {e.tensor.name: archive[e.tensor.name] for e in manifest.inputs}
    for i in range(int(count)):
        sample = [
            [to_felt(n) for n in e.quantise(arrays[e.tensor.name][i])] for e in manifest.inputs
        ]
        if manifest.context.limbs:
            sample.append(manifest.context.encode(0))
        samples.append(sample)
    settings = files.settings.read_text(encoding="utf-8")
    answers = []
    hints = files.hints.read_bytes() if files.hints else None
    for simulated in engine.simulate(
        rewritten.read_bytes(), settings, samples, step_limits(), hints
    ):
        if not isinstance(simulated, Simulated):
            raise simulated
        felts = manifest.model_outputs(simulated.outputs)[0]
        answers.append(manifest.outputs[0].decode(felts).reshape(-1).tolist())
    return {"outputs": answers}


def _circuit(work: Path) -> tuple[CircuitManifest, CircuitFiles, Path]:
    data = json.loads((work / "circuit.json").read_text(encoding="utf-8"))
    paths = {name: Path(path) for name, path in data["files"].items()}
    manifest = CircuitManifest.from_json(data["manifest"])
    files = CircuitFiles.of(paths, manifest.salt, manifest.commitments)
    return manifest, files, paths["rewritten"]


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "build": build,
    "prove": prove,
    "outputs": outputs,
}


if __name__ == "__main__":
    sys.exit(run_step(STEPS, *sys.argv[1:]))
