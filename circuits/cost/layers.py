"""What each layer of an uploaded model costs to prove, before and after rewriting.

The engine prices the nodes: as exported each alone under its own defaults, which rescale after
every product; as rewritten by what each adds to those before it, since there scales grow until one
rescale serves several layers. In integers the compiler counts by itself.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from circuits.cost.assignments import (
    ENGINE_DEFAULT,
    FIXED_POINT,
    LAYERS,
    IntegerLayers,
    ModelCosts,
    priced_costs,
)
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.engine.sandbox import Child
from circuits.errors import EngineTimeout

_TAKE_APART = "circuits.cost.parts:take_apart"
_PRICE = "circuits.engine.calls:measure_layout"
#: Cells by formula beyond which a node is not given to the engine, which counts a million a second.
_LARGE = 2_000_000
#: Cells up to which a model is priced once for each of its layers.
_LARGE_TO_GROW = 300_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """One node: the layer of the uploaded model that it belongs to with that layer's operator, the
    node alone as ``onnx`` (None where a shape is not known), and its cells by formula. ``grown`` is
    the node at the end of all that comes before it, where that was asked for."""

    layer: str
    op: str
    onnx: bytes | None
    counted: int
    grown: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model's layers as uploaded and after rewriting; ``integers`` gives the uploaded layer of
    each named layer of the integer graph. ``large``: there are so many nodes that the engine is not
    asked, and no part has a model."""

    exported: list[Part]
    rewritten: list[Part]
    integers: dict[str, str]
    large: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerCosts:
    """Assignments of one layer. None: refused by the engine as it is, or no longer there in that
    form."""

    layer: str
    op: str
    as_exported: int | None
    rewritten: int | None
    integers: int | None

    @property
    def after(self) -> int:
        """What it costs in the form that is proved."""
        return self.integers if self.integers is not None else self.rewritten or 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """A model's costs in its four forms (see ``ModelCosts``), in all and layer by layer.

    ``counted``: by whom, ``engine`` or, for a graph of many nodes, ``formula``.
    """

    as_exported: int | None
    rewritten: int | None
    integers: int | None
    committed: int | None
    integer_unsupported: str
    layers: tuple[LayerCosts, ...]
    counted: str = "engine"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"layers": [layer.to_json() for layer in self.layers]}


def cost_report(
    engine: EzklEngine, model: bytes, limits: Limits, child: Child | None = None
) -> CostReport:
    """Prices a model layer by layer; proves and sets up nothing. Seconds for small models; what is
    not priced by ``limits.deadline_s``, and all of a graph of many nodes, is counted by formula.

    ``child`` may have inspected the model before: it then need not be rewritten again.

    Raises what rewriting raises for a model that cannot be proved.
    """
    until = time.monotonic() + limits.deadline_s
    with contextlib.ExitStack() as stack:
        child = child or stack.enter_context(
            engine.sandbox.session(limits, loads=LAYERS.partition(":")[0])
        )
        rewritten, lowered, committed = child.call(LAYERS, model)
        names = [] if isinstance(lowered, str) else [row["layer"] for row in lowered.layers]
        parts: Parts = child.call(_TAKE_APART, model, names)
    if parts.large:
        return _counted(parts, lowered, committed)
    totals = priced_costs(engine, model, rewritten, lowered, committed, limits)
    before = _priced(engine, parts.exported, ENGINE_DEFAULT, limits, until)
    after = _priced(engine, parts.rewritten, FIXED_POINT, limits, until)
    return CostReport(
        as_exported=totals.as_exported,
        rewritten=totals.rewritten,
        integers=totals.integers,
        committed=totals.committed,
        integer_unsupported=totals.integer_unsupported,
        layers=_joined(parts, before, after, totals),
    )


def _counted(parts: Parts, lowered: IntegerLayers | str, committed: int | None) -> CostReport:
    """The costs of a graph of many nodes, by formula."""
    before, after = (_by_formula(found) for found in (parts.exported, parts.rewritten))
    found = isinstance(lowered, IntegerLayers)
    rows = tuple(lowered.layers) if isinstance(lowered, IntegerLayers) else ()
    totals = ModelCosts(
        as_exported=sum(before.values()),
        rewritten=sum(after.values()),
        integers=sum(row["assignments"] for row in rows) if found else None,
        committed=committed,
        layers=rows,
        integer_unsupported="" if found else str(lowered),
    )
    return CostReport(
        as_exported=totals.as_exported,
        rewritten=totals.rewritten,
        integers=totals.integers,
        committed=totals.committed,
        integer_unsupported=totals.integer_unsupported,
        layers=_joined(parts, dict(before), dict(after), totals),
        counted="formula",
    )


