"""What each layer of an uploaded model costs to prove, before and after rewriting.

The engine prices the nodes: as exported each alone under its own defaults, which rescale after
every product; as rewritten by what each adds to those before it, since there scales grow until one
rescale serves several layers. In integers the compiler counts by itself.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, Limits, RunArgs
from circuits.engine.sandbox import Child
from circuits.errors import EngineError, EngineTimeout

_PARTS = "circuits.cost.parts:take_apart"
_PRICE = "circuits.engine.calls:measure_layout"
#: The settings that EZKL comes with.
ENGINE_DEFAULT = RunArgs(
    input_scale=7,
    param_scale=7,
    scale_rebase_multiplier=1,
    logrows=17,
    ignore_range_check_inputs_outputs=False,
    disable_freivalds=False,
)
#: A setting of its fixed point that most rewritten models do well with.
FIXED_POINT = RunArgs(
    input_scale=8,
    param_scale=8,
    scale_rebase_multiplier=10,
    logrows=20,
    decomp_base=1 << 14,
    decomp_legs=4,
    lookup_range=(-(1 << 20), 1 << 20),
)
#: Cells by formula beyond which a node is not given to the engine, which counts a million a second.
_LARGE = 2_000_000
#: Cells up to which a model is measured once for each of its layers.
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
class Integers:
    """A model's integer graph with typical bits, the ``legs`` that its decompositions need, the
    ``scale`` of its tables, and what each layer of the uploaded model costs in it, by count."""

    onnx: bytes
    legs: int
    scale: int
    layers: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model's layers as uploaded and after rewriting, where it is ``onnx``; its ``integers``, or
    why there are none, and the cells of a circuit with ``committed`` hints (None: there is none).
    ``operators`` names each layer's. ``large``: there are so many nodes that the engine is not
    asked, and no part has a model."""

    exported: list[Part]
    rewritten: list[Part]
    onnx: bytes
    integers: Integers | str
    committed: int | None
    operators: dict[str, str]
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
    """Assignments of a model ``as_exported`` under EZKL's defaults, Freivalds products included,
    ``rewritten`` in fixed point, in ``integers``, and with ``committed`` hints, in all and layer by
    layer; None where the engine refuses or there is no such form (``integer_unsupported`` says
    why). An estimate with typical bits: ``zkml plan`` chooses them.

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


def cost_report(engine: EzklEngine, model: bytes, limits: Limits) -> CostReport:
    """Prices a model layer by layer; proves and sets up nothing. Seconds for small models; what is
    not measured by ``limits.deadline_s``, and all of a graph of many nodes, is counted by formula.

    Raises what rewriting raises for a model that cannot be proved.
    """
    until = time.monotonic() + limits.deadline_s
    parts: Parts = engine.sandbox.compute(_PARTS, model, limits=limits)
    integers = parts.integers if isinstance(parts.integers, Integers) else None
    before: Mapping[str, int | None]
    after: Mapping[str, int | None]
    whole: int | None = None
    if parts.large:
        exported, rewritten = _by_formula(parts.exported), _by_formula(parts.rewritten)
        totals: list[int | None] = [sum(exported.values()), sum(rewritten.values())]
        before, after = exported, rewritten
        if integers:
            whole = sum(integers.layers.values())
    else:
        forms = ((model, ENGINE_DEFAULT), (parts.onnx, FIXED_POINT))
        totals = [_assignments(engine, onnx, args, limits) for onnx, args in forms]
        before = _measured_layout(engine, parts.exported, ENGINE_DEFAULT, limits, until)
        after = _measured_layout(engine, parts.rewritten, FIXED_POINT, limits, until)
        if integers:
            whole = _assignments(engine, integers.onnx, _integer_args(integers), limits)
    return CostReport(
        as_exported=totals[0],
        rewritten=totals[1],
        integers=whole,
        committed=parts.committed,
        integer_unsupported="" if integers else str(parts.integers),
        layers=tuple(
            LayerCosts(
                layer=layer,
                op=op,
                as_exported=before.get(layer, None if layer in before else 0),
                rewritten=after.get(layer, None if layer in after else 0),
                integers=integers.layers.get(layer, 0) if integers and whole is not None else None,
            )
            for layer, op in parts.operators.items()
        ),
        counted="formula" if parts.large else "engine",
    )


def _integer_args(integers: Integers) -> RunArgs:
    return RunArgs(
        input_scale=0,
        param_scale=integers.scale,
        rebase_frac_zero_constants=integers.scale > 0,
        scale_rebase_multiplier=1,
        logrows=20,
        decomp_base=1 << 14,
        decomp_legs=integers.legs,
    )


def _assignments(engine: EzklEngine, onnx: bytes, args: RunArgs, limits: Limits) -> int | None:
    try:
        (layout,) = engine.measure_layout(onnx, [args], limits)
    except EngineError:
        return None
    return layout.assignments if isinstance(layout, LayoutStats) else None


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


def _measured_layout(
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
        (layout,) = child.call(_PRICE, part.grown, [args])
        so_far = _cells(layout)
        if so_far is not None:
            return max(0, so_far - before), so_far
    if part.onnx is None:
        return None, before
    (layout,) = child.call(_PRICE, part.onnx, [args])
    cells = _cells(layout)
    return cells, before + (cells or 0)


def _add(found: dict[str, int | None], layer: str, cells: int | None) -> None:
    known = found.get(layer, 0)
    found[layer] = None if known is None or cells is None else known + cells


def _cells(layout: object) -> int | None:
    """Without the borders, which a layer inside a model does not have."""
    if not isinstance(layout, LayoutStats):
        return None
    borders = sum(math.prod(shape) for shape in layout.instance_shapes)
    return max(0, layout.assignments - borders)
