"""What two small pricings foretell of many lanes is what the engine says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Priced, RunArgs
from circuits.errors import ModelTooLarge
from circuits.lanes.forecast import FAR, NEAR, choose_shape, forecast
from circuits.lanes.widen import widen
from circuits.plan.cost import CostModel
from circuits.profile import Target
from circuits.rewrite import bind_context, rewrite
from tests.conftest import LIMITS
from tests.tiny import linear, wide

pytestmark = pytest.mark.slow

ARGS = RunArgs(input_scale=7, param_scale=7, scale_rebase_multiplier=10, logrows=17)
BITS = 20


@pytest.mark.parametrize("model", [linear(), wide(32)], ids=["linear", "wide"])
def test_many_lanes_cost_what_two_and_four_foretell(engine: EzklEngine, model: bytes) -> None:
    graph = bind_context(rewrite(model).onnx, 1)
    costs = CostModel.shipped()
    pair = (widen(graph, NEAR), widen(graph, FAR))
    seen = forecast(engine, pair, ARGS, BITS, LIMITS, costs, Target.SPEED)
    for lanes in (8, 32):
        foretold = seen.at(lanes)
        assert foretold is not None
        priced, predicted = choose_shape(
            engine, widen(graph, lanes), ARGS, BITS, LIMITS, costs, Target.SPEED
        )
        assert isinstance(priced, Priced)
        assert foretold.prove_s == pytest.approx(predicted.prove_s, rel=0.05)


def test_lanes_that_do_not_fit_memory_are_foretold_and_refused(engine: EzklEngine) -> None:

    graph = bind_context(rewrite(linear()).onnx, 1)
    small = replace(LIMITS, memory_bytes=1 << 20)
    costs = CostModel.shipped()
    pair = (widen(graph, NEAR), widen(graph, FAR))
    seen = forecast(engine, pair, ARGS, BITS, LIMITS, costs, Target.SPEED)
    assert replace(seen, limits=small).at(8) is None
    with pytest.raises(ModelTooLarge):
        choose_shape(engine, widen(graph, 8), ARGS, BITS, small, costs, Target.SPEED)
