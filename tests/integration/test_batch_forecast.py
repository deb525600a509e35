"""What small pricings predict of many lanes is what the engine says of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

import benchmarks
from circuits.batching.forecast import DRAFT_LANES, BatchCandidate, choose_shape, forecast
from circuits.batching.lowering import forms_of
from circuits.batching.vectorize import widen
from circuits.compiler.recipe import Recipe
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import LayoutStats, RunArgs
from circuits.errors import ModelTooLarge
from circuits.format.profile import Target, Visibility
from circuits.lower import BitWidths, LoweringOptions, lower
from circuits.rewrite import bind_context, rewrite
from tests.cases.tiny import linear, wide
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

ARGS = RunArgs(input_scale=7, param_scale=7, scale_rebase_multiplier=10, logrows=17)
BITS = 20


@pytest.mark.parametrize("model", [linear(), wide(32)], ids=["linear", "wide"])
def test_a_few_lanes_predict_the_cost_of_many(engine: EzklEngine, model: bytes) -> None:
    graph = bind_context(rewrite(model).onnx, 1)
    costs = CostModel.shipped()
    draft = BatchCandidate(graphs={n: widen(graph, n) for n in DRAFT_LANES}, args=ARGS, bits=BITS)
    seen = forecast(engine, [draft], LIMITS, costs, Target.SPEED)
    for lanes in (8, 32):
        predicted = seen.at(lanes)
        assert predicted is not None
        priced, predicted = choose_shape(engine, widen(graph, lanes), seen, 0, lanes)
        assert isinstance(priced, LayoutStats)
        assert predicted.prove_s == pytest.approx(predicted.prove_s, rel=0.05)


def test_lanes_that_do_not_fit_memory_are_predicted_and_refused(engine: EzklEngine) -> None:
    graph = bind_context(rewrite(linear()).onnx, 1)
    small = replace(LIMITS, memory_bytes=1 << 20)
    costs = CostModel.shipped()
    draft = BatchCandidate(graphs={n: widen(graph, n) for n in DRAFT_LANES}, args=ARGS, bits=BITS)
    seen = forecast(engine, [draft], LIMITS, costs, Target.SPEED)
    seen = replace(seen, limits=small)
    assert seen.at(8) is None
    with pytest.raises(ModelTooLarge):
        choose_shape(engine, widen(graph, 8), seen, 0, 8)


def test_lanes_share_the_weights_of_hints_and_keep_the_rectifiers(
    engine: EzklEngine,
) -> None:
    """One input's products are packed, those of many are challenged, and their ReLUs tables: in
    steps of the narrow one's, which are magnitudes, so that lanes give its values."""
    model = (Path(benchmarks.__file__).parent / "demo" / "digits" / "digits.onnx").read_bytes()
    bits = {"input": 4, "weights": [9, 12], "table": 8}
    accepted = {"image": (-0.25, 1.25)}
    own = LoweringOptions(hints=True)
    recipe = Recipe(
        accepted=accepted,
        limbs=1,
        visibility=Visibility.PUBLIC,
        salt=False,
        lowering={"bits": bits, "form": asdict(own)},
        lanes=1,
        input_scales=(4,),
    )
    narrow = lower(rewrite(model).onnx, BitWidths.from_json(bits), accepted, own)
    assert narrow.hinted is not None
    assert not narrow.hinted.challenged
    forms = forms_of(model, [], recipe, hints=True)
    assert all(f.lowering is not None and f.lowering["bits"] == bits for f in forms)
    made = [f.lowering["form"] for f in forms if f.lowering is not None]
    tabled = [form for form in made if form["relu_tables"]]
    assert tabled
    assert {form["doubled_from"] for form in tabled} == {0}
    assert len(tabled) < len(forms), "one continues where tables end"
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=17,
    )
    drafts = [
        BatchCandidate(
            graphs={n: widen(f.graph, n) for n in DRAFT_LANES}, args=f.args(args), bits=f.bits
        )
        for f in forms
    ]
    seen = forecast(engine, drafts, LIMITS, CostModel.shipped(), Target.SPEED)
    given = forms[seen.draft_for(512)].given
    assert given is not None
    assert given.claim.challenged
