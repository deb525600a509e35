"""Inputs that are compared with constants in circuits with committed hints: the conditions under
which a quotient is a bit, each with a case that nothing else would refuse."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from circuits.calibration.samples import draw
from circuits.committed.arithmetic import InputSteps, bounds
from circuits.committed.network import Kind, Local, Op, Sum
from circuits.compiler.recipe import Recipe
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import Weights
from circuits.format.profile import Visibility
from circuits.lower import BitWidths
from circuits.lower.committed.choosing import input_steps
from circuits.lower.committed.choosing.candidates import committed_graphs, read_bounded
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.quantising.steps import choose_steps
from circuits.lower.committed.reading.jumps import jumps
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import LoweringTask
from circuits.lower.thresholds import bits_between
from circuits.plan.graphs import float_graph
from circuits.rebuild import recompiled_graph
from tests.cases.committed_networks import arranged, model


def test_a_quotient_is_a_bit_only_where_no_input_gives_another() -> None:
    arrangement = arranged("trees")
    network, steps = arrangement.network, arrangement.steps
    assert network.sums[0][1].kind is Kind.DECIDED
    assert bounds(network, steps)[1] == (0, 1)
    (own,) = steps.inputs
    longer = replace(steps, inputs=(replace(own, finer=own.finer + 8),))
    assert bounds(network, longer)[1] == (0, steps.base - 1)


@pytest.mark.parametrize("more", [-1, 1])
def test_the_digits_of_a_remainder_are_the_fewest(more: int) -> None:
    steps = arranged("trees").steps
    first, *rest = steps.sums
    read = read_network(model("trees"))
    check_steps(read, steps)
    other = replace(steps, sums=(replace(first, digits=first.digits + more), *rest))
    with pytest.raises(CannotLower, match="another remainder"):
        check_steps(read, other)


def test_thresholds_are_shown_but_not_private() -> None:
    """A private constant could be anything, and with it the quotient."""
    made = arranged("trees")
    for weights in (Weights.SEALED, Weights.SHOWN):
        write_circuit(
            made.network, made.steps, shown=True, columns=1, results=["y", "z"], weights=weights
        )
    with pytest.raises(CannotLower, match="nothing bounds private constants"):
        write_circuit(
            made.network,
            made.steps,
            shown=True,
            columns=1,
            results=["y", "z"],
            weights=Weights.PRIVATE,
        )


def test_an_input_that_is_not_public_has_whole_digits() -> None:
    steps = input_steps.tested_steps("float32", (-3.0, 3.0), 256, 11, shown=False, wanted=None)
    assert steps == InputSteps(scale=11, offset=3 << 11, finer=8)
    made = arranged("trees")
    (own,) = made.steps.inputs
    uneven = replace(made.steps, inputs=(replace(own, finer=own.finer - 1),))
    for base in (256, 255):
        with pytest.raises(ValueError, match="no whole number of digits"):
            replace(made, steps=replace(uneven, base=base)).digits(0)


def of_input(body: str) -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 3] x) => (float[1, 3] y) {{ g = Greater(x, t) b = Cast<to = 1>(g) {body} }}"""
    )
    for name, value in (("t", [0.5, -0.25, 0.0]), ("w", np.eye(3) + 0.5)):
        array = np.array(value, dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    "body", ["s = MatMul(x, w) y = Mul(b, s)", "s = MatMul(x, w) r = Relu(s) y = Add(r, b)"]
)
def test_an_input_that_is_used_otherwise_as_well_keeps_to_other_circuits(body: str) -> None:
    """Steps that tell values from thresholds are too fine for the table."""
    graph = float_graph(of_input(body), [], 1)
    with pytest.raises(CannotLower, match="used otherwise as well"):
        read_bounded(graph)


