"""Makes the vectors about committed hints: ``python -m tests.conformance.make_committed_vectors``,
all or those that are named.

Receipts of circuits with committed hints, of an honest prover and of others (``dishonest_hints``,
written apart from the prover's own code). Every digest and signature is right; ``verdicts.json``
says what a verifier must find. What contracts must is in ``evm.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from circuits.format.commitments import Weights
from circuits.format.profile import Visibility
from prover.statement.bundle import write_bundle
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from tests.cases.committed import Committed, X, committed
from tests.conformance.make_vectors import CONSUMER, EXPIRES, FOLDER, ISSUED, signer
from tests.conftest import LIMITS

COMMITTED = FOLDER / "committed"
PRIVATE, PUBLIC = Visibility.PRIVATE_INPUT, Visibility.PUBLIC
NAMED = Visibility.COMMITTED_INPUT


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A bundle: its circuit, how its prover errs (``nothing``: not at all) and, in order, the
    checks that must refuse it."""

    visibility: Visibility
    weights: Weights = Weights.SEALED
    bend: str = "nothing"
    failures: list[str] = field(default_factory=list)


SHOWN, HIDDEN = Weights.SHOWN, Weights.PRIVATE
VECTORS = {
    "sealed-private": Vector(visibility=PRIVATE),
    "sealed-public": Vector(visibility=PUBLIC),
    "shown-private": Vector(visibility=PRIVATE, weights=SHOWN),
    "shown-public": Vector(visibility=PUBLIC, weights=SHOWN),
    "a-result-raised": Vector(visibility=PRIVATE, bend="result", failures=["residues"]),
    "a-remainder-below-zero": Vector(
        visibility=PRIVATE, bend="negative remainder", failures=["residues"]
    ),
    "a-border-raised": Vector(visibility=PUBLIC, bend="border", failures=["residues"]),
    "an-input-below-the-table": Vector(
        visibility=PRIVATE, bend="negative input", failures=["residues"]
    ),
    "challenges-of-ones-own": Vector(
        visibility=PRIVATE, bend="challenges", failures=["challenges"]
    ),
    "challenges-of-zero": Vector(visibility=PRIVATE, bend="no challenge", failures=["challenges"]),
    "another-commitment": Vector(
        visibility=PRIVATE, bend="pasted", failures=["proof", "challenges"]
    ),
    "other-weights": Vector(
        visibility=PRIVATE, weights=SHOWN, bend="other weights", failures=["weights"]
    ),
    "weights-bent-to-a-result": Vector(
        visibility=PRIVATE, weights=SHOWN, bend="result and weights", failures=["weights"]
    ),
    "weights-where-all-are-alike": Vector(
        visibility=PRIVATE,
        weights=SHOWN,
        bend="weights under challenges",
        failures=["challenges", "weights"],
    ),
    "hidden-private": Vector(visibility=PRIVATE, weights=HIDDEN),
    "hidden-public": Vector(visibility=PUBLIC, weights=HIDDEN),
    "another-weight": Vector(
        visibility=PRIVATE, weights=HIDDEN, bend="other private weight", failures=["identity"]
    ),
    "a-result-and-its-constant": Vector(
        visibility=PRIVATE, weights=HIDDEN, bend="result and constant", failures=["identity"]
    ),
    "a-constant-after-the-challenges": Vector(
        visibility=PRIVATE,
        weights=HIDDEN,
        bend="constant after challenges",
        failures=["challenges", "identity"],
    ),
    "a-weight-outside-the-table": Vector(
        visibility=PRIVATE,
        weights=HIDDEN,
        bend="weight outside the table",
        failures=["residues", "identity"],
    ),
    "a-quotient-of-ones-own": Vector(
        visibility=PRIVATE, weights=HIDDEN, bend="forged quotient", failures=["identity"]
    ),
    "a-quotient-for-its-place": Vector(
        visibility=PRIVATE, weights=HIDDEN, bend="quotient for its place", failures=["identity"]
    ),
    "named-sealed": Vector(visibility=NAMED),
    "named-hidden": Vector(visibility=NAMED, weights=HIDDEN),
    "another-input": Vector(visibility=NAMED, bend="another input", failures=["input-identity"]),
    "another-last-element": Vector(
        visibility=NAMED, bend="another last element", failures=["input-identity"]
    ),
    "an-addition-after-its-place": Vector(
        visibility=NAMED,
        bend="added after its place",
        failures=["challenges", "input-identity"],
    ),
    "weights-called-an-input": Vector(
        visibility=NAMED,
        weights=HIDDEN,
        bend="identity of the weights",
        failures=["input-identity"],
    ),
}


def bundle(circuit: Committed, vector: Vector, name: str, folder: Path) -> bytes:
    """The prover's bundle, signed even if it is invalid."""
    context = Context(
        job_id=f"job-{name}",
        nonce="conformance",
        chain_id=1,
        consumer=CONSUMER,
        expires_at=int(EXPIRES.timestamp()),
    )
    proof = circuit.dishonest(folder, X, contexts=[context], bend=vector.bend)
    if vector.bend == "nothing":
        proof = circuit.honest(X, contexts=[context])
    statement, unsigned = circuit.stated(proof, X, context, issued_at=ISSUED)
    return write_bundle(sign_bundle(statement, unsigned, signer(1)))


def main(only: Sequence[str]) -> None:
    """All vectors, or those of these names."""
    COMMITTED.mkdir(exist_ok=True)
    sandbox = Sandbox()
    engine = EzklEngine(sandbox)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for logrows in range(10, 13):
            engine.generate_srs(folder / f"dev{logrows}.srs", logrows, LIMITS)
        made: dict[tuple[Visibility, Weights], Committed] = {}
        for name in only or VECTORS:
            vector = VECTORS[name]
            kind = vector.visibility, vector.weights
            if kind not in made:
                out = folder / "-".join(kind)
                out.mkdir()
                made[kind] = committed(engine, folder, out, *kind)
            work = folder / name
            work.mkdir()
            data = bundle(made[kind], vector, name, work)
            (COMMITTED / f"{name}.zkml").write_bytes(data)
            print(f"{name}: {len(data)} bytes")
    sandbox.close()
    verdicts = [{"file": f"{n}.zkml", "failures": v.failures} for n, v in VECTORS.items()]
    (COMMITTED / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
