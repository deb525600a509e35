"""How much work the planner puts in, and proving candidates to measure their time."""

from __future__ import annotations

import enum
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from circuits.engine.port import CircuitFiles, Engine, Limits, set_up_files
from circuits.errors import EngineError
from circuits.plan.lowered_candidates import Candidate, Measurement


class Effort(enum.StrEnum):
    """What a choice is based on."""

    FAST = "fast"  # the cost model alone
    BALANCED = "balanced"  # the best few, timed, while that is cheap
    MAX = "max"  # all plausible ones, timed


#: Makes the SRS of a size available: ``srs(logrows) -> path``.
SrsOf = Callable[[int], Path]

#: (candidates at most, predicted cost over the best's at most, seconds in total at most)
BUDGETS: dict[Effort, tuple[int, float, float]] = {
    Effort.FAST: (0, 0.0, 0.0),
    Effort.BALANCED: (2, 1.2, 2.5),
    Effort.MAX: (40, 2.5, 3600.0),
}

#: What timing a candidate takes, in proofs: two of them, and keys.
_PROOFS_WORTH = 3


def time_shape(
    engine: Engine, shape: Candidate, srs: SrsOf, limits: Limits
) -> Measurement | EngineError:
    """Sets a shape up in a temporary folder and proves one of its samples twice."""
    with tempfile.TemporaryDirectory(prefix="zkml-time-") as folder:
        out = Path(folder)
        try:
            path = srs(shape.args.logrows)
            started = time.monotonic()
            engine.setup(shape.variant.onnx, shape.layout.settings, path, out, limits)
            setup_s = time.monotonic() - started
            variant, paths = shape.variant, set_up_files(out, path)
            if variant.network is not None:
                paths["hints"] = out / "network"
                paths["hints"].write_bytes(variant.network)
            files = CircuitFiles.of(paths, variant.salt, variant.commitments)
            proofs = [engine.prove(files, shape.variant.samples[0], limits) for _ in range(2)]
        except EngineError as error:
            return error
        return Measurement(
            setup_s=setup_s,
            prove_s=min(p.seconds["prove"] for p in proofs),
            peak_bytes=max(p.peak_rss_bytes for p in proofs),
            proof_bytes=len(proofs[0].proof),
            pk_bytes=(out / "pk").stat().st_size,
        )


def worth_timing(costs: Sequence[float], proving_s: Sequence[float], effort: Effort) -> list[int]:
    """Which of the ranked candidates to time: by predicted cost, best first, with what a proof of
    each is predicted to take. None when time does not suffice for two: one alone is compared with
    nothing."""
    most, within, left = BUDGETS[effort]
    chosen: list[int] = []
    for index, cost in enumerate(costs):
        if len(chosen) == most or cost > within * costs[0]:
            break
        left -= _PROOFS_WORTH * proving_s[index]
        if left >= 0:
            chosen.append(index)
    return chosen if len(chosen) > 1 else []
