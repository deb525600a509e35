"""Sets up and proves the planner's plausible candidates one after another.

    python -m benchmarks.steps.candidates_flow set-up WORK MODEL CALIBRATION SRS MOST WITHIN TOTAL_S
    python -m benchmarks.steps.candidates_flow prove WORK ROUND AGAIN_WITHIN

``set-up`` plans by the cost model alone and sets up all candidates predicted within ``WITHIN``
times the cheapest, at most ``MOST``, and after the first two none beyond ``TOTAL_S`` predicted
seconds of proofs. ``prove`` proves each once, each in a new child process: all in the first round,
in later rounds those within ``AGAIN_WITHIN`` of the fastest so far. WORK has the files between the
steps. The last line on stdout is JSON; an error is ``{"problem": …}`` with exit status 2 or 3.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.steps import own_settings, run_step, step_limits
from circuits.calibration.samples import read_calibration
from circuits.compiler.build import Builder
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, set_up_files
from circuits.errors import EngineError
from circuits.format.profile import Profile
from circuits.plan.effort import Effort
from circuits.plan.layouts import Layouts
from circuits.plan.lowered_candidates import Candidate
from circuits.srs.files import Policy, SrsFolder
from prover.jobs.circuit_registry import machine_costs

_INSPECT = "circuits.compiler.inspect:inspect_model"  # by name: it runs in a child process
FILE = "candidates.json"
_LEAST = 2


def set_up(
    engine: EzklEngine,
    work: Path,
    model: str,
    calibration: str,
    srs: str,
    most: str,
    within: str,
    total_s: str,
) -> dict[str, Any]:
    """Writes ``candidates.json``: the plausible candidates, by predicted cost."""
    data = Path(model).read_bytes()
    signature = engine.sandbox.call(_INSPECT, data, limits=step_limits()).signature
    folder = SrsFolder(Path(srs))
    builder = Builder(
        engine=engine,
        srs=folder,
        policy=Policy.DEVELOPMENT,
        limits=step_limits(),
        effort=Effort.FAST,
        cost_model=machine_costs(own_settings()),
    )
    plan = builder.plan(
        data, read_calibration(Path(calibration).read_bytes(), signature), Profile()
    )
    different = _different(plan.ranked)
    least = different[0].predicted.prove_s
    plausible = [r for r in different if r.predicted.prove_s <= float(within) * least]
    shutil.rmtree(work, ignore_errors=True)
    candidates: list[dict[str, Any]] = []
    spent_s = 0.0
    for ranked in plausible[: int(most)]:
        spent_s += ranked.predicted.prove_s
        if len(candidates) >= _LEAST and spent_s > float(total_s):
            break
        place = work / f"{len(candidates):02d}"
        candidates.append(_set_one_up(engine, ranked, folder, place))
    output = {
        "candidates": candidates,
        "different": len(different),
        "plausible": len(plausible),
        "cost_model": plan.cost_model.source,
    }
    (work / FILE).write_text(json.dumps(output), encoding="utf-8")
    return output


def _different(ranked: tuple[Candidate, ...]) -> list[Candidate]:
    """Sorted by predicted time; one of each predicted cost, since others do not differ in cost."""
    found: dict[Any, Candidate] = {}
    for candidate in ranked:
        found.setdefault(candidate.predicted, candidate)
    return sorted(found.values(), key=lambda r: r.predicted.prove_s)


def _set_one_up(
    engine: EzklEngine, ranked: Candidate, folder: SrsFolder, place: Path
) -> dict[str, Any]:
    """The candidate's data, with the reason in ``failed`` if it cannot be set up."""
    place.mkdir(parents=True)
    shape, profile = ranked, Profile()
    output = {
        "variant": shape.variant.label,
        "args": asdict(shape.args),
        "predicted_s": ranked.predicted.prove_s,
        "predicted_bytes": ranked.predicted.peak_bytes,
        "failed": None,
        "prove_s": [],
        "peak_bytes": [],
    }
    layouts = Layouts(engine=engine, limits=step_limits(), profile=profile)
    try:
        layout = layouts.at_own_size(shape.variant.onnx, shape.layout)
        if layout is None:
            return output | {"failed": "it does not fit its k"}
        srs = folder.ensure(
            shape.args.logrows,
            Policy.DEVELOPMENT,
            lambda path, k: engine.generate_srs(path, k, step_limits()),
        )
        begin = time.perf_counter()
        engine.setup(shape.variant.onnx, layout.settings, srs.path, place, step_limits())
    except EngineError as error:
        return output | {"failed": error.detail}
    network = shape.variant.network
    if network is not None:
        (place / "network").write_bytes(network)
    felts = [list(values) for values in shape.variant.samples[0]]
    (place / "felts.json").write_text(json.dumps(felts), encoding="utf-8")
    return output | {
        "setup_s": time.perf_counter() - begin,
        "srs": str(srs.path),
        "hints": network is not None,
    }


def prove(engine: EzklEngine, work: Path, turn: str, again_within: str) -> dict[str, Any]:
    """Adds a round's times to ``candidates.json`` and returns it; the order rotates each round."""
    output: dict[str, Any] = json.loads((work / FILE).read_text(encoding="utf-8"))
    candidates = output["candidates"]
    times = [min(c["prove_s"]) for c in candidates if c["prove_s"]]
    limit = float(again_within) * min(times) if times and int(turn) else float("inf")
    order = list(enumerate(candidates))
    first = int(turn) * len(order) // 3
    for index, candidate in [*order[first:], *order[:first]]:
        if candidate["failed"] or min(candidate["prove_s"], default=0.0) > limit:
            continue
        place = work / f"{index:02d}"
        felts = json.loads((place / "felts.json").read_text(encoding="utf-8"))
        paths = set_up_files(place, Path(candidate["srs"]))
        if candidate["hints"]:
            paths["hints"] = place / "network"
        files = CircuitFiles.of(paths)
        try:
            proof = engine.prove(files, felts, step_limits())
        except EngineError as error:
            candidate["failed"] = error.detail
            continue
        candidate["prove_s"].append(proof.seconds["prove"])
        candidate["peak_bytes"].append(proof.peak_rss_bytes)
    (work / FILE).write_text(json.dumps(output), encoding="utf-8")
    return output


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"set-up": set_up, "prove": prove}


if __name__ == "__main__":
    sys.exit(run_step(STEPS, *sys.argv[1:]))
