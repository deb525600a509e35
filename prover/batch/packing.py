"""How many inputs share a proof: the cheapest combination of circuits for a number of inputs.

A pack need not be full: its unused lanes repeat an input. The choice is how many packs of which
circuits, including the cost of key set-ups that are still needed.

Keys are kept, so a set-up may pay off over later batches, whose number is unknown. The choice
minimizes the total time of ``batches`` batches; a single batch then takes at most ``batches`` times
its optimum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

#: Numbers of lanes for which circuits are predicted.
LANE_COUNTS = tuple(1 << i for i in range(11))
#: The most circuits in one plan: each needs keys.
_MOST_CIRCUITS = 3
#: Cost of a key set-up with its trial proof, in proofs of the circuit.
_SETUP_PROOFS = 3.0
#: Seconds per proof besides proving: processes, verification, receipts.
_OVERHEAD_S = 0.25
#: Up to so many inputs the packing is optimal; more inputs go to the circuit with the best rate.
_EXACT = 2

#: Seconds of a proof with that many lanes; None if it does not fit memory.
ProveS = Callable[[int], float | None]


@dataclass(frozen=True, kw_only=True)
class PackPlan:
    """``packs``: pairs of lanes and number of proofs, most lanes first. ``seconds`` of the proofs,
    ``setup_s`` of the missing keys."""

    packs: tuple[tuple[int, int], ...]
    seconds: float
    setup_s: float = 0.0

    def sizes(self, count: int) -> list[tuple[int, int]]:
        """``(lanes, items)`` of each pack for ``count`` inputs; the last may not be full."""
        out = []
        for lanes, proofs in self.packs:
            for _ in range(proofs):
                taken = min(lanes, count)
                if taken:
                    out.append((lanes, taken))
                count -= taken
        assert count == 0
        return out

    def to_json(self) -> dict[str, Any]:
        return {
            "packs": [{"lanes": lanes, "proofs": n} for lanes, n in self.packs],
            "predicted_s": round(self.seconds + self.setup_s, 2),
            "setup_s": round(self.setup_s, 2),
        }


def plan_packs(
    count: int,
    prove_s: ProveS,
    ready: Collection[int],
    lane_counts: Collection[int] = LANE_COUNTS,
    *,
    batches: int = 1,
) -> PackPlan:
    """The plan predicted to take the least time for ``batches`` batches of ``count`` inputs.

    ``ready``: lanes of circuits with existing keys. A single lane must always be possible.
    """
    costs = _costs(count, prove_s, ready, lane_counts)
    plans = (
        replace(plan, setup_s=_setup_s(plan, costs, ready))
        for size in range(1, _MOST_CIRCUITS + 1)
        for chosen in itertools.combinations(sorted(costs, reverse=True), size)
        for plan in (_fill(count, {lanes: costs[lanes] for lanes in chosen}),)
    )
    return min(plans, key=lambda plan: plan.seconds + plan.setup_s / batches)


def _setup_s(plan: PackPlan, costs: Mapping[int, float], ready: Collection[int]) -> float:
    return sum(_SETUP_PROOFS * costs[lanes] for lanes, _ in plan.packs if lanes not in ready)


def _costs(
    count: int, prove_s: ProveS, ready: Collection[int], lane_counts: Collection[int]
) -> dict[int, float]:
    """Seconds of a proof by lanes, up to the first that holds all inputs. Drops fewer lanes where
    more cost the same."""
    costs: dict[int, float] = {}
    seconds = {n: s + _OVERHEAD_S for n in lane_counts if (s := prove_s(n)) is not None}
    least = math.inf
    for lanes in sorted(seconds, reverse=True):
        if lanes in ready or seconds[lanes] < least:
            costs[lanes] = seconds[lanes]
        least = min(least, seconds[lanes])
    enough = min((lanes for lanes in costs if lanes >= count), default=math.inf)
    costs = {lanes: cost for lanes, cost in costs.items() if lanes <= enough}
    if not costs:
        raise ValueError("no circuit fits")
    return costs


def _fill(count: int, costs: Mapping[int, float]) -> PackPlan:
    """The cheapest packs of these circuits: the bulk by the best rate, the rest exactly."""
    widest = max(costs)
    rate = min(costs, key=lambda lanes: (costs[lanes] / lanes, -lanes))
    bulk = max(0, (count - _EXACT * widest) // rate)
    left = count - bulk * rate
    step = min(costs)
    least = [0.0]
    taken = [0]
    for covered in range(1, -(-left // step) + 1):  # in units of the smallest circuit
        options = [(cost + least[max(0, covered - n // step)], n) for n, cost in costs.items()]
        seconds, lanes = min(options)
        least.append(seconds)
        taken.append(lanes)
    counts: dict[int, int] = {rate: bulk} if bulk else {}
    covered = len(least) - 1
    while covered > 0:
        lanes = taken[covered]
        counts[lanes] = counts.get(lanes, 0) + 1
        covered -= lanes // step
    packs = tuple(sorted(counts.items(), reverse=True))
    return PackPlan(packs=packs, seconds=least[-1] + bulk * costs[rate])
