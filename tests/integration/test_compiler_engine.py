"""What the compiler says of a graph is what the engine does with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from circuits.cost.integers import cells_of
from circuits.cost.layers import cost_report
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, RunArgs
from circuits.errors import EngineError
from circuits.format.field import from_felt, to_felt
from circuits.format.function_tables import TABLES, entries
from circuits.format.tensors import quantised
from circuits.frontend.reading import read_model
from circuits.lower import BitWidths, GraphVariant, lower, run_integers
from circuits.plan.picture import draw_layers
from circuits.rewrite import PASSES, bind_context, rewrite
from circuits.rewrite.compare import run
from tests.cases.integers import BOUND, MODELS, inputs_of
from tests.cases.rewriting import CASES, graph, samples
from tests.cases.tables import TABLED
from tests.effort import sampled

pytestmark = pytest.mark.slow

LIMITS = Limits(deadline_s=60)


def outputs(
    engine: EzklEngine, data: bytes, args: RunArgs, feeds: list[list[list[int]]]
) -> tuple[list[list[list[int]]], tuple[int, ...]]:
    """The witness's outputs for each sample, and their scales."""
    (layout,) = engine.measure_layout(data, [args], LIMITS)
    assert not isinstance(layout, EngineError), layout
    felts = [[[to_felt(n) for n in tensor] for tensor in sample] for sample in feeds]
    results = []
    for simulated in engine.simulate(data, layout.settings, felts, LIMITS):
        assert not isinstance(simulated, EngineError), simulated
        results.append([[from_felt(f) for f in out] for out in simulated.outputs])
    return results, layout.output_scales


FORMS = {
    "digits": False,
    "tables": True,
}


def args_of(variant: GraphVariant) -> RunArgs:
    legs = -(-variant.value_bounds.decomposed.bit_length() // 14)
    return RunArgs(
        input_scale=0,
        param_scale=variant.scale,
        rebase_frac_zero_constants=variant.scale > 0,
        scale_rebase_multiplier=1,
        logrows=17,
        decomp_base=1 << 14,
        decomp_legs=max(legs, 2),
        lookup_range=variant.value_bounds.lookup or (-2, 2),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sampled([*MODELS, *TABLED], 3))
def test_the_interpreter_gives_the_engines_witness(
    engine: EzklEngine, name: str, form: str
) -> None:
    data = (MODELS | TABLED)[name]
    variant = lower(data, BitWidths(input=6, weights=(7,), table=7), BOUND, tables=FORMS[form])
    x = inputs_of(data, 4)
    x[2:] = np.sign(x[2:])
    whole = quantised(x, variant.input_scales[0])
    feeds = [[[int(v) for v in sample.reshape(-1)]] for sample in whole]
    witnesses, scales = outputs(engine, variant.onnx, args_of(variant), feeds)
    ours = run_integers(variant, {"x": whole})[0]
    assert [w[0] for w in witnesses] == [[int(v) for v in o.reshape(-1)] for o in ours]
    assert scales[0] in (0, variant.output_scales[0])


@pytest.mark.parametrize("scale", sampled([6, 1, 9], 3))
@pytest.mark.parametrize("op", TABLES)
def test_tables_equal_the_engines(engine: EzklEngine, op: str, scale: int) -> None:
    """Both compute in doubles, whose last bits only count in powers beyond 2^40."""
    lowest = 1 if op == "Log" else -2000
    numbers = np.arange(lowest, 2000 if op != "Exp" else 40 << scale)[:4000]
    unit = f"<float[1] unit = {{{2.0**-scale}}}>"
    data = graph(f"a = Mul(x, unit) y = {op}(a)", f"float[1, {len(numbers)}] x", unit)
    args = RunArgs(
        input_scale=0,
        param_scale=scale,
        rebase_frac_zero_constants=True,
        scale_rebase_multiplier=1,
        logrows=17,
        lookup_range=(-(1 << 15), 1 << 15),
    )
    feed = [[[int(n) for n in numbers]]]
    witnesses, scales = outputs(engine, data, args, feed)
    assert scales == (scale,)
    theirs, ours = np.array(witnesses[0][0], dtype=np.float64), entries(op, numbers, scale)
    assert np.abs(theirs - ours)[ours < 2.0**40].max() == 0
    np.testing.assert_allclose(theirs, ours, rtol=2.0**-48)


#: Passes that give a model other inputs: proved in test_missing_and_categories.
OTHER_INPUTS = {"mask-missing", "encode-categories"}


@pytest.mark.parametrize("name", [step.name for step in PASSES if step.name not in OTHER_INPUTS])
def test_the_engine_computes_the_rewritten_graph(engine: EzklEngine, name: str) -> None:
    """Each of these came out wrong, or was refused, before its pass."""
    scale = 10
    data = CASES[name].model
    feeds = samples(data)[:3]
    result = rewrite(data, feeds)
    args = RunArgs(input_scale=scale, param_scale=scale, scale_rebase_multiplier=1, logrows=17)
    whole = [[[int(v) for v in quantised(f["x"], scale).reshape(-1)]] for f in feeds]
    witnesses, scales = outputs(engine, result.onnx, args, whole)
    for witness, want in zip(witnesses, run(data, feeds), strict=True):
        got = np.array(witness[0], dtype=np.float64) / 2.0 ** scales[0]
        spread = max(float(np.abs(want[0]).max()), 0.5)
        np.testing.assert_allclose(got, want[0].reshape(-1), atol=0.01 * spread)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name",
    [
        *["mlp", "conv, norm, max pool", "residual", "hard swish", "comparisons"],
        *["softmax", "sigmoid and tanh inside", "attention"],
    ],
)
def test_costs_add_up_to_what_the_engine_counts(engine: EzklEngine, name: str, form: str) -> None:
    variant = lower(
        (MODELS | TABLED)[name], BitWidths(input=5, weights=(5,)), BOUND, tables=FORMS[form]
    )
    # As in circuits: with range checks the engine takes some constants apart, whatever uses them.
    args = replace(args_of(variant), decomp_legs=4, ignore_range_check_inputs_outputs=True)
    (layout,) = engine.measure_layout(variant.onnx, [args], LIMITS)
    assert not isinstance(layout, EngineError)
    assert cells_of(variant, legs=4) == pytest.approx(layout.assignments, rel=0.1)


