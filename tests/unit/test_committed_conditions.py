"""Conditions of committed circuits, each with a case that nothing else would refuse."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.committed.arithmetic import LARGEST_SUM, InputSteps, largest
from circuits.committed.shown import NetworkFacts
from circuits.compiler import recipe as recipes
from circuits.format import commitments
from circuits.format.commitments import COLUMN_SALT, Binding, Commitments, Subject, Weights
from circuits.format.field import P, from_felt, to_felt
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.quantising.steps import choose_steps
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import LoweredGraph, LoweringTask
from circuits.plan.graphs import float_graph
from prover.verify.checks import weights
from prover.verify.checks.evidence import Unmet
from tests.cases.committed_networks import arranged, model

CLAIM = Commitments(
    weights=Weights.SEALED,
    network_sha256="sha256:00",
    elements=40,
    residues=2,
    output_bounds=(1,),
    evaluated=None,
)
FACTS = NetworkFacts(
    canonical=True,
    weights=Weights.SHOWN,
    shown=True,
    lanes=1,
    elements=40,
    folded=3,
    inputs=(2,),
    outputs=(1,),
    input_scales=(4,),
    input_bounds=((-32, 31),),
    output_scales=(4,),
    logrows=10,
    table=(-500, 255),
    function=None,
    largest_sum=LARGEST_SUM - 1,
    largest_outputs=(9,),
    evaluation="00",
)


def fits(facts: NetworkFacts, lower: float = -2.0, upper: float = 1.9375) -> None:
    claim = replace(CLAIM, weights=Weights.SHOWN, folded=3, output_bounds=(9,))
    tensor = SimpleNamespace(size=2, name="x")
    manifest: Any = SimpleNamespace(
        profile=SimpleNamespace(visibility=SimpleNamespace(shows_input=True)),
        inputs=[SimpleNamespace(tensor=tensor, scale=4, lower=lower, upper=upper)],
        outputs=[SimpleNamespace(tensor=SimpleNamespace(size=1), scale=4)],
        srs=SimpleNamespace(logrows=10),
    )
    settings: Any = SimpleNamespace(lookup_range=(-500, 255))
    weights._fits(facts, claim, manifest, settings)


def test_shown_weights_bound_sums_and_inputs() -> None:
    fits(FACTS)
    with pytest.raises(Unmet, match="exceed the circuit's bounds"):
        fits(replace(FACTS, largest_sum=LARGEST_SUM))
    for lower, upper in ((-2.0625, 1.9375), (-2.0, 2.0)):
        with pytest.raises(Unmet, match="exceeds what these weights allow"):
            fits(FACTS, lower, upper)


def test_no_challenge_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = Binding(
        vk=b"", settings=b"", srs_part=b"", claim=CLAIM, about=Subject(context=1, inputs=None)
    )
    assert binding.challenges(b"")
    own = commitments.challenge
    last = commitments.CHALLENGES[-1]
    monkeypatch.setattr(
        commitments, "challenge", lambda seed, name: 0 if name == last else own(seed, name)
    )
    with pytest.raises(ValueError, match="a challenge is zero"):
        binding.challenges(b"")


def test_each_column_has_more_salt_than_a_proof_tells_of_it() -> None:
    """A commitment and an opening of it, each a linear combination, and 256 bits to spare."""
    assert COLUMN_SALT >= 2 + 2


def test_salt_and_every_sum_leave_residues() -> None:
    arrangement = arranged("residual")
    made = write_circuit(
        arrangement.network, arrangement.steps, shown=False, columns=1, results=["y"]
    )
    sums = len([*arrangement.network.sums])
    assert made.claim.residues == sums + 1


def test_a_bias_counts_among_what_a_sum_can_reach() -> None:
    arrangement = arranged("residual")
    (_, step), *_ = arrangement.network.sums
    assert step.bias is not None
    wide = dict.fromkeys(range(20), (-1, 1))
    more = replace(step, bias=np.asarray(step.bias) + 10**6)
    divisor, offset = arrangement.steps.divisor(0), arrangement.steps.sums[0].offset
    found = [largest(s, divisor, offset, wide) for s in (step, more)]  # type: ignore[arg-type]
    assert found[1] - found[0] > 10**6 / 2


# --- rebuilds --------------------------------------------------------------------------------


def test_inputs_without_a_finite_answer_do_not_count_as_served() -> None:
    made = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 4] x) => (float[1, 4] y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, w) }"""
    )
    made.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    graph = float_graph(made.SerializeToString(), [], 1)
    read = read_network(graph.plain)
    x = np.random.default_rng(3).uniform(-1, 1, (20, 4))
    steps = choose_steps(
        read,
        responses(read.network, [x]).extents,
        base=256,
        logrows=10,
        inputs=[InputSteps(scale=5, offset=32)],
        margin=2.0,
    )
    drawn = draw(graph.signature, {"x": (-1.0, 1.0)}, seed=7).plan

    def rebuilt(reference: bytes) -> None:
        recipe = {"columns": 1, "steps": steps.to_json()}
        recompiled(
            replace(graph, reference=reference),
            recipe,
            drawn,
            shown=False,
            weights=Weights.SEALED,
        )

    rebuilt(graph.reference)
    nowhere = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 4] x) => (float[1, 4] y) { s = Mul(x, x) n = Neg(s) y = Log(n) }"""
    )
    with pytest.raises(CannotLower, match="only 0% of inputs"):
        rebuilt(nowhere.SerializeToString())


def test_most_inputs_of_the_accepted_range_stay_in_the_table() -> None:
    graph = float_graph(model("residual"), [], 1)
    steps = arranged("residual", logrows=12).steps
    (name,) = graph.signature.names
    near = draw(graph.signature, {name: (-0.5, 0.5)}, seed=7).plan
    far = draw(graph.signature, {name: (-200.0, 200.0)}, seed=7).plan
    recipe = {"columns": 1, "steps": steps.to_json()}

    def rebuilt(share: float) -> None:
        count = round(20 * share)
        samples = [*near[:count], *far[: 20 - count]]
        recompiled(graph, recipe, samples, shown=False, weights=Weights.SEALED)

    rebuilt(0.8)
    with pytest.raises(CannotLower, match="only 70% of inputs"):
        rebuilt(0.7)


def test_nobody_knows_the_inputs_of_a_rebuild_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def drawn(signature: Any, ranges: Any, seed: int = 0) -> Any:
        seeds.append(seed)
        raise CannotLower("enough is known")

    monkeypatch.setattr(recipes, "draw", drawn)
    graph = float_graph(model("residual"), [], 1)
    for _ in range(2):
        recipe: Any = SimpleNamespace(
            lowering={"argument": "committed", "columns": 1, "steps": {}}, accepted={}
        )
        with pytest.raises(CannotLower, match="enough"):
            recipes.recompile_committed(graph, recipe)
    assert seeds[0] != seeds[1]


# --- inputs that an identity names -----------------------------------------------------------


def test_what_is_evaluated_of_a_named_input_is_one_polynomial() -> None:
    """The row's challenge is no hash of its own, and what is hashed says of which kind it is."""
    named = replace(CLAIM, evaluated=(6, 7), blinding=COLUMN_SALT)
    subject = Subject(context=1, inputs=None, named=b"points")
    binding = Binding(vk=b"", settings=b"", srs_part=b"", claim=named, about=subject)
    *_, row, column = (from_felt(f) % P for f in binding.challenges(b""))
    assert row == pow(column, 7, P)
    parts = [
        Subject(context=1, inputs=None).parts,
        subject.parts,
        Subject(context=1, inputs=None, named=b"others").parts,
        Subject(context=1, inputs=[[to_felt(1)]]).parts,
    ]
    assert len({*parts}) == len(parts)


