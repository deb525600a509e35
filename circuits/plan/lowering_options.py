"""Which forms of an integer graph are worth layouts: by a count of what each layer needs, which is
right to some per cent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from circuits.cost.integers import cells_of
from circuits.cost.model import CostModel
from circuits.engine.port import LayoutStats, RunArgs
from circuits.lower import GraphVariant
from circuits.plan.layouts import COLUMNS, MAX_LOGROWS, at_smallest

_T = TypeVar("_T")
#: Bits of what is rectified or compared beyond which no table is tried.
_TABLE_BITS = 20
#: Digits of these many bits stand for all that the engine will be asked to lay out.
_LEGS = (2, 3, 4, 6)
#: A form estimated so much more expensive than the cheapest is not measured.
_DOMINATED = 1.4
#: What the engine checks by table in every circuit with decompositions: digits, and signs.
_SIGNS = (-1, 1)


def within_factor(estimated: Iterable[tuple[float, _T]]) -> list[_T]:
    """What is estimated near the cheapest, the cheapest first."""
    by_cost = sorted(estimated, key=lambda entry: entry[0])
    return [found for seconds, found in by_cost if seconds <= by_cost[0][0] * _DOMINATED]


def estimate_options(make: Callable[[bool], GraphVariant]) -> list[tuple[float, GraphVariant]]:
    """The model without tables for ReLUs and comparisons and, where they are short, with them, each
    with its cost by ``estimate``; ``make`` lowers it."""
    forms = [make(False)]
    if 1 < forms[0].value_bounds.decomposed < 1 << _TABLE_BITS:
        forms.append(make(True))
    return [(estimate(variant), variant) for variant in forms]


def estimate(variant: GraphVariant) -> float:
    """Seconds of proving in the best shape, by the counts of its layers alone."""
    costs = CostModel.bundled()
    return min(
        (costs.predict(shape).prove_s for shape in typical_layouts(variant)), default=math.inf
    )


def typical_layouts(variant: GraphVariant) -> list[LayoutStats]:
    """Typical shapes of a graph, by the counts of its layers alone."""
    found = (_shape(variant, legs, columns) for legs in _LEGS for columns in COLUMNS)
    return [shape for shape in found if shape is not None]


def _shape(variant: GraphVariant, legs: int, columns: int) -> LayoutStats | None:
    main = cells_of(variant, legs)
    each = max(2, math.ceil(variant.value_bounds.decomposed.bit_length() / legs))
    if each >= MAX_LOGROWS:
        return None
    tables = variant.value_bounds.lookup
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=MAX_LOGROWS,
        num_inner_cols=columns,
        decomp_base=1 << each,
        decomp_legs=legs,
        lookup_range=tables or (0, 0),
    )
    checks = (_SIGNS, (0, (1 << each) - 1)) if variant.value_bounds.decomposed > 1 else ()
    return at_smallest(
        LayoutStats.counted(args, main, lookups=variant.lookups, range_checks=checks)
    )