def _by_formula(parts: Sequence[Part]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for part in parts:
        found[part.layer] += part.counted
    return found


def largest_first(layers: Sequence[LayerCosts]) -> list[LayerCosts]:
    """Layers by what they cost in the form that is proved, most expensive first."""
    return sorted(layers, key=lambda layer: -layer.after)


def in_words(report: CostReport) -> str:
    """The totals: ``12,345 as exported, …``."""
    known = {
        "as exported": report.as_exported,
        "rewritten": report.rewritten,
        "in integers": report.integers,
        "with committed hints": report.committed,
    }
    parts = [f"{count:,} {name}" for name, count in known.items() if count is not None]
    refused = "the engine refuses it as exported"
    return ", ".join(parts if report.as_exported is not None else [refused, *parts])


def _joined(
    parts: Parts,
    before: Mapping[str, int | None],
    after: Mapping[str, int | None],
    totals: ModelCosts,
) -> tuple[LayerCosts, ...]:
    integers: dict[str, int] = {}
    operators = {p.layer: p.op for p in [*parts.rewritten, *parts.exported]}
    for row in totals.layers:
        layer = parts.integers[row["layer"]]
        operators.setdefault(layer, row["op"])
        integers[layer] = integers.get(layer, 0) + row["assignments"]
    whole = totals.integers is not None
    return tuple(
        LayerCosts(
            layer=layer,
            op=op,
            as_exported=before.get(layer, None if layer in before else 0),
            rewritten=after.get(layer, None if layer in after else 0),
            integers=integers.get(layer, 0) if whole else None,
        )
        for layer, op in _in_order(parts, operators)
    )


def _in_order(parts: Parts, operators: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Layers as the uploaded graph has them, then those that rewriting added."""
    ordered = dict.fromkeys(p.layer for p in [*parts.exported, *parts.rewritten])
    for layer in [*ordered, *(name for name in operators if name not in ordered)]:
        yield layer, operators[layer]


def _priced(
    engine: EzklEngine, parts: Sequence[Part], args: RunArgs, limits: Limits, until: float
) -> dict[str, int | None]:
    """Cells by layer; None for a layer of which the engine refuses a part."""
    alone = replace(args, ignore_range_check_inputs_outputs=True)
    grows = sum(part.counted for part in parts) <= _LARGE_TO_GROW
    found: dict[str, int | None] = {}
    left, before = list(parts), 0
    while left:
        remaining = replace(limits, deadline_s=max(0.1, until - time.monotonic()))
        try:
            with engine.sandbox.session(remaining) as child:
                while left:
                    cells, before = _cells_of(child, left[0], alone, before, grows, until)
                    _add(found, left[0].layer, cells)
                    left.pop(0)
        except EngineTimeout:
            _add(found, left[0].layer, left[0].counted)
            left.pop(0)
    return found


def _cells_of(
    child: Child, part: Part, args: RunArgs, before: int, grows: bool, until: float
) -> tuple[int | None, int]:
    """One part's cells, and those of all parts so far."""
    if time.monotonic() >= until or part.counted > _LARGE:
        return part.counted, before + part.counted
    if grows and part.grown is not None:
        (priced,) = child.call(_PRICE, part.grown, [args])
        so_far = _cells(priced)
        if so_far is not None:
            return max(0, so_far - before), so_far
    if part.onnx is None:
        return None, before
    (priced,) = child.call(_PRICE, part.onnx, [args])
    cells = _cells(priced)
    return cells, before + (cells or 0)


def _add(found: dict[str, int | None], layer: str, cells: int | None) -> None:
    known = found.get(layer, 0)
    found[layer] = None if known is None or cells is None else known + cells


def _cells(priced: object) -> int | None:
    """Without the borders, which a layer inside a model does not have."""
    if not isinstance(priced, LayoutStats):
        return None
    borders = sum(math.prod(shape) for shape in priced.instance_shapes)
    return max(0, priced.assignments - borders)