def test_a_named_input_is_compared_as_the_circuit_reads_it() -> None:
    """Behind the table, and with the random elements that hide its value."""
    arrangement = arranged("residual")
    plain, named = (
        write_circuit(
            arrangement.network,
            arrangement.steps,
            shown=False,
            columns=1,
            results=["y"],
            blinding=blinding,
        )
        for blinding in (0, COLUMN_SALT)
    )
    assert plain.claim.evaluated is None
    count = sum(arrangement.network.inputs) + COLUMN_SALT
    assert named.claim.evaluated == commitments.evaluation_shape(count)
    assert named.claim.elements == plain.claim.elements + COLUMN_SALT
    graph = onnx.load_model_from_string(named.onnx).graph
    made = {name: node for node in graph.node for name in node.output}
    reached, wanted = set[str](), [o.name for o in graph.output if "evaluation" in o.name]
    while wanted:
        node = made.get(wanted.pop())
        if node is None or node.op_type == "HardSwish":
            continue
        # Nothing but the blinding comes from what is committed to without the table.
        if commitments.DATA in node.input:
            reached.update(node.input[1:])
        wanted += node.input
    places = {t.name: numpy_helper.to_array(t).tolist() for t in graph.initializer}
    found = sorted(n for name in reached for n in places[name])
    last = named.arrangement.pieces[-1][1]
    assert found == [*range(last - COLUMN_SALT, last)]


@pytest.mark.parametrize(
    "other",
    [
        {"target": Target.EVM},
        {"soundness": Soundness.CONSERVATIVE},
        {"argument": Argument.PLAIN},
    ],
)
def test_only_a_circuit_with_committed_hints_names_an_input(other: dict[str, Any]) -> None:
    """A contract has no pairing of an identity; whatever is built besides would name nothing."""
    named = Profile(visibility=Visibility.COMMITTED_INPUT)
    assert named.must_commit
    assert named.may_commit
    assert not replace(named, **other).may_commit


def of_dtype(dtype: str, largest: float, *, shown: bool) -> list[LoweredGraph] | str:
    """Circuits of a model of four such numbers."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g ({dtype}[1, 4] x) => (float[1, 3] y) {{ c = Cast<to = 1>(x) y = MatMul(c, w) }}"""
    )
    weights = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    made.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    graph = float_graph(made.SerializeToString(), [], 1)
    drawn = draw(graph.signature, {"x": (0.0, largest)}).plan
    task = LoweringTask(
        accepted={"x": (0.0, largest)}, limbs=1, plan=drawn, held_out=drawn, agreement=0.0
    )
    found = committed_graphs(graph, task, shown, Weights.SEALED)
    assert isinstance(found, list | str)
    return found


def test_a_table_that_bounds_a_hidden_input_ends_where_its_dtype_does() -> None:
    """It let a bool be 63, and with it an output that the model gives to no input."""
    for dtype, end in (("uint8", 255.0), ("int16", 999.0), ("int64", 999.0)):
        found = of_dtype(dtype, end, shown=False)
        assert found
        for made in found:
            assert isinstance(made, LoweredGraph)
            assert made.inputs[0].upper <= np.iinfo(dtype).max
    assert of_dtype("bool", 1.0, shown=True) != []
    assert of_dtype("bool", 1.0, shown=False) == "input 'x' has a range of its own"
