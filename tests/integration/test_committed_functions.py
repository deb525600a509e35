"""A second table, which functions are looked up in: provers who are not honest about it, issuers
whose recipes are not the compiler's, and what the key holds."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.committed.arrangement import Arrangement
from circuits.committed.network import Function, FunctionTable
from circuits.engine.table_end import has_tables
from circuits.format.commitments import POINT_BYTES, Weights
from circuits.format.digests import canonical_json
from circuits.format.profile import Visibility
from circuits.frontend.fixed_shapes import infer_shapes
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.writing.circuit import random_lookups
from circuits.lower.errors import CannotLower
from circuits.plan.graphs import float_graph
from prover.statement.context import Context
from tests.cases.committed import Circuits, Committed, X

pytestmark = pytest.mark.slow

HERE = Context(job_id="job")


def gates() -> bytes:
    """96 units of a logistic function and of tanh, multiplied, and swish."""
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 1, 6, 6] x) => (float[1, 3] y) {
      f = Flatten(x)
      i = Gemm(f, w, wb) o = Gemm(f, u, ub)
      s = Sigmoid(i) t = Tanh(o) m = Mul(s, t)
      h = Gemm(m, v, vb) a = Sigmoid(h) b = Mul(a, h)
      y = Gemm(b, z, zb)
    }""")
    shapes: dict[str, tuple[int, ...]] = {
        "w": (36, 96),
        "wb": (96,),
        "u": (36, 96),
        "ub": (96,),
        "v": (96, 24),
        "vb": (24,),
        "z": (24, 3),
        "zb": (3,),
    }
    rng = np.random.default_rng(3)
    for name, shape in shapes.items():
        values = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return bytes(infer_shapes(model).SerializeToString())


@pytest.fixture(scope="module")
def hidden(circuit: Circuits) -> Committed:
    return circuit(Visibility.PRIVATE_INPUT, model=gates())


@pytest.fixture(scope="module")
def arrangement(hidden: Committed) -> Arrangement:
    assert hidden.files.hints is not None
    return Arrangement.from_bytes(hidden.files.hints.read_bytes())


def test_functions_are_looked_up_and_rebuilt(
    hidden: Committed, arrangement: Arrangement, tmp_path: Path
) -> None:
    claim = hidden.built.manifest.commitments
    assert claim is not None
    table = arrangement.network.function_table
    assert table is not None
    assert claim.function == (table.op, table.scale) == ("Tanh", table.scale)
    lookups = [
        term.lookup
        for _, step in arrangement.network.sums
        for term in step.terms
        if isinstance(term, Function)
    ]
    assert len(lookups) == 3
    assert all(lookup is not None for lookup in lookups)
    assert any(lookup.tilt for lookup in lookups if lookup)
    proof = hidden.honest(X, contexts=[HERE])
    assert hidden.failures(proof, X, HERE) == []
    hidden.assert_rebuilt(gates())
    same = hidden.dishonest(tmp_path, X, contexts=[HERE], bend="nothing")
    assert hidden.failures(same, X, HERE) == []


def test_what_is_looked_up_is_bound(
    hidden: Committed, arrangement: Arrangement, tmp_path: Path
) -> None:
    """A value of each function nearer to zero, and what its salt adds up to."""
    bends = ["function-sum 0"]
    for n, (_, step) in enumerate(arrangement.network.sums):
        if any(isinstance(term, Function) for term in step.terms):
            bends.append(f"q{n} 1")
    assert len(bends) == 4
    for number, bend in enumerate(bends):
        folder = tmp_path / str(number)
        folder.mkdir()
        proof = hidden.dishonest(folder, X, contexts=[HERE], bend=bend)
        assert "residues" in hidden.failures(proof, X, HERE), bend


