"""The search over shapes finds the cheapest of all of them without layouts all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from circuits.cost.model import CostModel
from circuits.engine.port import Engine, LayoutStats, Limits, RunArgs
from circuits.errors import EngineError
from circuits.format.profile import Profile
from circuits.plan.effort import BUDGETS, Effort, worth_timing
from circuits.plan.layouts import COLUMNS, LEGS, Layouts, minimal_logrows
from circuits.plan.lowered_candidates import integer_args

_PROFILE = Profile()
_COSTS = CostModel.bundled()


@dataclass
class Counter:
    """Prices as the engine does: so much for the layers, so much for each leg of a ReLU."""

    layers: int
    relus: int
    layout: list[RunArgs] = field(default_factory=list)

    def measure_layout(
        self, onnx: bytes, candidates: Sequence[RunArgs], limits: Limits
    ) -> list[LayoutStats | EngineError]:
        self.layout += candidates
        return [self.one(args) for args in candidates]

    def one(self, args: RunArgs) -> LayoutStats:
        cells = self.layers + self.relus * (10 + 3 * args.decomp_legs)
        return LayoutStats(
            args=args,
            settings="{}",
            rows=math.ceil(cells / args.num_inner_cols),
            assignments=cells,
            constants=0,
            dynamic_size=0,
            lookups=(),
            range_checks=((-1, 1), (0, args.decomp_base - 1)),
            input_scales=(0,),
            output_scales=(0,),
            instance_shapes=((1, 4),),
        )


def _seconds(layout: LayoutStats) -> float:
    return _COSTS.predict(layout).prove_s


def _cheapest_of_all(counter: Counter, bits: int) -> float:
    found = []
    for legs in LEGS:
        for columns in COLUMNS:
            args = replace(
                integer_args(_PROFILE, 0),
                decomp_base=1 << max(2, math.ceil(bits / legs)),
                decomp_legs=legs,
                num_inner_cols=columns,
            )
            args = replace(args, logrows=minimal_logrows(counter.one(args)))
            found.append(_seconds(counter.one(args)))
    return min(found)


@given(st.integers(1, 50_000), st.integers(1, 2_000), st.integers(2, 40))
def test_no_shape_is_cheaper_than_the_best_one_found(layers: int, relus: int, bits: int) -> None:
    counter = Counter(layers, relus)
    layouts = Layouts(
        engine=cast(Engine, counter),
        limits=Limits(deadline_s=1, memory_bytes=1 << 30),
        profile=_PROFILE,
    )
    shapes = layouts.shapes(b"", integer_args(_PROFILE, 0), bits, None)
    assert min(map(_seconds, shapes)) <= _cheapest_of_all(counter, bits) * (1 + 1e-9)
    assert all(p.args.decomp_base**p.args.decomp_legs >= 1 << bits for p in shapes)


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=50).map(sorted),
    st.sampled_from([Effort.BALANCED, Effort.MAX]),
)
def test_candidates_are_timed_in_company_and_within_the_budget(
    seconds: list[float], effort: Effort
) -> None:
    most, within, budget = BUDGETS[effort]
    chosen = worth_timing(seconds, seconds, effort)
    assert len(chosen) != 1, "one alone is compared with nothing"
    assert len(chosen) <= most
    assert all(seconds[i] <= within * seconds[0] for i in chosen)
    assert 3 * sum(seconds[i] for i in chosen) <= budget


def test_effort_fast_times_nothing() -> None:
    assert worth_timing([1.0, 1.0], [0.01, 0.01], Effort.FAST) == []
