"""Circuits of many lanes with committed hints: what they cost, and the graph of one.

Their integers are the narrow circuit's. With more rows the one table begins further down and ends
where it ended, so that whatever one lane accepts all do.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from circuits.batching.errors import CannotBatch
from circuits.calibration.samples import Sample
from circuits.committed.arrangement import Arrangement
from circuits.compiler.recipe import Recipe, committed_anew
from circuits.cost.model import CostModel, Prediction
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.errors import InputOutOfRange
from circuits.format.field import from_felt
from circuits.format.manifest import MAX_LANES
from circuits.format.profile import Target
from circuits.lower.graphs import FloatGraph

_CELLS = "circuits.batching.committed:cells_by_columns"
#: Columns that are tried. From four on the quotient's domain is larger.
_COLUMNS = (1, 2, 3, 4)
#: Lanes at which cells are counted, multiples of all columns: between them each lane adds as many.
_NEAR, _FAR = 12, 24
#: With more rows a field element packs fewer outputs: cells are counted for the most.
_MOST_LOGROWS = 20
#: Rows of a column that are left free (``circuits.lower.committed.candidates``), with some more.
_SPARE_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class CommittedForecast:
    """What circuits of many lanes cost. ``cells``: those of ``_NEAR`` and of ``_FAR`` lanes, by
    logrows and columns; ``args``: the narrow circuit's settings."""

    cells: Mapping[tuple[int, int], tuple[int, int]]
    args: RunArgs
    costs: CostModel
    target: Target
    limits: Limits

    def at(self, lanes: int) -> Prediction | None:
        """The cheapest size's costs with so many lanes; None when none fits memory."""
        found = self.sizes(lanes)
        return found[0][1] if found else None

    def most(self, lanes: int) -> int:
        """How many lanes, at least ``lanes`` and fewer than twice as many, cost no more."""
        found = self.at(lanes)
        if found is None:
            return lanes
        low, high = lanes, min(2 * lanes, MAX_LANES + 1)
        while high - low > 1:
            middle = (low + high) // 2
            beyond = self.at(middle)
            if beyond is None or beyond.prove_s > found.prove_s:
                high = middle
            else:
                low = middle
        return low

    def sizes(self, lanes: int) -> list[tuple[LayoutStats, Prediction]]:
        """The sizes that hold so many lanes and fit memory, the cheapest first."""
        priced = [p for columns in _COLUMNS if (p := self._least(columns, lanes)) is not None]
        predicted = [(p, self.costs.predict(p)) for p in priced]
        fitting = [f for f in predicted if f[1].peak_bytes <= self.limits.memory_bytes]
        return sorted(fitting, key=lambda f: (f[1].of(self.target), f[1].prove_s))

    def _least(self, columns: int, lanes: int) -> LayoutStats | None:
        # Each sum over the lanes begins a row of its own.
        whole = -(-lanes // columns) * columns
        for logrows in range(self.args.logrows, _MOST_LOGROWS + 1):
            near, far = self.cells[logrows, columns]
            cells = math.ceil(near + (far - near) * (whole - _NEAR) / (_FAR - _NEAR))
            if cells <= columns * ((1 << logrows) - _SPARE_ROWS):
                return self._priced(columns, logrows, cells)
        return None

    def _priced(self, columns: int, logrows: int, cells: int) -> LayoutStats:
        low, high = self.args.lookup_range
        low -= (1 << logrows) - (1 << self.args.logrows)
        return LayoutStats(
            args=replace(
                self.args, logrows=logrows, num_inner_cols=columns, lookup_range=(low, high)
            ),
            settings="",
            rows=-(-cells // columns),
            assignments=cells,
            constants=0,
            dynamic_size=0,
            lookups=("HardSwish",),
            range_checks=(),
            input_scales=(),
            output_scales=(),
            instance_shapes=(),
        )


def wide_recipe(recipe: Recipe, logrows: int, columns: int, lanes: int) -> Recipe:
    """A narrow circuit's recipe with so many lanes in a size of its own."""
    assert recipe.lowering is not None
    steps = recipe.lowering["steps"] | {"logrows": logrows}
    lowering = recipe.lowering | {"columns": columns, "steps": steps}
    return replace(recipe, lowering=lowering, lanes=lanes)


def committed_forecast(
    sandbox: Sandbox,
    model: bytes,
    samples: Sequence[Sample],
    recipe: Recipe,
    args: RunArgs,
    limits: Limits,
    costs: CostModel,
    target: Target,
) -> CommittedForecast:
    """Counts a circuit's cells. Raises ``CannotBatch`` where its inputs cannot share a proof."""
    cells = sandbox.call(_CELLS, model, list(samples), recipe, args.logrows, limits=limits)
    if isinstance(cells, str):
        raise CannotBatch(cells)
    return CommittedForecast(
        cells=cells,
        args=args,
        costs=costs,
        target=target,
        limits=limits,
    )


def cells_by_columns(
    model: bytes, samples: Sequence[Sample], recipe: Recipe, least: int
) -> dict[tuple[int, int], tuple[int, int]] | str:
    """The cells of ``_NEAR`` and ``_FAR`` lanes, by logrows from ``least`` on and columns; or why
    lanes cannot be. Runs inside a sandbox child."""
    from circuits.compiler.process import float_graph
    from circuits.engine.layout_checks import cells_of as filled
    from circuits.lower.committed.circuit import random_lookups
    from circuits.lower.errors import CannotLower

    def counted(graph: FloatGraph, columns: int, lanes: int) -> int:
        sized = wide_recipe(recipe, _MOST_LOGROWS, columns, lanes)
        return filled(
            committed_anew(graph, sized, judged=False).onnx
        )  # compared with the model when made

    def salted(logrows: int, columns: int) -> int:
        """Cells of random look-ups and of their sum."""
        return 2 * columns * random_lookups(logrows, columns)

    graph = float_graph(model, samples, recipe.limbs, recipe.expose)
    found = {}
    try:
        for columns in _COLUMNS:
            cells = [
                counted(graph, columns, lanes) - salted(_MOST_LOGROWS, columns)
                for lanes in (_NEAR, _FAR)
            ]
            for logrows in range(least, _MOST_LOGROWS + 1):
                near, far = (n + salted(logrows, columns) for n in cells)
                found[logrows, columns] = near, far
    except CannotLower as error:
        return error.detail
    return found


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
