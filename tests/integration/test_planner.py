"""The planner's promises, on real prices and real witnesses."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import parser

from circuits.calibration.samples import Samples, draw, read_calibration
from circuits.compiler.build import Builder
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.errors import Canceled, ModelTooLarge, NoPlan, ProfileContradiction
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from circuits.format.tensors import Signature, TensorSpec
from circuits.plan import calibrate
from circuits.plan.effort import Effort
from circuits.plan.plan import Plan
from circuits.srs.files import Policy, SrsFolder
from tests.cases import tiny
from tests.cases.integers import graph
from tests.conftest import LIMITS

pytestmark = pytest.mark.slow

MODELS = {
    "relu": tiny.linear(),
    "sigmoid": tiny.linear(activation="Sigmoid"),
    "softmax": tiny.linear(activation="Softmax"),
    "linear": tiny.linear(activation=None),
}


def samples(bound: float = 2.0) -> Samples:
    x = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 3))
    return draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-bound, bound)})


def builder(engine: EzklEngine, srs: Path) -> Builder:
    return Builder(
        engine=engine,
        srs=SrsFolder(srs),
        policy=Policy.DEVELOPMENT,
        limits=LIMITS,
        effort=Effort.FAST,
    )


PLAIN = Profile(argument=Argument.PLAIN)


@pytest.fixture(scope="module")
def plans(engine: EzklEngine, srs_cache: Path) -> Callable[[str], Plan]:
    """The plain plan of one of ``MODELS``, made once."""
    return functools.cache(
        lambda name: builder(engine, srs_cache).plan(MODELS[name], samples(), PLAIN)
    )


@pytest.fixture(
    params=[pytest.param(n, marks=pytest.mark.long) if n == "softmax" else n for n in MODELS]
)
def plan(request: pytest.FixtureRequest, plans: Callable[[str], Plan]) -> Plan:
    return plans(request.param)


def test_what_is_chosen_is_exact_enough_and_the_cheapest_that_is(plan: Plan) -> None:
    measured = plan.choice.variant.measured
    assert measured.meets(plan.profile)
    assert plan.accuracy.max_error == measured.max_error
    predicted = [r.predicted.prove_s for r in plan.ranked]
    assert plan.choice.predicted.prove_s <= 1.1 * min(predicted)
    assert all(r.variant.measured.meets(plan.profile) for r in plan.ranked)


def test_every_shape_holds_the_numbers_that_it_is_for(plan: Plan) -> None:
    """More legs come with a smaller base; never so small that a value no longer fits."""
    for shape in plan.ranked:
        assert shape.headroom_bits >= 0, shape.args
        for low, high in shape.layout.range_checks:
            assert high - low < 1 << shape.args.logrows or shape.args.num_inner_cols > 1


def test_every_sample_and_corner_runs_through_what_is_chosen(
    engine: EzklEngine, plan: Plan
) -> None:
    shape = plan.choice
    results = engine.simulate(
        shape.variant.onnx, shape.layout.settings, list(shape.variant.samples), LIMITS
    )
    assert len(results) >= 8
    assert [r for r in results if isinstance(r, Exception)] == []


def test_reasons_are_given_for_everything_that_was_not_chosen(plan: Plan) -> None:
    document = plan.to_json()
    assert all(row["rejected_because"] for row in document["runners_up"] + document["rejected"])
    assert document["considered"] == len(plan.ranked) + len(plan.rejected)


@pytest.mark.parametrize("function", ["sigmoid", "softmax"])
def test_a_function_at_the_end_leaves_the_body_to_whole_numbers(
    plans: Callable[[str], Plan], function: str
) -> None:
    """Its tables hold what any accepted input can ask for, which no sample has to show."""
    proven = [r for r in plans(function).ranked if r.variant.proven]
    assert proven
    for candidate in proven:
        low, high = candidate.variant.lookup_range or (0, 0)
        assert candidate.args.lookup_range == (low, high)


def test_equal_orders_give_equal_plans(engine: EzklEngine, srs_cache: Path) -> None:
    build = builder(engine, srs_cache)
    first = build.plan(MODELS["relu"], samples(), Profile())
    second = build.plan(MODELS["relu"], samples(), Profile())
    assert first.canonical() == second.canonical()
    assert first.choice.layout.settings == second.choice.layout.settings
    assert first.choice.variant.onnx == second.choice.variant.onnx


def test_a_target_is_what_is_minimized(engine: EzklEngine, srs_cache: Path) -> None:
    build = builder(engine, srs_cache)
    by_target = {
        target: build.plan(MODELS["sigmoid"], samples(), Profile(target=target)).choice.predicted
        for target in (Target.SPEED, Target.MEMORY, Target.PROOF_SIZE)
    }
    speed = by_target[Target.SPEED]
    assert by_target[Target.MEMORY].peak_bytes <= speed.peak_bytes
    assert by_target[Target.PROOF_SIZE].proof_bytes <= speed.proof_bytes


def test_the_conservative_profile_keeps_every_check(engine: EzklEngine, srs_cache: Path) -> None:
    profile = Profile(soundness=Soundness.CONSERVATIVE)
    plan = builder(engine, srs_cache).plan(MODELS["relu"], samples(), profile)
    for candidate in plan.ranked:
        assert candidate.args.disable_freivalds
        assert not candidate.args.ignore_range_check_inputs_outputs


def test_no_circuit_is_made_with_freivalds_products(engine: EzklEngine, srs_cache: Path) -> None:
    with pytest.raises(ProfileContradiction):
        builder(engine, srs_cache).plan(
            MODELS["relu"], samples(), Profile(soundness=Soundness.FREIVALDS)
        )


#: Two convolutions, the more multiplications of which make hints worth a table.
CNN = graph(
    "a = Conv<strides = [1, 1]>(x, k) b = Relu(a) c = Conv<strides = [2, 2]>(b, j) d = Relu(c)"
    " f = Flatten(d) y = MatMul(f, w)",
    "float[1, 1, 14, 14] x",
    {"k": [8, 1, 3, 3], "j": [8, 8, 3, 3], "w": [200, 10]},
)


@pytest.mark.parametrize(
    ("profile", "committed"),
    [
        (Profile(), True),
        (Profile(argument=Argument.PLAIN), False),
        (Profile(soundness=Soundness.CONSERVATIVE), False),
    ],
)
def test_hints_are_committed_to_where_that_costs_less(
    engine: EzklEngine, srs_cache: Path, profile: Profile, committed: bool
) -> None:
    found = builder(engine, srs_cache).estimate(CNN, image(), profile)
    assert found.argument == ("committed" if committed else "plain")


def image() -> Samples:
    x = TensorSpec(name="x", dtype="float32", shape=(1, 1, 14, 14))
    y = TensorSpec(name="y", dtype="float32", shape=(1, 10))
    return draw(Signature(inputs=(x,), outputs=(y,)), {"x": (-1.0, 1.0)})


#: The place of the largest score alone, of the same network and of a small one.
CLASS = "s = MatMul(f, w) z = ArgMax<axis = 1>(s) y = Cast<to = 1>(z)"
CNN_CLASS = graph(
    "a = Conv<strides = [1, 1]>(x, k) b = Relu(a) c = Conv<strides = [2, 2]>(b, j) d = Relu(c)"
    f" f = Flatten(d) {CLASS}",
    "float[1, 1, 14, 14] x",
    {"k": [8, 1, 3, 3], "j": [8, 8, 3, 3], "w": [200, 10]},
)
SMALL_CLASS = graph(f"f = Relu(x) {CLASS}", "float[1, 4] x", {"w": [4, 3]})


def test_a_class_does_not_keep_a_network_from_committed_hints(
    engine: EzklEngine, srs_cache: Path
) -> None:
    large = builder(engine, srs_cache).estimate(CNN_CLASS, image(), Profile())
    small = builder(engine, srs_cache).estimate(SMALL_CLASS, samples(), Profile())
    assert (large.argument, small.argument) == ("committed", "plain")
    plan = builder(engine, srs_cache).plan(SMALL_CLASS, samples(), Profile())
    assert plan.choice.variant.commitments is None


def test_a_committed_circuit_that_costs_less_is_planned_alone(
    engine: EzklEngine, srs_cache: Path
) -> None:
    said: list[str] = []
    profile = Profile(agreement=0.9)
    plan = builder(engine, srs_cache).plan(CNN, image(), profile, said.append)
    assert all(candidate.variant.commitments is not None for candidate in plan.ranked)
    assert "choosing bits for each layer" not in said
    assert plan.profile == profile


@pytest.mark.long
@pytest.mark.parametrize("argument", [Argument.AUTO, Argument.PLAIN])
def test_hidden_inputs_are_committed_to_wherever_that_serves(
    engine: EzklEngine, srs_cache: Path, argument: Argument
) -> None:
    """Also where a plain circuit would be cheaper."""
    profile = Profile(visibility=Visibility.PRIVATE_INPUT, argument=argument)
    plan = builder(engine, srs_cache).plan(MODELS["relu"], samples(), profile)
    found = {candidate.variant.commitments is not None for candidate in plan.ranked}
    assert found == {argument is Argument.AUTO}
    cheap = builder(engine, srs_cache).plan(MODELS["relu"], samples(), Profile())
    assert cheap.choice.variant.commitments is None


def test_an_accuracy_that_nothing_reaches_is_refused_with_the_best(
    engine: EzklEngine, srs_cache: Path
) -> None:
    with pytest.raises(NoPlan) as caught:
        builder(engine, srs_cache).plan(MODELS["sigmoid"], samples(), Profile(max_error=0.0))
    assert caught.value.code == "plan_no_candidate"
    assert caught.value.context["best"]["max_error"] > 0


def test_a_too_small_machine_is_reported_with_the_missing_memory(
    engine: EzklEngine, srs_cache: Path
) -> None:
    """Memory costs ten thousand times what it does, so that nothing fits."""
    bundled = CostModel.bundled()
    costly = tuple(10_000 * c for c in bundled.coefficients["peak_bytes"])
    model = replace(bundled, coefficients=bundled.coefficients | {"peak_bytes": costly})
    build = replace(builder(engine, srs_cache), cost_model=model)
    with pytest.raises(ModelTooLarge) as caught:
        build.plan(MODELS["relu"], samples(), Profile())
    assert caught.value.code == "model_too_large"
    assert caught.value.context["limit_bytes"] == LIMITS.memory_bytes
    assert caught.value.context["predicted"]["peak_bytes"] > LIMITS.memory_bytes
    assert "ZKML_ENGINE_MEMORY_MB" in caught.value.advice


def test_planning_stops_in_the_middle_of_an_engine_call(
    engine: EzklEngine, srs_cache: Path
) -> None:
    """Stopped at its first progress message: the current call ends there."""
    said: list[str] = []
    with pytest.raises(Canceled):
        builder(engine, srs_cache).plan(
            MODELS["sigmoid"], samples(), Profile(), said.append, lambda: bool(said)
        )
    assert len(said) == 1


def correlations(assets: int = 4, days: int = 12) -> tuple[bytes, bytes]:
    """Returns of a few per mille to their correlations: products of such are tiny, and roots of
    them divide. With calibration data."""
    eye = ", ".join(str(float(i == j)) for i in range(assets) for j in range(assets))
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[{days}, {assets}] x) => (float[{assets}, {assets}] y)
        <float t = {{{1 / days}}}, float e = {{{1 / (days - 1)}}}, int64[1] rows = {{0}},
        int64[1] columns = {{1}}, float[{assets}, {assets}] eye = {{{eye}}}> {{
          s = ReduceSum(x, rows) m = Mul(s, t) c = Sub(x, m) r = Transpose<perm = [1, 0]>(c)
          p = MatMul(r, c) v = Mul(p, e) d = Mul(v, eye) w = ReduceSum(d, columns) q = Sqrt(w)
          k = Transpose<perm = [1, 0]>(q) o = MatMul(q, k) y = Div(v, o) }}"""
    )
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(60, days, assets)) @ rng.normal(size=(assets, assets)) * 0.02
    out = io.BytesIO()
    np.savez(out, x=mixed.astype(np.float32))
    return bytes(model.SerializeToString()), out.getvalue()