def test_a_rebuild_refuses_steps_that_tell_no_values_apart() -> None:
    graph = float_graph(of_input("y = MatMul(b, w)"), [], 1)
    read = read_bounded(graph)
    x = np.random.default_rng(3).uniform(-1, 1, (20, 3))
    drawn = draw(graph.signature, {"x": (-1.0, 1.0)}, seed=7).plan

    def rebuilt(own: InputSteps, *, shown: bool) -> None:
        steps = choose_steps(
            read,
            responses(read.network, [x]).extents,
            base=256,
            logrows=10,
            inputs=[own],
            margin=2.0,
        )
        recipe: dict[str, Any] = {"columns": 1, "steps": steps.to_json()}
        recompiled(graph, recipe, drawn, shown=shown, weights=Weights.SEALED)

    rebuilt(InputSteps(scale=13, offset=1 << 13, finer=7), shown=True)
    rebuilt(InputSteps(scale=13, offset=1 << 13, finer=8), shown=False)
    with pytest.raises(CannotLower, match="larger than what bounds it"):
        rebuilt(InputSteps(scale=13, offset=1 << 13, finer=7), shown=False)
    with pytest.raises(CannotLower, match="do not tell its thresholds apart"):
        rebuilt(InputSteps(scale=0, offset=1, finer=0), shown=True)


def in_two_units() -> bytes:
    """A score by a number of years, and by one of cents: all that is accepted is one range."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2] x) => (float[1, 3] y) { g = Greater(x, t) b = Cast<to = 1>(g) y = MatMul(b, w) }
    """)
    weights = np.array([[-2, 1, 0.5], [0, -1, 1.5]], np.float32)
    for name, value in (("t", np.array([30, 5e5], np.float32)), ("w", weights)):
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("committed", [True, False])
def test_a_rebuild_refuses_steps_under_which_an_answer_never_occurs(committed: bool) -> None:
    """Steps of 512: nobody is 31 to 255 years old, and no random input is."""

    def rebuilt(scale: int) -> None:
        if not committed:
            bits = BitWidths(input=scale, weights=(8, 8)).to_json()
            recompiled_graph(
                in_two_units(), drawn, replace(recipe, lowering={"bits": bits, "tables": False})
            )
            return
        longest = (10**6).bit_length() + scale
        own = InputSteps(scale=scale, offset=0, finer=max(0, math.ceil((longest - 8) / 8) * 8))
        extents = responses(read.network, [x]).extents
        steps = choose_steps(read, extents, base=256, logrows=10, inputs=[own], margin=2.0)
        lowering = {"columns": 1, "steps": steps.to_json()}
        recompiled(graph, lowering, drawn, shown=False, weights=Weights.SEALED)

    graph = float_graph(in_two_units(), [], 1)
    read = read_bounded(graph)
    x = np.random.default_rng(3).uniform(0, 1e6, (20, 2))
    drawn = draw(graph.signature, {"x": (0.0, 1e6)}, seed=7).plan
    recipe = Recipe(
        accepted={"x": (0.0, 1e6)},
        limbs=1,
        visibility=Visibility.PRIVATE_INPUT,
        salt=False,
        lowering=None,
        lanes=1,
        input_scales=(0,),
    )
    rebuilt(1)
    with pytest.raises((CannotLower, CircuitNotFaithful), match="do not tell its thresholds apart"):
        rebuilt(-9)


#: What is decided of a number by 30, and of another by 50, behind what scales or bends them.
BEHIND = {
    "matrix": "h = MatMul(x, d) g = Greater(h, t) b = Cast<to = 1>(g)",
    "sum": "a = MatMul(x, e) c = MatMul(x, e) h = Add(a, c) g = Greater(h, t) b = Cast<to = 1>(g)",
    "Sign": "h = MatMul(x, d) s = Sub(h, t) b = Sign(s)",
    "Equal": "h = MatMul(x, d) g = Equal(h, t) b = Cast<to = 1>(g)",
    "Clip": "h = MatMul(x, d) c = Clip(h, one) g = Greater(c, t) b = Cast<to = 1>(g)",
    "Relu": "h = MatMul(x, d) c = Relu(h) g = Greater(c, t) b = Cast<to = 1>(g)",
    "distance": "h = MatMul(x, d) s = Sub(h, t) a = Abs(s) g = Less(a, one) b = Cast<to = 1>(g)",
    "curve": "g = Greater(x, whole) b = Where(g, x, one)",
}


