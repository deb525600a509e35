"""Which forms of an integer graph are worth layouts.

A form changes the cost and nothing of the result. There are too many to have the engine lay each of
them out in every shape, and most are infeasible; a count of what each layer needs, which is right
to some per cent, tells which.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from circuits.cost.integers import cells_of
from circuits.cost.model import CostModel
from circuits.engine.port import LayoutStats, RunArgs
from circuits.lower import GraphVariant, LoweringOptions
from circuits.plan.layouts import COLUMNS, MAX_LOGROWS, at_smallest

_T = TypeVar("_T")
#: Bits of a rectified value beyond which no table is tried.
_TABLE_BITS = 20
#: ReLUs, from the first one on, that are tried as tables.
_MOST_TABLES = 4
#: Multiplications of a single row from which on leaving out zeros is worth a look, and how many
#: times those that count they must be.
_SPARSE_FROM = 512
_SPARSE_PAYS = 2
#: Digits of these many bits stand for all that the engine will be asked to lay out.
_LEGS = (2, 3, 4, 6)
#: A form estimated so much more expensive than the cheapest is not measured.
_HOPELESS = 1.4
#: What the engine checks by table in every circuit with decompositions: digits, and signs.
_SIGNS = (-1, 1)


def within_factor(estimated: Iterable[tuple[float, _T]]) -> list[_T]:
    """What is estimated near the cheapest, the cheapest first."""
    by_cost = sorted(estimated, key=lambda entry: entry[0])
    return [found for seconds, found in by_cost if seconds <= by_cost[0][0] * _HOPELESS]


def weigh_forms(
    make: Callable[[LoweringOptions], GraphVariant],
) -> list[tuple[float, GraphVariant]]:
    """The model in the forms that it offers, each with its cost by ``estimate``.

    ``make`` lowers the model in a form. Of forms that come to the same graph only the first is
    taken.
    """
    plain = make(LoweringOptions())
    distinct: dict[bytes, tuple[float, GraphVariant]] = {}
    for form in _forms(plain):
        variant = plain if form == LoweringOptions() else make(form)
        if variant.onnx not in distinct:
            distinct[variant.onnx] = (estimate(variant), variant)
    return list(distinct.values())


def _tabulable_relus(variant: GraphVariant) -> int:
    """How many ReLUs, from the first one on, are worth a look as tables."""
    narrow = itertools.takewhile(lambda relu: relu[1] < 1 << _TABLE_BITS, variant.relus)
    return min(_MOST_TABLES, len(list(narrow)))


def _forms(plain: GraphVariant) -> Iterator[LoweringOptions]:
    """Every choice that the model offers, the plain form first."""
    tables = _tabulable_relus(plain)
    rows = [row for row in plain.single_rows if row.multiplications >= _SPARSE_FROM]
    sparse = any(row.multiplications > _SPARSE_PAYS * row.nonzero for row in rows)
    for step_tables, thin, count in itertools.product(
        (False, True) if b"Greater" in plain.onnx else (False,),
        (False, True) if sparse else (False,),
        range(tables + 1),
    ):
        yield LoweringOptions(relu_tables=count, sparse=thin, step_tables=step_tables)


def estimate(variant: GraphVariant) -> float:
    """Seconds of proving in the best shape, by the counts of its layers alone."""
    costs = CostModel.bundled()
    return min((costs.predict(shape).prove_s for shape in shapes(variant)), default=math.inf)


def shapes(variant: GraphVariant) -> list[LayoutStats]:
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
