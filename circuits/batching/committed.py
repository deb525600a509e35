"""Circuits of many lanes with committed hints: how they grow, and the recipe of one.

Their integers are the single-lane circuit's. With more rows the one table begins further down and
ends where it ended, so that whatever one lane accepts all do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from circuits.batching.lane_costs import Growth
from circuits.calibration.samples import Sample
from circuits.committed.arrangement import Arrangement
from circuits.compiler.recipe import Recipe, recompile_committed
from circuits.engine.layout_checks import cells_of
from circuits.engine.port import RunArgs
from circuits.errors import InputOutOfRange
from circuits.format.field import from_felt
from circuits.lower.committed.writing.circuit import random_lookups
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph
from circuits.plan.committed import shape_of
from circuits.plan.graphs import float_graph

#: Columns that are tried. From four on the quotient's domain is larger.
_COLUMNS = (1, 2, 3, 4)
#: Lanes at which cells are counted, multiples of all columns: between them each lane adds as many.
_LANES = (12, 24)
#: With more rows a field element packs fewer outputs: cells are counted for the most.
_MOST_LOGROWS = 20


def batched_recipe(recipe: Recipe, args: RunArgs, lanes: int) -> Recipe:
    """A single-lane circuit's recipe with so many lanes in a size of its own."""
    assert recipe.lowering is not None
    steps = recipe.lowering["steps"] | {"logrows": args.logrows}
    lowering = recipe.lowering | {"columns": args.num_inner_cols, "steps": steps}
    return replace(recipe, lowering=lowering, lanes=lanes)


def committed_growths(
    cells: Mapping[tuple[int, int], tuple[int, int]], args: RunArgs
) -> tuple[Growth, ...]:
    """How a circuit grows in each size, by ``cells_by_size``; ``args`` are those of one lane."""
    tables = 1 + (args.param_scale > 0)
    low, high = args.lookup_range
    found = []
    for (logrows, columns), counted in cells.items():
        longer = low - (1 << logrows) + (1 << args.logrows), high
        sized = replace(args, logrows=logrows, num_inner_cols=columns, lookup_range=longer)
        near, far = (shape_of(sized, count, 0, tables) for count in counted)
        # Each sum over the lanes begins a row of its own.
        found.append(Growth(near=near, far=far, lanes=_LANES, whole=columns, given=True))
    return tuple(found)


def cells_by_size(
    model: bytes, samples: Sequence[Sample], recipe: Recipe, least: int
) -> dict[tuple[int, int], tuple[int, int]] | str:
    """The cells of ``_LANES`` lanes, by logrows from ``least`` on and columns; or why lanes cannot
    be. Runs inside a sandbox child."""

    def counted(graph: FloatGraph, columns: int, lanes: int) -> int:
        args = RunArgs(
            input_scale=0,
            param_scale=0,
            scale_rebase_multiplier=1,
            logrows=_MOST_LOGROWS,
            num_inner_cols=columns,
        )
        # Compared with the model when made.
        return cells_of(
            recompile_committed(graph, batched_recipe(recipe, args, lanes), judged=False).onnx
        )

    assert recipe.lowering is not None
    tables = 2 if "function" in recipe.lowering["steps"] else 1

    def salted(logrows: int, columns: int) -> int:
        """Cells of random look-ups and of their sum: of a function's they are scaled, too."""
        each = random_lookups(logrows, columns, tables)
        return (2 if tables == 1 else 5) * columns * each

    graph = float_graph(model, samples, recipe.limbs, recipe.expose, recipe.accepted)
    found = {}
    try:
        for columns in _COLUMNS:
            near, far = (
                counted(graph, columns, lanes) - salted(_MOST_LOGROWS, columns) for lanes in _LANES
            )
            for logrows in range(least, _MOST_LOGROWS + 1):
                salt = salted(logrows, columns)
                found[logrows, columns] = near + salt, far + salt
    except CannotLower as error:
        return error.detail
    return found


def batched_graph(model: bytes, samples: Sequence[Sample], recipe: Recipe) -> LoweredGraph:
    """The graph of a recipe of many lanes. Runs inside a sandbox child."""
    graph = float_graph(model, samples, recipe.limbs, recipe.expose, recipe.accepted)
    return recompile_committed(graph, recipe)


def inside(network: bytes, rows: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """The numbers of those samples whose values all have entries in the table. Runs inside a
    sandbox child."""
    arrangement = Arrangement.from_bytes(network)
    found = []
    for number, row in enumerate(rows):
        with contextlib.suppress(InputOutOfRange):
            arrangement.committed([[from_felt(f) for f in felts] for felts in row])
            found.append(number)
    return found
