"""Circuits of many lanes with committed hints: how they grow, and the recipe of one.

Their integers are the single-lane circuit's. With more rows the one table begins further down and
ends where it ended, so that whatever one lane accepts all do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circuits.batching.lane_costs import Growth
from circuits.calibration.samples import Sample
from circuits.committed.arrangement import Arrangement
from circuits.compiler.recipe import Recipe, recompile_committed
from circuits.engine.layout_checks import cells_of
from circuits.engine.port import RunArgs
from circuits.errors import InputOutOfRange
from circuits.format.commitments import COLUMN_SALT, salted_columns
from circuits.format.commitments import columns as columns_of
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


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The ``cells`` of a circuit; the ``elements`` of the tensor that grows with lanes, without its
    columns' salt; and the sizes of the ``other`` tensors that are committed to."""

    cells: int
    elements: int
    other: tuple[int, ...]

    @classmethod
    def of(cls, made: LoweredGraph, logrows: int) -> Counted:
        assert made.commitments is not None
        elements, *other = made.commitments.sizes
        salt = COLUMN_SALT * salted_columns(elements, logrows)
        return cls(cells=cells_of(made.onnx), elements=elements - salt, other=tuple(other))

    def resized(self, lookups: int, tables: int) -> Counted:
        """With so many random look-ups of each table more, which are added up, too; those of a
        function's are scaled as well."""
        cells = self.cells + (2 if tables == 1 else 5) * lookups
        return replace(self, cells=cells, elements=self.elements + tables * lookups)


def committed_growths(
    counts: Mapping[tuple[int, int], tuple[Counted, Counted]], args: RunArgs
) -> tuple[Growth, ...]:
    """How a circuit grows in each size, by ``counts_by_size``; ``args`` are those of one lane."""
    tables = 1 + (args.param_scale > 0)
    low, high = args.lookup_range
    found = []
    for (logrows, columns), counted in counts.items():
        longer = low - (1 << logrows) + (1 << args.logrows), high
        sized = replace(args, logrows=logrows, num_inner_cols=columns, lookup_range=longer)
        other = sum(columns_of(size, logrows) for size in counted[0].other)
        near, far = (shape_of(sized, count.cells, other, tables) for count in counted)
        elements = counted[0].elements, counted[1].elements
        # Each sum over the lanes begins a row of its own.
        found.append(
            Growth(near=near, far=far, lanes=_LANES, whole=columns, given=True, elements=elements)
        )
    return tuple(found)


def counts_by_size(
    model: bytes, samples: Sequence[Sample], recipe: Recipe, least: int
) -> dict[tuple[int, int], tuple[Counted, Counted]] | str:
    """The counts of ``_LANES`` lanes, by logrows from ``least`` on and columns; or why lanes cannot
    be. Runs inside a sandbox child."""

    def counted(graph: FloatGraph, columns: int, lanes: int) -> Counted:
        args = RunArgs(
            input_scale=0,
            param_scale=0,
            scale_rebase_multiplier=1,
            logrows=_MOST_LOGROWS,
            num_inner_cols=columns,
        )
        # Compared with the model when made.
        made = recompile_committed(graph, batched_recipe(recipe, args, lanes), judged=False)
        return Counted.of(made, _MOST_LOGROWS)

    assert recipe.lowering is not None
    tables = 2 if "function" in recipe.lowering["steps"] else 1

    def salt(logrows: int, columns: int) -> int:
        return columns * random_lookups(logrows, columns, tables)

    graph = float_graph(model, samples, recipe.limbs, recipe.expose, recipe.accepted)
    found = {}
    try:
        for columns in _COLUMNS:
            near, far = (counted(graph, columns, lanes) for lanes in _LANES)
            for logrows in range(least, _MOST_LOGROWS + 1):
                more = salt(logrows, columns) - salt(_MOST_LOGROWS, columns)
                found[logrows, columns] = near.resized(more, tables), far.resized(more, tables)
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
