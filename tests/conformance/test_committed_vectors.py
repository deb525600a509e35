"""Each vector about committed hints is judged as ``verdicts.json`` says, by whatever verifier."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.proof_json import parse_proof
from circuits.format.commitments import Weights
from circuits.format.digests import sha256
from circuits.srs.curve import bn128 as curve
from prover.statement.bundle import Bundle, read_bundle
from tests.cases.verdicts import judged, names
from tests.conformance.forgeries import Forgery, statement_of
from tests.conformance.make_committed_vectors import COMMITTED, VECTORS

pytestmark = pytest.mark.slow

VERDICTS: list[dict[str, Any]] = json.loads((COMMITTED / "verdicts.json").read_text())
P = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001


def read(name: str) -> Bundle:
    return read_bundle((COMMITTED / f"{name}.zkml").read_bytes())


def test_there_is_a_vector_for_each_prover() -> None:
    assert {v["file"]: v["failures"] for v in VERDICTS} == {
        f"{name}.zkml": vector.failures for name, vector in VECTORS.items()
    }


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: v["file"])
def test_a_vector_is_judged_as_its_verdict_says(
    verdict: dict[str, Any], engine: EzklEngine
) -> None:
    report = judged(read_bundle((COMMITTED / verdict["file"]).read_bytes()), engine)
    assert names(report) == verdict["failures"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long) if name.startswith("named") else name
        for name, vector in VECTORS.items()
        if not vector.failures
    ],
)
def test_the_specification_gives_the_challenges(name: str) -> None:
    """docs/receipt.md, section 5, followed without the prover's own code."""
    vector, made = VECTORS[name], read(name)
    proof, manifest = parse_proof(made.proof), json.loads(made.manifest)
    claim, context = manifest["commitments"], statement_of(made)["predicate"]["context"]
    rows = (1 << manifest["srs"]["logrows"]) - 6
    points, at = [], 0
    for size in (claim["elements"], claim.get("private", 0), claim.get("folded", 0)):
        end = at + 64 * ((size + size // rows + 1) // rows + 1) * (size > 0)
        points.append(proof.proof[at:end])
        at = end
    shown = b"private"
    if vector.visibility.shows_input:
        values = json.loads(made.input or b"")["inputs"][0]["values"]
        scale = manifest["inputs"][0]["scale"]
        scaled = [int(abs(v) * 2.0**scale + 0.5) * (1 if v >= 0 else -1) for v in values]
        shown = b"public" + b"".join((n % P).to_bytes(32, "little") for n in scaled)
    if "blinding" in claim:
        shown = b"committed" + (made.input_identity or b"")[:128]
    told = json.dumps(claim, sort_keys=True, separators=(",", ":")).encode()
    number = int(context["digest"], 16).to_bytes(32, "big")
    first = points[0] + points[1]
    parts = (made.vk, made.settings, made.srs_part, told, number, shown, first)
    hashed = [hashlib.sha256(part).digest() for part in parts]
    seed = hashlib.sha256(b"zkml-prover/committed-hints/v1" + b"".join(hashed)).digest()
    seeds = dict.fromkeys(("output", "row", "column", "input-row", "input-column"), seed)
    if vector.weights is Weights.SHOWN:
        second = hashlib.sha256(seed + hashlib.sha256(points[2]).digest()).digest()
        seeds |= dict.fromkeys(("weights-row", "weights-column"), second)
    found = {
        challenge: int.from_bytes(hashlib.sha256(own + challenge.encode()).digest()[:31], "little")
        for challenge, own in seeds.items()
    }
    if "blinding" in claim:
        found["input-row"] = pow(found["input-column"], claim["evaluated"][1], P)
    for n, felt in zip(found.values(), proof.instances, strict=False):
        assert felt == (2 * n % P).to_bytes(32, "little").hex()
    if "blinding" in claim:
        evaluation = int.from_bytes(bytes.fromhex(proof.instances[len(found)]), "little")
        sizes = [math.prod(entry["shape"]) for entry in manifest["inputs"]]
        assert claim["evaluated"][1] == math.isqrt(sum(sizes) + 6 - 1) + 1
        assert _input_pairing_holds(
            made, sum(sizes), claim["evaluated"][1], found["input-column"], evaluation
        )
    if vector.weights is Weights.PRIVATE:
        size = 64 * -(-claim["private"] // rows)
        mine = [points[1][at : at + 64] for at in range(0, size, 64)]
        public = [bytes.fromhex(point) for point in claim["identity"]]
        assert _pairing_holds(made, seed, mine, public, manifest["srs"]["logrows"])


def _pairing_holds(
    made: Bundle, seed: bytes, own: list[bytes], public: list[bytes], logrows: int
) -> bool:
    """The equation of section 5."""

    def number(data: bytes) -> int:
        return int.from_bytes(hashlib.sha256(data).digest()[:31], "little")

    data = made.identity or b""
    gamma = number(seed + b"identity-columns")
    hashed = hashlib.sha256(data[:64]).digest()
    zeta = number(hashlib.sha256(seed + hashed).digest() + b"identity-point")
    n, omega = 1 << logrows, pow(7, (P - 1) >> logrows, P)
    z = pow(zeta, n, P) - 1
    for i in range(6):
        z = z * pow(zeta - pow(omega, i, P), -1, P) % P
    total = curve.multiply(_point(data[:64]), -z % P)
    for j, (a, b) in enumerate(zip(own, public, strict=True)):
        apart = curve.add(_point(a), curve.neg(_point(b)))
        total = curve.add(total, curve.multiply(apart, pow(gamma, j + 1, P)))
    total = curve.add(total, curve.multiply(_point(data[64:]), zeta))
    return _pairings_agree(made, total, _point(data[64:]))


def _input_pairing_holds(made: Bundle, n: int, width: int, zeta: int, shown: int) -> bool:
    """That of an input which an identity names."""
    data = made.input_identity or b""
    public, added, opening = (_point(data[at : at + 64]) for at in (0, 64, 128))
    value = shown * pow(zeta, -width - 1, P) % P
    total = curve.add(public, curve.multiply(added, pow(zeta, n, P)))
    total = curve.add(total, curve.neg(curve.multiply(curve.G1, value)))
    total = curve.add(total, curve.multiply(opening, zeta))
    return _pairings_agree(made, total, opening)


def _point(data: bytes) -> Any:
    x, y = (curve.FQ(int.from_bytes(data[n : n + 32], "big")) for n in (0, 32))
    return x, y, curve.FQ.one()


def _pairings_agree(made: Bundle, total: Any, opening: Any) -> bool:
    """e(total, G2) = e(opening, s·G2)."""
    q = int(curve.field_modulus)
    words = [made.srs_part[at : at + 32] for at in range(516 - 128, 516, 32)]
    raw = [int.from_bytes(w, "little") * pow(1 << 256, -1, q) % q for w in words]
    s_g2 = curve.FQ2(raw[:2]), curve.FQ2(raw[2:]), curve.FQ2.one()
    return bool(curve.pairing(curve.G2, total) == curve.pairing(s_g2, opening))


def _weights(forgery: Forgery, data: bytes) -> None:
    """Other weights, of which manifest and claim say that they are the circuit's."""
    claim = forgery.manifest.commitments
    assert claim is not None
    files = forgery.manifest.files | {"hints": sha256(data)}
    claim = replace(claim, network_sha256=sha256(data))
    forgery.set_member(weights=data)
    forgery.set_manifest(replace(forgery.manifest, files=files, commitments=claim))


def _last_raised(forgery: Forgery) -> None:
    data = forgery.bundle.weights or b""
    last = int.from_bytes(data[-8:], "little", signed=True) + 1
    _weights(forgery, data[:-8] + last.to_bytes(8, "little", signed=True))


def _claimed(**changes: Any) -> Callable[[Forgery], None]:
    def change(forgery: Forgery) -> None:
        claim = forgery.manifest.commitments
        assert claim is not None
        forgery.set_manifest(replace(forgery.manifest, commitments=replace(claim, **changes)))

    return change


def _sealed(forgery: Forgery) -> None:
    profile = replace(forgery.manifest.profile, weights=Weights.SEALED)
    forgery.set_manifest(replace(forgery.manifest, profile=profile))


@pytest.mark.parametrize(("dtype", "found"), [("bool", False), ("uint8", False), ("int8", True)])
def test_a_hidden_input_is_one_that_its_dtype_holds(
    dtype: str, found: bool, engine: EzklEngine
) -> None:
    """What lies between -1.5 and 2.5 may be no bool: a model has no answer for one of 2."""
    good = read("sealed-private")
    forgery = Forgery(good, deepcopy(statement_of(good)))
    (x,) = forgery.manifest.inputs
    named = replace(x, tensor=replace(x.tensor, dtype=dtype))
    forgery.set_manifest(replace(forgery.manifest, inputs=(named,)))
    assert names(judged(forgery.resigned(), engine)) == ([] if found else ["input-range"])


@pytest.mark.parametrize("shape", [(36, 1), (1, 36), (4, 9)])
def test_a_public_input_is_evaluated_in_one_shape(shape: Any, engine: EzklEngine) -> None:
    """In another an element has the power of another, and two inputs the same value."""
    good = read("sealed-public")
    forgery = Forgery(good, deepcopy(statement_of(good)))
    _claimed(evaluated=shape)(forgery)
    assert "manifest" in names(judged(forgery.resigned(), engine))


FORGERIES: dict[str, tuple[Callable[[Forgery], None], set[str]]] = {
    "no weights": (lambda forgery: forgery.set_member(weights=None), {"weights"}),
    "bytes that are no network": (
        lambda forgery: _weights(forgery, b"{}"),
        {"weights", "challenges"},
    ),
    "weights of another model": (_last_raised, {"weights", "challenges"}),
    "more columns": (_claimed(elements=1 << 20), {"settings-agree", "challenges"}),
    "more folded elements": (_claimed(folded=29), {"settings-agree", "challenges", "weights"}),
    "sealed, and yet carried": (_sealed, {"manifest"}),
    "larger outputs": (_claimed(output_bounds=(1 << 100,)), {"weights", "challenges"}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_a_bundle_says_of_shown_weights_is_looked_at(name: str, engine: EzklEngine) -> None:
    good = read("shown-private")
    forgery = Forgery(good, deepcopy(statement_of(good)))
    change, refused_by = FORGERIES[name]
    change(forgery)
    assert refused_by <= {*names(judged(forgery.resigned(), engine))}