@pytest.mark.long
def test_a_models_costs_are_listed_by_layer(engine: EzklEngine, tmp_path: Path) -> None:
    """Under the names that the user gave them."""
    costs = cost_report(engine.sandbox, MODELS["residual"], LIMITS)
    assert costs.integers is not None
    assert costs.committed is not None
    assert costs.committed < costs.integers < costs.fixed_point
    names = {n.name for n in read_model(MODELS["residual"]).graph.node}
    assert {layer.layer for layer in costs.layers if layer.fixed_point} <= names
    assert sum(c.fixed_point for c in costs.layers) == costs.fixed_point
    assert sum(c.integers or 0 for c in costs.layers) == costs.integers
    draw_layers(costs, tmp_path / "layers.svg")
    assert "in fixed point" in (tmp_path / "layers.svg").read_text()


def test_costs_without_an_integer_form_say_why(engine: EzklEngine) -> None:
    model = graph("y = Div(a, x)", "float[1, 4] x", "<float a = {1.5}>")
    costs = cost_report(engine.sandbox, model, LIMITS)
    assert costs.integers is None
    assert {layer.integers for layer in costs.layers} == {None}
    assert "Div" in costs.integer_unsupported
    assert costs.fixed_point


def test_the_context_reaches_the_instances(engine: EzklEngine) -> None:
    data = bind_context(graph("y = Relu(x)", "float[1, 4] x"), 2)
    args = RunArgs(input_scale=4, param_scale=4, scale_rebase_multiplier=1, logrows=14)
    (layout,) = engine.measure_layout(data, [args], LIMITS)
    assert not isinstance(layout, EngineError)
    assert layout.instance_shapes == ((1, 4), (1, 2), (1, 4))


def test_a_node_named_like_a_constant_is_distinguished_from_it(engine: EzklEngine) -> None:
    """The engine's importer would read the constant where the node's output is meant."""
    data = graph("t = Neg(x) y = Reshape(t, row)", "float[4] x", "<int64[2] row = {1, 4}>")
    model = onnx.load_model_from_string(data)
    model.graph.node[1].name = "row"
    args = RunArgs(input_scale=4, param_scale=4, scale_rebase_multiplier=1, logrows=14)
    (layout,) = engine.measure_layout(rewrite(model.SerializeToString()).onnx, [args], LIMITS)
    assert not isinstance(layout, EngineError), layout