@pytest.mark.long
def test_a_root_of_small_numbers_takes_as_fine_a_scale_as_it_needs(
    engine: EzklEngine, srs_cache: Path
) -> None:
    model, data = correlations()
    x = TensorSpec(name="x", dtype="float32", shape=(12, 4))
    y = TensorSpec(name="y", dtype="float32", shape=(4, 4))
    given = read_calibration(data, Signature(inputs=(x,), outputs=(y,)))
    plan = builder(engine, srs_cache).plan(model, given, PLAIN)
    assert plan.accuracy.max_error <= PLAIN.max_error
    assert plan.choice.args.input_scale > 14


@pytest.mark.long
def test_keys_and_proofs_of_calibration_circuits_are_as_long_as_predicted(
    engine: EzklEngine, srs_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every family, with committed hints too; seconds and memory depend on the machine."""
    smallest = tuple(replace(f, logrows=(10,), columns=(1,)) for f in calibrate.FAMILIES)
    monkeypatch.setattr(calibrate, "FAMILIES", smallest)
    found = calibrate.measure(
        engine, lambda logrows: srs_cache / f"dev{logrows}.srs", tmp_path, LIMITS
    )
    assert len(found) == len(smallest)
    assert {bool(sample.layout.committed) for sample in found} == {True, False}
    for sample in found:
        predicted = CostModel.bundled().predict(sample.layout)
        assert predicted.pk_bytes == pytest.approx(sample.cost["pk_bytes"], rel=0.2)
        assert predicted.proof_bytes == pytest.approx(sample.cost["proof_bytes"], rel=0.2)