def of_scaled(body: str) -> bytes:
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 2] x) => (float[1, 3] y) {{ {body} y = MatMul(b, w) }}"""
    )
    constants: dict[str, Any] = {
        "t": [15, 10],
        "d": np.diag([0.5, 0.2]),
        "e": np.diag([0.25, 0.1]),
        "w": [[-2, 1, 0.5], [0, -1, 1.5]],
        "one": 1,
        "zero": 0,
        "logs": np.log([31, 51]),
        "whole": [30, 50],
    }
    for name in {name for node in made.graph.node for name in node.input} & {*constants}:
        array = np.array(constants[name], dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("kind", BEHIND)
def test_steps_tell_apart_what_is_decided_of_an_input(kind: str) -> None:
    """Where a million is accepted nobody was 30 to 50 years old, by a compiler of good faith."""
    graph = float_graph(of_scaled(BEHIND[kind]), [], 1)
    read = read_bounded(graph)
    assert not any(step.kind is Kind.DECIDED for _, step in read.network.sums)

    def circuits(largest: float) -> tuple[Any, tuple[Any, ...]]:
        drawn = draw(graph.signature, {"x": (0.0, largest)}, seed=7).plan
        task = LoweringTask(
            accepted={"x": (0.0, largest)},
            limbs=1,
            plan=drawn,
            held_out=drawn,
            agreement=0.0,
            max_error=0.05,
        )
        return committed_graphs(graph, task, False, Weights.SEALED), drawn

    made, drawn = circuits(100.0)
    assert made
    recompiled(graph, made[0].recipe, drawn, shown=False, weights=Weights.SEALED)
    found, drawn = circuits(1e6)
    assert found == []
    x = np.stack([s["x"].reshape(-1) for s in drawn]).astype(np.float64)
    steps = choose_steps(
        read,
        responses(read.network, [x]).extents,
        base=1 << 10,
        logrows=12,
        inputs=[InputSteps(scale=-10, offset=0)],
        margin=2.0,
    )
    recipe: dict[str, Any] = {"columns": 1, "steps": steps.to_json()}
    with pytest.raises(CannotLower, match="do not tell its thresholds apart"):
        recompiled(graph, recipe, drawn, shown=False, weights=Weights.SEALED)


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ("a = Add(x, one) l = Log(a) g = Greater(l, logs) b = Cast<to = 1>(g)", ([30], [50])),
        (BEHIND["distance"], ([28, 32], [45, 55])),
        ("h = MatMul(x, d) s = Sub(h, t) g = Greater(h, t) b = Where(g, s, zero)", ([], [])),
        ("h = MatMul(x, d) b = Relu(h)", ([], [])),
    ],
)
def test_what_is_decided_of_an_input_jumps(body: str, numbers: tuple[list[float], ...]) -> None:
    """And neither what bends nor what a comparison only joins."""
    (found,) = jumps(float_graph(of_scaled(body), [], 1).plain).values()
    for own, wanted in zip(found, numbers, strict=True):
        assert own == pytest.approx(wanted, rel=1e-5)


def test_integers_are_compared_in_steps_of_one() -> None:
    """In halves 1 and the threshold 0.8 are the same number, and 1 is no more than that."""
    made = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (int64[1, 3] x) => (float[1, 3] y) {
      c = Cast<to = 1>(x) g = Greater(c, t) b = Cast<to = 1>(g) y = MatMul(b, w)
    }""")
    for name, value in (("t", [0.8, 300.3, 700.0]), ("w", np.eye(3) + 0.5)):
        array = np.array(value, dtype=np.float32)
        made.graph.initializer.append(numpy_helper.from_array(array, name))
    graph = float_graph(made.SerializeToString(), [], 1)
    read = read_bounded(graph)
    drawn = draw(graph.signature, {"x": (0.0, 1000.0)}, seed=7).plan
    x = np.stack([s["x"].reshape(-1) for s in drawn]).astype(np.float64)

    def rebuilt(scale: int) -> None:
        steps = choose_steps(
            read,
            responses(read.network, [x]).extents,
            base=256,
            logrows=10,
            inputs=[InputSteps(scale=scale, offset=0, finer=8)],
            margin=2.0,
        )
        recipe = {"columns": 1, "steps": steps.to_json()}
        recompiled(graph, recipe, drawn, shown=False, weights=Weights.SEALED)

    rebuilt(0)
    with pytest.raises(CannotLower, match="counts in parts of one"):
        rebuilt(1)


