"""The forms of a graph that are worth sharing between inputs.

What is cheapest for one input seldom is for many: products of a single row become products of many,
whose results are checked under a challenge that the weights enter once. The arithmetic stays the
narrow circuit's: forms differ in cost alone, and ReLUs that are tables only here count in the steps
of those by magnitude that they take the place of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from circuits.batching.vectorize import widen
from circuits.calibration.samples import Sample
from circuits.compiler.recipe import Recipe
from circuits.engine.port import Limits, RunArgs
from circuits.engine.sandbox import Sandbox
from circuits.format.hidden import Hidden
from circuits.format.hints import HintSpec
from circuits.format.manifest import AppliedPass

if TYPE_CHECKING:
    from circuits.lower import GraphVariant
from circuits.compiler.recipe import decomposes

_FORMS = "circuits.batching.lowering:forms_of"
#: Lanes at which forms are weighed against each other: a challenge pays where rows are many.
_WEIGHED_AT = (256, 16)
#: Forms that are priced at most for each of these.
_MOST = 2
_NO_TABLE = (-2, 2)


@dataclass(frozen=True, kw_only=True)
class WideForm:
    """A graph of one lane to be widened. ``lowering`` is its recipe (None on the engine's own fixed
    point), ``passes`` what made it, ``bits`` what its decompositions must hold, ``given`` its
    hints, where it has any, ``hidden`` what bounds inputs that are not shown."""

    label: str
    graph: bytes
    lowering: dict[str, Any] | None
    passes: tuple[AppliedPass, ...]
    bits: int
    lookup_range: tuple[int, int]
    given: HintSpec | None = None
    hidden: Hidden | None = None

    @property
    def sums_biases(self) -> bool:
        """Whether ``widen`` may put biases into products."""
        return self.lowering is not None and decomposes(self.bits)

    def args(self, narrow: RunArgs) -> RunArgs:
        """The narrow circuit's settings, with tables as wide as this form needs."""
        return replace(narrow, lookup_range=self.lookup_range)


def integer_forms(
    sandbox: Sandbox,
    model: bytes,
    samples: Sequence[Sample],
    recipe: Recipe,
    limits: Limits,
    *,
    hints: bool,
) -> list[WideForm]:
    """The forms of an integer circuit that are worth pricing for many lanes. Raises ``CannotBatch``
    when the graph cannot be widened."""
    forms: list[WideForm] = sandbox.call(_FORMS, model, list(samples), recipe, hints, limits=limits)
    return forms


def forms_of(
    model: bytes, samples: Sequence[Sample], recipe: Recipe, hints: bool
) -> list[WideForm]:
    """``integer_forms``, inside a sandbox child."""
    from circuits.compiler.process import float_graph
    from circuits.lower import BitWidths, LoweringOptions, lower
    from circuits.plan.lowering_options import MOST_TABLES, estimate, weigh_forms, within_factor

    assert recipe.lowering is not None
    graph = float_graph(model, samples, recipe.limbs, recipe.expose)
    bits = BitWidths.from_json(recipe.lowering["bits"])
    narrow = LoweringOptions.from_json(recipe.lowering["form"])

    def made(form: LoweringOptions) -> GraphVariant:
        more = form.relu_tables > narrow.relu_tables
        like = narrow.relu_tables if more else None
        return lower(graph.plain, bits, recipe.accepted, replace(form, doubled_from=like))

    def weighed(lanes: int, variant: GraphVariant) -> float:
        wide = widen(variant.laid_out, lanes)
        return estimate(replace(variant, onnx=wide, hinted=None))

    chosen: list[LoweringOptions] = []
    for lanes in _WEIGHED_AT:
        found = weigh_forms(
            made,
            has_conv=b"Conv" in graph.plain,
            weigh=partial(weighed, lanes),
            hints=lanes if hints else 0,
            tables=range(narrow.relu_tables, MOST_TABLES + 1),
        )
        # With tables rows end at some number (``MOST_TABLED_LOGROWS``): one form continues without.
        untabled = [(cost, form) for cost, form in found if form.relu_tables == narrow.relu_tables]
        forms = (*within_factor(found)[:_MOST], within_factor(untabled)[0])
        chosen += [form for form in forms if form not in chosen]
    return [_wide_form(made(form), recipe, graph.passes) for form in chosen]


def _wide_form(variant: GraphVariant, recipe: Recipe, passes: tuple[AppliedPass, ...]) -> WideForm:
    from circuits.compiler.process import given, lay_out

    laid_out = lay_out(variant, recipe.accepted, recipe.limbs, recipe.visibility, salt=recipe.salt)
    return WideForm(
        label=variant.label,
        graph=laid_out.onnx,
        lowering={"bits": variant.bits.to_json(), "form": asdict(variant.form)},
        passes=(*passes[:-1], *variant.passes, passes[-1], *laid_out.passes),
        bits=max(1, laid_out.decomposed.bit_length()),
        lookup_range=laid_out.lookup_range or _NO_TABLE,
        given=given(variant),
        hidden=laid_out.hidden,
    )
