"""Columns of one input that are of very different size: each has steps of its own, and a rebuild
takes no others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.calibration.samples import Sample, draw
from circuits.committed.arithmetic import Steps
from circuits.committed.arrangement import Arrangement
from circuits.errors import InputOutOfRange
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_quanta, read_bounded
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.choosing.sampling import inputs_of
from circuits.lower.committed.reading.columns import grouped
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.plan.graphs import float_graph
from tests.cases.committed_lowering import answers, lowered
from tests.effort import sampled

#: Years, dollars, a share and a change of it, which may be negative.
LOW, HIGH = np.array([20, 0, 0, -0.2]), np.array([90, 250_000, 1, 0.1])
ACCEPTED = {"x": (-62_500.0, 312_500.0)}
#: A scaler before a network, a kernel, powers of the columns as they come, and such as depend on
#: whether a column is beyond a constant.
SCALED = "c = Sub(x, mean) s = Div(c, deviation)"
BODIES = {
    "network": SCALED + " m = MatMul(s, w) h = Tanh(m) y = MatMul(h, v)",
    "kernel": SCALED + " d = Sub(s, rows) q = Mul(d, d) n = ReduceSum<axes = [1], keepdims = 0>(q)"
    " g = Neg(n) e = Exp(g) f = Unsqueeze<axes = [0]>(e) y = MatMul(f, u)",
    "logarithms": "a = Abs(x) b = Add(a, least) l = Log(b) y = MatMul(l, w)",
    "powers": "g = Greater(x, middle) l = Sub(x, middle) t = Div(l, deviation) b = Mul(t, slopes)"
    " e = Exp(b) p = Sub(e, one) q = Where(g, t, p) y = MatMul(q, w)",
}
RNG = np.random.default_rng(1)
CONSTANTS = {
    "mean": (LOW + HIGH)[None] / 2,
    "deviation": (HIGH - LOW)[None] / 3,
    "middle": np.array([[55.0, 40_000.0, 0.25, 0.0]]),
    "slopes": np.array([[-0.4, 0.3, 0.5, 0.2]]),
    "one": np.ones((1, 1)),
    "least": np.array([[4.0, 9000.0, 0.1, 0.01]]),
    "rows": RNG.uniform(-1, 1, (6, 4)),
    "w": RNG.normal(size=(4, 6)),
    "v": RNG.normal(size=(6, 2)),
    "u": RNG.normal(size=(6, 2)),
}


def model(body: str) -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 11]>
        g (float[1, 4] x) => (float[1, n] y) {{ {BODIES[body]} }}"""
    )
    used = {name for node in made.graph.node for name in node.input}
    for name in sorted(used & {*CONSTANTS}):
        array = np.array(CONSTANTS[name], dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    wide = {"network": 2, "kernel": 2}.get(body, 6)
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = wide
    return bytes(made.SerializeToString())


def people(count: int, seed: int = 3) -> list[Sample]:
    """With the least and the most of each column among them."""
    rows = np.random.default_rng(seed).uniform(LOW, HIGH, (count - 2, 4))
    return [{"x": row[None]} for row in np.array([LOW, HIGH, *rows], dtype=np.float32)]


def wanted(data: bytes, samples: list[Sample]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = [session.run(None, dict(sample))[0].reshape(-1) for sample in samples]
    return np.array(found, dtype=np.float64)


def planned(body: str, *, shown: bool = True) -> tuple[FloatGraph, LoweredGraph]:
    return lowered(model(body), people(40), ACCEPTED, shown=shown, max_error=0.003)


def steps_of(made: LoweredGraph) -> Steps:
    assert made.recipe is not None
    return Steps.from_json(made.recipe["steps"])


# --- what is proved ------------------------------------------------------------------------------


@pytest.mark.parametrize("body", sampled(BODIES, 4))
@pytest.mark.parametrize("shown", [True, False])
def test_small_columns_count_beside_large_ones(body: str, shown: bool) -> None:
    graph, made = planned(body, shown=shown)
    steps = steps_of(made)
    (own,) = steps.inputs
    assert [part.places for part in own.columns] == [(1,), (0,), (2,), (3,)]
    assert own.finer > 0
    samples = people(200, seed=8)
    want = wanted(model(body), samples)
    (found,) = answers(graph, made, samples)
    assert np.abs(found - want).max() <= 0.01 * np.ptp(want)
    assert not made.holds_corners


@pytest.mark.parametrize("body", BODIES)
def test_the_split_network_is_the_model(body: str) -> None:
    graph = float_graph(model(body), people(4), 1)
    places = [[(1,), (0,), (2, 3)]]
    read = read_network(graph.plain, columns=places)
    samples = people(50)
    found = responses(read.network, inputs_of(graph, samples)).outputs[0]
    np.testing.assert_allclose(found, wanted(model(body), samples), rtol=1e-3, atol=1e-3)
    assert [step.size for step in read.network.steps[:3]] == [1, 1, 2]


def test_columns_of_about_one_size_are_counted_together() -> None:
    graph = float_graph(model("network"), people(4), 1)
    rows = [
        {"x": sample["x"] / np.array([[1, 4000, 0.02, 0.01]], dtype=np.float32)}
        for sample in people(30)
    ]
    task = LoweringTask(accepted=ACCEPTED, limbs=1, plan=tuple(rows))
    assert grouped(graph.signature, task) == [()]


def test_a_step_of_a_time_series_is_no_column() -> None:
    """Those along the last axis are, of all rows."""
    graph = float_graph(model("network"), people(4), 1)
    data = {"x": np.array([[90.0, 1.0, 0.2, -100.0]], dtype=np.float32)}
    task = LoweringTask(accepted=ACCEPTED, limbs=1, plan=(data,), margin=0.5)
    ((negative, large, *small),) = grouped(graph.signature, task)
    assert (large.places, negative.places) == ((0,), (3,)) or large.places == (3,)
    assert [own.places for own in small] == [(1,), (2,)]


# --- what is accepted ----------------------------------------------------------------------------


def test_a_hidden_input_is_accepted_where_some_column_is() -> None:
    """The digits of the input would hold far more, and no proof is about that."""
    _, made = planned("network", shown=False)
    steps = steps_of(made)
    (accepted,) = made.inputs
    assert (accepted.lower, accepted.upper) == (
        steps.inputs[0].columns[3].range(steps.base)[0],
        steps.inputs[0].columns[0].range(steps.base)[1],
    )


def test_what_lies_beyond_its_column_is_refused() -> None:
    _, made = planned("network")
    assert made.network is not None
    arrangement = Arrangement.from_bytes(made.network)
    (own,) = made.inputs
    held = np.array([40.0, 9000.0, 0.5, -0.1], dtype=np.float32)
    arrangement.committed([own.quantise(held)])
    held[2] = 70.0
    with pytest.raises(InputOutOfRange, match=r"element 2 .* 70.0; .* in its column"):
        arrangement.committed([own.quantise(held)])


# --- who rebuilds, and who is told ---------------------------------------------------------------


@pytest.mark.parametrize("body", sampled(BODIES, 4))
@pytest.mark.parametrize("shown", [True, False])
def test_a_rebuild_takes_it_on_any_inputs(body: str, shown: bool) -> None:
    """Drawn from what each column accepts."""
    graph, made = planned(body, shown=shown)
    ranges = {own.tensor.name: (own.lower, own.upper) for own in made.inputs}
    for seed in range(8):
        drawn = draw(graph.signature, ranges, seed=seed)
        samples = [*drawn.plan, *drawn.held_out]
        same = recompiled(
            graph, recipe_of(made), samples, shown=shown, weights=Weights.SEALED, ranges=ranges
        )
        assert same.onnx == made.onnx
        if not shown:
            assert same.inputs == made.inputs


def recipe_of(made: LoweredGraph) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads(json.dumps(made.recipe))
    return recipe


def overlapping(own: dict[str, Any]) -> None:
    own["columns"][0]["places"] = [0, 1]


def missing(own: dict[str, Any]) -> None:
    own["columns"].pop()


def unordered(own: dict[str, Any]) -> None:
    own["columns"] = [own["columns"][0] | {"places": [3, 2, 1, 0]}]


def too_fine(own: dict[str, Any]) -> None:
    own["columns"][2]["scale"] = own["scale"] + 1


def no_number(own: dict[str, Any]) -> None:
    own["columns"][2]["scale"] = float(own["columns"][2]["scale"])


def beyond_the_table(own: dict[str, Any]) -> None:
    own["columns"][2]["offset"] = 1 << 20


def uncounted(own: dict[str, Any]) -> None:
    del own["columns"]


@pytest.mark.parametrize(
    "bend",
    [overlapping, missing, unordered, too_fine, no_number, beyond_the_table, uncounted],
)
def test_a_rebuild_refuses_columns_that_are_split_otherwise(bend: Any) -> None:
    graph, made = planned("network")
    recipe = recipe_of(made)
    bend(recipe["steps"]["inputs"][0])
    with pytest.raises(CannotLower):
        recompiled(graph, recipe, [], shown=True, weights=Weights.SEALED)


def test_a_rebuild_draws_from_all_that_a_column_accepts() -> None:
    """Shares in steps of dollars: there would be as many of them, and what the network makes of
    such leaves its table."""
    graph, made = planned("network", shown=False)
    recipe = recipe_of(made)
    own = recipe["steps"]["inputs"][0]
    own["columns"][2] |= {"scale": own["columns"][0]["scale"]}
    digits = recipe["steps"]["sums"][0]["digits"]
    recipe["steps"]["sums"][2] |= {"scale": 2.0 ** own["columns"][0]["scale"], "digits": digits}
    ranges = {i.tensor.name: (i.lower, i.upper) for i in made.inputs}
    drawn = draw(graph.signature, ranges, seed=11)
    with pytest.raises(CannotLower, match="stay in its table"):
        recompiled(graph, recipe, drawn.plan, shown=False, weights=Weights.SEALED, ranges=ranges)


def test_only_constants_of_the_circuit_count_columns() -> None:
    graph, made = planned("network")
    with pytest.raises(CannotLower, match="no constants"):
        recompiled(graph, recipe_of(made), [], shown=True, weights=Weights.SHOWN)


def test_what_is_near_a_constant_is_counted_in_its_column_s_steps() -> None:
    graph, made = planned("powers")
    (own,) = steps_of(made).inputs
    quanta = committed_quanta(graph, recipe_of(made), people(50))
    steps = np.exp2(-own.scales(4).astype(np.float64))
    assert quanta
    for quantum in quanta.values():
        np.testing.assert_allclose(quantum.reshape(-1), steps, rtol=1e-3)


def test_an_input_that_is_compared_as_it_comes_is_not_split() -> None:
    """Its steps tell thresholds apart already, however many these are."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 4] x) => (float[1, 4] y) { g = Greater(x, middle) y = Cast<to = 1>(g) }""")
    level = numpy_helper.from_array(CONSTANTS["middle"].astype(np.float32), "middle")
    made.graph.initializer.append(level)
    graph = float_graph(made.SerializeToString(), [], 1)
    with pytest.raises(CannotLower, match="used otherwise as well"):
        read_bounded(graph, columns=[[(0, 1), (2, 3)]])


def test_no_single_column_is_cut_out_of_a_sum_of_digits() -> None:
    """The importer would cut the digits instead, take the constants for one and check its range."""
    _, made = planned("network", shown=False)
    graph = onnx.load_model_from_string(made.onnx).graph
    maker = {name: node.op_type for node in graph.node for name in node.output}
    cut = [maker.get(node.input[0]) for node in graph.node if node.op_type == "Slice"]
    assert cut.count("Gather") >= 4
    assert "Add" not in cut
