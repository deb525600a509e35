"""The steps of the suite ``batch``, each in a separate process.

    python -m benchmarks.steps.batch_flow verify BUNDLE
    python -m benchmarks.steps.batch_flow predict MODEL CALIBRATION LANES

``verify`` checks every item of a batch bundle; ``predict`` predicts the cost of circuits with these
numbers of lanes (``1,2,4``), for a model whose circuit is in the home folder. The last line on
stdout is JSON; an error is ``{"problem": …}`` with exit status 2 or 3.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circuits.batching.errors import CannotBatch
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from circuits.errors import Fault, ZkmlError
from circuits.format.profile import Profile
from prover.app import App
from prover.batch.bundle import open_batch_bundle
from prover.batch.verify import verify_batch
from prover.settings import Settings
from prover.statement.envelope import Receipt


def verify(bundle: str) -> dict[str, Any]:
    """``item_s``: the median of an item whose proof was already checked; ``costs``: those of each
    proof, from its first receipt."""
    engine = EzklEngine(Sandbox())
    engine.sandbox.start()
    good, seen, beyond, costs = 0, set(), [], []
    try:
        with Path(bundle).open("rb") as file:
            held = open_batch_bundle(file)
            begin = last = time.perf_counter()
            for entry, report in verify_batch(file, engine=engine):
                now = time.perf_counter()
                good += report.ok
                if entry.members["proof"] in seen:
                    beyond.append(now - last)
                else:
                    seen.add(entry.members["proof"])
                    receipt = Receipt.from_bytes(held.bundle(entry).receipt)
                    costs.append(receipt.statement().predicate.cost.seconds)
                last = time.perf_counter()
    finally:
        engine.sandbox.close()
    return {
        "items": len(held.entries),
        "good": good,
        "seconds": last - begin,
        "item_s": statistics.median(beyond) if beyond else None,
        "costs": costs,
    }


def predict(model: str, calibration: str, lanes: str) -> dict[str, Any]:
    """``at``: seconds and bytes by lanes, None if no layout fits ``limit_bytes``; ``why``: the
    reason if inputs cannot share a proof."""
    settings = Settings.load(redis_url=None)
    app = App.open(settings)
    try:
        record, _ = app.add_model(Path(model).read_bytes(), "model.onnx")
        samples = Path(calibration).read_bytes()
        spec = app.registry.calibrated_spec(record, Profile(), samples)
        circuit = app.registry.open(spec.id)
        if circuit is None:
            return {"at": {}, "why": "there is no single-lane circuit"}
        builder = app.registry.batched_builder()
        try:
            lane_costs = builder.lane_costs(app.registry.single_lane(circuit))
        except CannotBatch as error:
            return {"at": {}, "why": error.detail}
        found = {n: lane_costs.at(int(n)) for n in lanes.split(",") if n != "1"}
        return {
            "at": {n: p.to_json() if p else None for n, p in found.items()},
            "why": None,
            "limit_bytes": settings.engine_limits.memory_bytes,
        }
    finally:
        app.close()


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"verify": verify, "predict": predict}


def main(step: str, *arguments: str) -> int:
    try:
        print(json.dumps(STEPS[step](*arguments)))
    except ZkmlError as error:
        print(json.dumps({"problem": error.problem()}))
        return 3 if error.fault in (Fault.INTERNAL, Fault.BUSY) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
