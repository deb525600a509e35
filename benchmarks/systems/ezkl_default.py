"""EZKL's documented default flow: its defaults, its order, one process per step.

``gen_settings → calibrate_settings(target="resources") → compile_circuit → setup`` once per model,
``gen_witness → prove → verify`` per input, as in EZKL's examples. The SRS is generated once per
size and not timed: all systems share it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.errors import NotEnoughMemory
from benchmarks.harness import process
from benchmarks.harness.system import Outcome, Workdir
from benchmarks.zoo.entry import Floats
from benchmarks.zoo.fixtures import Fixture
from circuits.format.field import from_felt

SCRIPT = Path(__file__).parents[1] / "scripts" / "ezkl_default.py"
#: EZKL's examples calibrate on twenty samples.
CALIBRATION_SAMPLES = 20
#: Peak of set-up and proof over 2^k rows of the default circuit (5.1 GB at k = 19).
BYTES_PER_ROW = 10_500
#: Marks a folder with a complete set-up.
_COMPLETE = "complete"


class EzklDefault:
    """EZKL used as its documentation says."""

    name = "ezkl-default"
    title = "EZKL, documented default flow"

    def setup(self, fixture: Fixture, workdir: Workdir) -> Outcome:
        work = workdir.work
        work.mkdir(parents=True, exist_ok=True)
        (work / _COMPLETE).unlink(missing_ok=True)
        (work / "model.onnx").write_bytes(fixture.onnx.read_bytes())
        with np.load(fixture.calibration) as archive:
            calibration = {name: archive[name][:CALIBRATION_SAMPLES] for name in archive.files}
        _write_inputs(work / "calibration.json", calibration)
        settings = _step("settings", work, workdir=workdir)
        calibrate = _step("calibrate", work, workdir=workdir)
        chosen = json.loads((work / "settings.json").read_text(encoding="utf-8"))
        logrows = int(chosen["run_args"]["logrows"])
        _require_memory(logrows)
        compiled = _step("compile", work, workdir=workdir)
        setup = _step("setup", work, str(srs_file(workdir, logrows)), workdir=workdir)
        steps = (settings, calibrate, compiled, setup)
        (work / _COMPLETE).touch()
        plan_s = settings.output["seconds"] + calibrate.output["seconds"]
        return Outcome(
            metrics={
                "plan_s": plan_s,
                "compile_s": compiled.output["seconds"],
                "setup_s": setup.output["seconds"],
                "build_s": plan_s + compiled.output["seconds"] + setup.output["seconds"],
                "total_s": sum(step.seconds for step in steps),
                "cpu_s": sum(step.cpu_seconds for step in steps),
                "peak_rss_bytes": float(max(step.peak_rss_bytes for step in steps)),
                "pk_bytes": float((work / "pk").stat().st_size),
                "vk_bytes": float((work / "vk").stat().st_size),
            },
            facts=_facts(chosen),
        )

    def is_set_up(self, fixture: Fixture, workdir: Workdir) -> bool:
        return (workdir.work / _COMPLETE).exists()

    def prove(self, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
        work = workdir.work
        at = sample % len(fixture.reference)
        _write_inputs(work / "input.json", {k: a[at : at + 1] for k, a in fixture.held_out.items()})
        settings = json.loads((work / "settings.json").read_text(encoding="utf-8"))
        srs = str(srs_file(workdir, int(settings["run_args"]["logrows"])))
        witness = _step("witness", work, workdir=workdir)
        prove = _step("prove", work, srs, workdir=workdir)
        verify = _step("verify", work, srs, workdir=workdir)
        proof = json.loads((work / "proof.json").read_text(encoding="utf-8"))
        steps = (witness, prove, verify)
        return Outcome(
            metrics={
                "witness_s": witness.output["seconds"],
                "prove_s": prove.output["seconds"],
                "verify_s": verify.output["seconds"],
                "total_s": sum(step.seconds for step in steps),
                "cpu_s": sum(step.cpu_seconds for step in steps),
                "peak_rss_bytes": float(max(step.peak_rss_bytes for step in steps)),
                "proof_bytes": len(proof["hex_proof"].removeprefix("0x")) / 2,
            },
            facts={"input": at},
            verified=verify.output["verified"],
            outputs=[_decode(_proved_outputs(proof, settings), settings)],
        )

    def accuracy(self, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
        settings = json.loads((workdir.work / "settings.json").read_text(encoding="utf-8"))
        samples = [
            [array.reshape(-1).tolist() for array in sample.values()]
            for sample in fixture.samples(count)
        ]
        (workdir.work / "held_out.json").write_text(json.dumps(samples), encoding="utf-8")
        output = _step("outputs", workdir.work, workdir=workdir).output
        return Outcome(outputs=[_decode(answer, settings) for answer in output["outputs"]])


def srs_file(workdir: Workdir, logrows: int) -> Path:
    """An insecure SRS of this size for development, generated once.

    Named as in ``circuits.srs``, so that our system uses the same file.
    """
    workdir.srs.mkdir(parents=True, exist_ok=True)
    path = workdir.srs / f"dev{logrows}.srs"
    if not path.exists():
        command = [sys.executable, str(SCRIPT), "srs", str(path), str(logrows)]
        process.run(command, deadline_s=max(workdir.deadline_s, 600))
    return path


def _step(step: str, work: Path, *arguments: str, workdir: Workdir) -> process.Measured:
    command = [sys.executable, str(SCRIPT), step, str(work), *arguments]
    return process.run(command, deadline_s=workdir.deadline_s, cwd=work)


def _write_inputs(path: Path, inputs: dict[str, Floats]) -> None:
    """EZKL's data file: one flat list per input, samples one after another."""
    flat = [array.astype(float).reshape(-1).tolist() for array in inputs.values()]
    path.write_text(json.dumps({"input_data": flat}), encoding="utf-8")


def _proved_outputs(proof: dict[str, Any], settings: dict[str, Any]) -> list[list[str]]:
    """The outputs, which are the last of a proof's public instances."""
    (instances,) = proof["instances"]
    count = len(settings["model_output_scales"])
    sizes = [math.prod(shape) for shape in settings["model_instance_shapes"][-count:]]
    outputs = []
    for size in reversed(sizes):
        instances, taken = instances[: len(instances) - size], instances[len(instances) - size :]
        outputs.append(taken)
    return outputs[::-1]


def _decode(felts: list[list[str]], settings: dict[str, Any]) -> list[float]:
    """The first output in the model's units."""
    scale = settings["model_output_scales"][0]
    return [from_felt(felt) / 2.0**scale for felt in felts[0]]


def _require_memory(logrows: int) -> None:
    need, free = BYTES_PER_ROW << logrows, psutil.virtual_memory().available
    if need > free:
        raise NotEnoughMemory(
            f"k = {logrows} needs about {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free",
            estimate_bytes=need,
        )


def _facts(settings: dict[str, Any]) -> dict[str, Any]:
    arguments = settings["run_args"]
    return {
        "logrows": arguments["logrows"],
        "columns": arguments["num_inner_cols"],
        "base": arguments["decomp_base"],
        "legs": arguments["decomp_legs"],
        "input_scale": arguments["input_scale"],
        "param_scale": arguments["param_scale"],
        "assignments": settings["total_assignments"],
        "rows": settings["num_rows"],
    }