def test_every_column_of_both_tables_is_salted(hidden: Committed, arrangement: Arrangement) -> None:
    """Two proofs of one input share no commitment to how often an entry was looked up."""
    settings = json.loads(hidden.files.settings.read_bytes())
    args = settings["run_args"]
    columns = args["num_inner_cols"]
    assert len(settings["required_lookups"]) == len(arrangement.salts) == 2
    assert arrangement.looked_up == columns * random_lookups(args["logrows"], columns, 2)
    first, second = (hidden.honest(X, contexts=[HERE]).proof for _ in range(2))
    points = [
        {p[at : at + POINT_BYTES] for at in range(0, len(p) - POINT_BYTES, POINT_BYTES)}
        for p in (first, second)
    ]
    assert points[0] & points[1] <= {first[POINT_BYTES : 2 * POINT_BYTES]}


def test_the_key_holds_the_table_of_the_function(
    hidden: Committed, arrangement: Arrangement, commit: Callable[..., Any]
) -> None:
    vk, logrows = hidden.files.vk.read_bytes(), hidden.built.manifest.srs.logrows
    table, low = arrangement.network.function_table, arrangement.steps.lowest
    assert table is not None
    made = commit(hidden.files)
    assert has_tables(vk, low, logrows, made, table)
    for other in (
        replace(table, scale=table.scale - 1),
        FunctionTable(op="Erf", scale=table.scale),
    ):
        assert not has_tables(vk, low, logrows, made, other)


def test_a_claim_of_another_table_is_refused(hidden: Committed) -> None:
    proof = hidden.honest(X, contexts=[HERE])
    manifest = hidden.built.manifest
    assert manifest.commitments is not None
    op, scale = manifest.commitments.function or ("", 0)
    for other in (None, (op, scale + 1), ("Erf", scale)):
        claim = replace(manifest.commitments, function=other)
        forged = replace(manifest, commitments=claim)
        bent = replace(hidden, built=replace(hidden.built, manifest=forged))
        found = bent.failures(proof, X, HERE)
        assert {"settings-agree", "challenges"} <= {*found}


def test_a_recipe_of_another_table_is_refused(hidden: Committed) -> None:
    """Steps that the compiler does not choose: other tables, or values of a function without a
    remainder in other steps than the table's."""
    honest = hidden.built.manifest.lowering
    assert honest is not None
    graph = float_graph(gates(), [{"x": X}], 1, expose=True)

    def made(recipe: dict[str, Any]) -> None:
        recompiled(graph, recipe, (), shown=False, weights=Weights.SEALED)

    made(honest)
    bare = next(n for n, own in enumerate(honest["steps"]["sums"]) if not own["digits"])

    def bent(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        recipe = copy.deepcopy(honest)
        change(recipe["steps"])
        return recipe

    for change in (
        lambda steps: steps["function"].update(op="Sigmoid"),
        lambda steps: steps["function"].update(op="Exp"),
        lambda steps: steps["function"].update(scale=0),
        lambda steps: steps["function"].update(scale=True),
        lambda steps: steps["function"].update(scale=40),
        lambda steps: steps.pop("function"),
        lambda steps: steps["sums"][bare].update(scale=steps["sums"][bare]["scale"] / 2),
        lambda steps: steps["sums"][bare].update(offset=steps["sums"][bare]["offset"] + 1),
        lambda steps: steps["sums"][0].update(digits=0),
    ):
        with pytest.raises(CannotLower):
            made(bent(change))


def test_a_network_of_an_unknown_table_is_none(arrangement: Arrangement) -> None:
    """Bytes that say what a verifier has no table for, or count in parts of one."""
    head, _, rest = arrangement.to_bytes().partition(b"\n")
    for name, value in (("op", "Sqrt"), ("scale", 8.5)):
        header = json.loads(head)
        for step in header["network"]:
            for term in step.get("terms", ()):
                if "lookup" in term:
                    term["lookup"]["table"][name] = value
        with pytest.raises(ValueError, match="no table"):
            Arrangement.from_bytes(canonical_json(header) + b"\n" + rest)
