"""Our system: the planner's circuit, proved through the public Python API."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.errors import NotEnoughMemory, SampleFailed, SystemRefused
from benchmarks.harness import process
from benchmarks.harness.system import Outcome, Workdir
from benchmarks.zoo.fixtures import Fixture
from circuits.errors import EngineOutOfMemory, Fault, ModelTooLarge
from circuits.format.profile import Profile

_ROOT = Path(__file__).parents[2]
_STAGES = {"plan": "plan_s", "compile": "compile_s", "setup": "setup_s"}


class Ours:
    """zkml-prover with one profile, the default one if the caller names none."""

    title = "zkml-prover"

    def __init__(self, profile: Profile | None = None, name: str = "ours") -> None:
        self.name = name
        self._profile = profile or Profile()

    def setup(self, fixture: Fixture, workdir: Workdir) -> Outcome:
        files = (str(fixture.onnx), str(fixture.calibration), str(workdir.srs))
        step = _step("build", workdir, *files, json.dumps(self._profile.to_json()))
        output = step.output
        metrics = {
            name: output["stages"][stage]
            for stage, name in _STAGES.items()
            if stage in output["stages"]
        }
        return Outcome(
            metrics={
                **metrics,
                "build_s": output["seconds"],
                "total_s": step.seconds,
                "cpu_s": step.cpu_seconds,
                "peak_rss_bytes": float(step.peak_rss_bytes),
                "pk_bytes": float((workdir.work / "pk").stat().st_size),
                "vk_bytes": float((workdir.work / "vk").stat().st_size),
            },
            facts=_facts(workdir.work),
        )

    def is_set_up(self, fixture: Fixture, workdir: Workdir) -> bool:
        return (workdir.work / "circuit.json").exists()

    def prove(self, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
        at = sample % len(fixture.reference)
        inputs = {name: array[at].tolist() for name, array in fixture.held_out.items()}
        path = workdir.work / "input.json"
        path.write_text(json.dumps({"inputs": inputs}), encoding="utf-8")
        step = _step("prove", workdir, str(path))
        output = step.output
        return Outcome(
            metrics={
                **{f"{stage}_s": seconds for stage, seconds in output["seconds"].items()},
                "total_s": step.seconds,
                "cpu_s": step.cpu_seconds,
                "peak_rss_bytes": float(max(step.peak_rss_bytes, output["peak_rss_bytes"])),
                "proof_bytes": float(output["proof_bytes"]),
            },
            facts={"input": at},
            verified=output["verified"],
            outputs=[output["output"]],
        )

    def accuracy(self, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
        count = min(count, len(fixture.reference))
        output = _step("outputs", workdir, str(fixture.folder / "held_out.npz"), str(count)).output
        return Outcome(outputs=output["outputs"])


def _step(step: str, workdir: Workdir, *arguments: str) -> process.Measured:
    workdir.work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.systems.ours_flow", step, str(workdir.work)]
    measured = process.run(
        [*command, *arguments], deadline_s=workdir.deadline_s, cwd=_ROOT, accept=(0, 2, 3)
    )
    if measured.returncode != 0:
        problem = measured.output.get("problem", {})
        if problem.get("code") in (ModelTooLarge.code, EngineOutOfMemory.code):
            raise NotEnoughMemory(problem["detail"], advice=problem.get("advice"), problem=problem)
        refused = problem.get("fault") not in (Fault.INTERNAL.value, Fault.BUSY.value, None)
        raise (SystemRefused if refused else SampleFailed)(
            problem.get("detail", "no reason was given"),
            advice=problem.get("advice"),
            problem=problem,
        )
    return measured


def _facts(work: Path) -> dict[str, Any]:
    settings = json.loads((work / "settings.json").read_text(encoding="utf-8"))
    arguments = settings["run_args"]
    manifest = json.loads((work / "circuit.json").read_text(encoding="utf-8"))["manifest"]
    return {
        "logrows": arguments["logrows"],
        "columns": arguments["num_inner_cols"],
        "base": arguments["decomp_base"],
        "legs": arguments["decomp_legs"],
        "input_scale": manifest["inputs"][0]["scale"],
        "output_scale": manifest["outputs"][0]["scale"],
        "assignments": settings["total_assignments"],
        "rows": settings["num_rows"],
        "soundness": manifest["profile"]["soundness"],
    }
