"""How many inputs share a proof: the cheapest mix of circuits for a number of inputs.

A pack need not be full: its last lanes then repeat an input, and are nobody's. So what is chosen
is how many packs of which circuits, with every key set-up that is still to be made counted in.

Keys are kept, so a set-up is weighed against what it saves in all the batches that will use it, of
which this is the first. How many those are nobody knows. With ``batches`` assumed, so many take the
least time together, and a single one at most so many times as long as it had to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

#: Lanes that circuits are predicted with, and those that fill such a circuit's rows.
LANE_COUNTS = tuple(1 << i for i in range(11))
#: Different circuits in one mix: each has keys to set up and to keep.
_MOST_CIRCUITS = 3
#: Setting a circuit up takes about as long as so many of its proofs, its trial included.
_SETUP_PROOFS = 3.0
#: Seconds that a proof takes beside proving: processes, verification, receipts.
_OVERHEAD_S = 0.25
#: So many inputs are packed exactly; what lies above goes to the circuit of the best rate.
_EXACT = 2

#: Seconds of a proof with so many lanes; None where it does not fit memory.
ProveS = Callable[[int], float | None]


@dataclass(frozen=True, kw_only=True)
class PackPlan:
    """``packs``: lanes and how many proofs with so many lanes, widest first. ``seconds`` for the
    proofs, ``setup_s`` for the keys that are not there yet."""

    packs: tuple[tuple[int, int], ...]
    seconds: float
    setup_s: float = 0.0

    def sizes(self, count: int) -> list[tuple[int, int]]:
        """``(lanes, items)`` of each pack for ``count`` inputs, in order; the last may be short."""
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


def choose_mix(
    count: int,
    prove_s: ProveS,
    ready: Collection[int],
    ladder: Collection[int] = LANE_COUNTS,
    *,
    batches: int = 1,
) -> PackPlan:
    """The mix predicted to take the least time for ``batches`` batches of ``count`` inputs.

    ``ready``: lanes of circuits whose keys are there. One lane must always be possible.
    """
    costs = _costs(count, prove_s, ready, ladder)
    mixes = (
        replace(mix, setup_s=_setup_s(mix, costs, ready))
        for size in range(1, _MOST_CIRCUITS + 1)
        for chosen in itertools.combinations(sorted(costs, reverse=True), size)
        for mix in (_fill(count, {lanes: costs[lanes] for lanes in chosen}),)
    )
    return min(mixes, key=lambda mix: mix.seconds + mix.setup_s / batches)


def _setup_s(mix: PackPlan, costs: Mapping[int, float], ready: Collection[int]) -> float:
    return sum(_SETUP_PROOFS * costs[lanes] for lanes, _ in mix.packs if lanes not in ready)


def _costs(
    count: int, prove_s: ProveS, ready: Collection[int], ladder: Collection[int]
) -> dict[int, float]:
    """Seconds of a proof by lanes, up to the first that holds all inputs. No keys are made for
    fewer lanes where more cost the same."""
    costs: dict[int, float] = {}
    seconds = {n: s + _OVERHEAD_S for n in ladder if (s := prove_s(n)) is not None}
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
    """The cheapest packs out of these circuits: the bulk by the best rate, the rest exactly."""
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