@pytest.mark.parametrize(
    ("levels", "bits"),
    [
        ([], 1),
        ([0.0], 1),
        ([30.0], 1),
        ([0.01], 8),
        ([0.25, 0.5, 0.5], 3),
        ([3.0, 3.0 + 2**-10], 11),
        ([3.0, float(np.nextafter(np.float32(3), np.float32(4)))], 23),
        ([1.0, 1 + 2**-40], 24),
        ([1e-20], 30),
    ],
)
def test_thresholds_of_an_element_are_told_apart(levels: list[float], bits: int) -> None:
    assert bits_between(np.array(levels)) == bits


def test_steps_that_are_asked_for_tell_thresholds_apart() -> None:
    graph = float_graph(in_two_units(), [], 1)
    drawn = draw(graph.signature, {"x": (0.0, 1e6)}, seed=7).plan
    task = LoweringTask(
        accepted={"x": (0.0, 1e6)},
        limbs=1,
        plan=drawn,
        held_out=drawn,
        agreement=0.0,
        input_scale=-9,
    )
    found = committed_graphs(graph, task, False, Weights.SEALED)
    assert isinstance(found, str)
    assert "not told apart" in found
    assert not isinstance(
        committed_graphs(graph, replace(task, input_scale=1), False, Weights.SEALED), str
    )


def test_an_input_has_no_more_steps_than_doubles_tell_apart() -> None:
    """One that is public is compared with the ends of its range in doubles: a step beyond the last
    would be a bit of two."""
    steps = arranged("trees").steps
    (own,) = steps.inputs
    check_steps(read_network(model("trees")), steps)
    longer = replace(steps, base=1 << 14, logrows=15, inputs=(replace(own, finer=40),))
    with pytest.raises(CannotLower, match="doubles"):
        check_steps(read_network(model("trees")), longer)
    ends = 0.0, float(1 << 40)
    assert input_steps.tested_steps("float32", ends, 1 << 14, 13, shown=True, wanted=None) is None


def test_what_goes_down_trees_takes_no_hints() -> None:
    """Four levels, with tests that hold and such that do not."""
    x, y = load_wine(return_X_y=True)
    fitted = RandomForestClassifier(5, max_depth=4, random_state=0).fit(x, y)
    made = to_onnx(fitted, x[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    read = read_network(float_graph(made.SerializeToString(), [], 1).plain)
    sums = [step.kind for step in read.network.steps if isinstance(step, Sum)]
    assert sums[0] is Kind.DECIDED
    assert Kind.DECIDED not in sums[1:]
    flows = [step for step in read.network.steps if isinstance(step, Local)]
    inner = sum(t.tree_.node_count // 2 for t in fitted.estimators_)
    assert sum(s.size for s in flows if s.op is Op.CHOSEN) <= inner
    # Scores, and what the label's score is compared by.
    assert len(sums) <= 1 + 3
