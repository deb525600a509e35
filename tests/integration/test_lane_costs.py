"""What small pricings predict of many lanes is what the engine says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circuits.batching.lane_costs import DRAFT_LANES, LaneCosts, choose_layout, growths
from circuits.batching.vectorize import vectorize
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import RunArgs
from circuits.errors import ModelTooLarge
from circuits.format.profile import Target
from circuits.lower import BitWidths, lower
from circuits.rewrite import bind_context, rewrite
from tests.cases.tiny import linear, wide
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

ARGS = RunArgs(input_scale=0, param_scale=0, scale_rebase_multiplier=1, logrows=17)
BITS = 20


def integers(model: bytes) -> bytes:
    bits = BitWidths(input=7, weights=(7,))
    return bind_context(lower(rewrite(model).onnx, bits, {"x": (-1.0, 1.0)}).onnx, 1)


def lane_costs_of(engine: EzklEngine, graph: bytes) -> LaneCosts:
    graphs = {n: vectorize(graph, n) for n in DRAFT_LANES}
    return LaneCosts(
        growths=growths(engine, graphs, ARGS, BITS, LIMITS),
        costs=CostModel.bundled(),
        target=Target.SPEED,
        limits=LIMITS,
    )


@pytest.mark.parametrize("model", [linear(), wide(32)], ids=["linear", "wide"])
def test_a_few_lanes_predict_the_cost_of_many(engine: EzklEngine, model: bytes) -> None:
    graph = integers(model)
    seen = lane_costs_of(engine, graph)
    for lanes in (8, 32):
        predicted = seen.at(lanes)
        assert predicted is not None
        _, chosen = choose_layout(engine, vectorize(graph, lanes), seen, lanes)
        assert chosen.prove_s == pytest.approx(predicted.prove_s, rel=0.05)


def test_lanes_that_do_not_fit_memory_are_predicted_and_refused(engine: EzklEngine) -> None:
    """Memory costs ten thousand times what it does, so that nothing fits."""
    graph = integers(linear())
    bundled = CostModel.bundled()
    costly = tuple(10_000 * c for c in bundled.coefficients["peak_bytes"])
    costs = replace(bundled, coefficients=bundled.coefficients | {"peak_bytes": costly})
    seen = replace(lane_costs_of(engine, graph), costs=costs)
    assert seen.at(8) is None
    with pytest.raises(ModelTooLarge):
        choose_layout(engine, vectorize(graph, 8), seen, 8)
