"""Our own side: the planner's circuit, proved through the public Python API."""

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

    def setup(self, material: Fixture, place: Workdir) -> Outcome:
        files = (str(material.onnx), str(material.calibration), str(place.srs))
        step = _step("build", place, *files, json.dumps(self._profile.to_json()))
        told = step.told
        metrics = {
            name: told["stages"][stage]
            for stage, name in _STAGES.items()
            if stage in told["stages"]
        }
        return Outcome(
            metrics={
                **metrics,
                "build_s": told["seconds"],
                "total_s": step.seconds,
                "cpu_s": step.cpu_seconds,
                "peak_rss_bytes": float(step.peak_rss_bytes),
                "pk_bytes": float((place.work / "pk").stat().st_size),
                "vk_bytes": float((place.work / "vk").stat().st_size),
            },
            facts=_facts(place.work),
        )

    def is_set_up(self, material: Fixture, place: Workdir) -> bool:
        return (place.work / "circuit.json").exists()

    def prove(self, material: Fixture, place: Workdir, sample: int) -> Outcome:
        at = sample % len(material.reference)
        inputs = {name: array[at].tolist() for name, array in material.held_out.items()}
        path = place.work / "input.json"
        path.write_text(json.dumps({"inputs": inputs}), encoding="utf-8")
        step = _step("prove", place, str(path))
        told = step.told
        return Outcome(
            metrics={
                **{f"{stage}_s": seconds for stage, seconds in told["seconds"].items()},
                "total_s": step.seconds,
                "cpu_s": step.cpu_seconds,
                "peak_rss_bytes": float(max(step.peak_rss_bytes, told["peak_rss_bytes"])),
                "proof_bytes": float(told["proof_bytes"]),
            },
            facts={"input": at},
            verified=told["verified"],
            outputs=[told["output"]],
        )

    def accuracy(self, material: Fixture, place: Workdir, count: int) -> Outcome:
        count = min(count, len(material.reference))
        told = _step("outputs", place, str(material.folder / "held_out.npz"), str(count)).told
        return Outcome(outputs=told["outputs"])


def _step(step: str, place: Workdir, *arguments: str) -> process.Measured:
    place.work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.systems.ours_flow", step, str(place.work)]
    measured = process.run(
        [*command, *arguments], deadline_s=place.deadline_s, cwd=_ROOT, accept=(0, 2, 3)
    )
    if measured.returncode != 0:
        problem = measured.told.get("problem", {})
        if problem.get("code") in (ModelTooLarge.code, EngineOutOfMemory.code):
            raise NotEnoughMemory(problem["detail"], advice=problem.get("advice"), problem=problem)
        refused = problem.get("fault") not in (Fault.OURS.value, Fault.BUSY.value, None)
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
