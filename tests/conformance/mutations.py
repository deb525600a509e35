"""Single changes to a good bundle, and the layer that must turn each one away.

Three hands make them. A *stranger* edits bytes and cannot sign. A *rival* signs with a key of his
own. The *issuer* holds the trusted key and lies: what he says is made consistent (every digest that
depends on the change is computed again and the statement signed), so that only what the proof and
the verifier's own arithmetic establish can stop him.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from circuits.format.digests import canonical_json
from prover.statement.bundle import Bundle, read_bundle, write_bundle
from prover.statement.envelope import PAYLOAD_TYPE, Receipt
from prover.statement.keys import signer_document
from prover.verify.report import Layer
from tests.conformance.forgeries import (
    FORGERIES,
    RIVAL,
    Forgery,
    Json,
    flipped,
    signed,
    statement_of,
)
from tests.conformance.make_vectors import public_key


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """``data`` is the changed bundle; ``layer`` must be among those that refuse it.

    ``raw`` holds the members that an EZKL user would check: proof, settings, key, SRS part.
    """

    name: str
    hand: str
    layer: Layer
    data: bytes
    raw: Bundle


def unsigned_edit(bundle: Bundle, statement: Json) -> Bundle:
    """The bundle with this statement under the old signature."""
    receipt = Receipt.from_bytes(bundle.receipt)
    return replace(bundle, receipt=replace(receipt, payload=canonical_json(statement)).to_bytes())


# --- a stranger: the file --------------------------------------------------------------------


def file_edits(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Changes to the zip file itself."""
    central = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    yield "file: last byte gone", data[:-1]
    yield "file: first half", data[: len(data) // 2]
    yield "file: empty", b""
    yield "file: a byte appended", data + b"\0"
    yield "file: a byte in front", b"\0" + data
    yield "file: one byte between members and directory", data[:central] + b"\0" + data[central:]
    for name, at in {
        "version needed": 4,
        "encryption flag": 6,
        "method deflate": 8,
        "time": 10,
        "checksum": 14,
        "packed size": 18,
        "size": 22,
        "name": 30,
    }.items():
        yield f"local header: {name}", flipped(data, at)
    for name, at in {"made by": 4, "attributes": 38, "offset": 42, "name": 46}.items():
        yield f"directory: {name}", flipped(data, central + at)
    yield "end record: a comment", data[: end + 20] + b"\x01\x00!" + data[end + 23 :]
    yield "end record: member count", flipped(data, end + 8)


# --- a stranger: the members -----------------------------------------------------------------


def member_edits(bundle: Bundle) -> Iterator[tuple[str, Layer, Bundle]]:
    """A change to one member, under the receipt as it was."""
    for name in ("settings", "vk", "plan", "manifest", "srs_part", "model", "proof", "input"):
        data = getattr(bundle, name)
        yield (
            f"{name}: a bit in the middle",
            Layer.ARTIFACT,
            replace(bundle, **{name: flipped(data, len(data) // 2)}),
        )
    spaced = replace(bundle, settings=bundle.settings + b" ")
    yield "settings: a space appended", Layer.ARTIFACT, spaced
    yield "vk: a byte appended", Layer.ARTIFACT, replace(bundle, vk=bundle.vk + b"\0")
    yield "input: left out", Layer.ARTIFACT, replace(bundle, input=None)
    yield "receipt: empty", Layer.SCHEMA, replace(bundle, receipt=b"")
    for field in ("keyid", "keytype", "scheme", "public"):
        bare = json.loads(bundle.signer)
        bare[field] = changed(bare[field])
        edited = replace(bundle, signer=canonical_json(bare))
        yield f"signer: {field}", Layer.SIGNATURE, edited
    rival = replace(bundle, signer=signer_document(public_key(RIVAL)))
    yield "signer: another's key", Layer.SIGNATURE, rival
    proof = json.loads(bundle.proof)
    for name, change in proof_edits().items():
        edited = copy.deepcopy(proof)
        change(edited)
        yield (
            f"proof file: {name}",
            Layer.PROOF,
            replace(bundle, proof=canonical_json(edited)),
        )


def proof_edits() -> dict[str, Callable[[Json], Any]]:
    """Changes to EZKL's proof file, several of which EZKL itself does not see."""
    return {
        "hex_proof differs": lambda p: p.update(hex_proof="0x" + "00" * 32),
        "hex_proof gone": lambda p: p.pop("hex_proof"),
        "pretty_public_inputs says otherwise": lambda p: p.update(
            pretty_public_inputs={"rescaled_outputs": [["9", "9", "9"]]}
        ),
        "a timestamp": lambda p: p.update(timestamp=1),
        "another version": lambda p: p.update(version="99.0.0"),
        "an unknown key": lambda p: p.update(model="another"),
        "a byte after the proof": lambda p: (
            p["proof"].append(0),
            p.update(hex_proof=p["hex_proof"] + "00"),
        ),
        "a bit of the proof": lambda p: p["proof"].__setitem__(7, p["proof"][7] ^ 1),
        "half of the proof": lambda p: p.update(proof=p["proof"][:100]),
        "an instance not below the modulus": lambda p: p["instances"][0].__setitem__(0, "ff" * 32),
        "an instance in upper case": lambda p: p["instances"][0].__setitem__(
            1, p["instances"][0][1].upper()
        ),
        "an instance with blanks": lambda p: p["instances"][0].__setitem__(0, f"{'8000':64}"),
        "two columns of instances": lambda p: p["instances"].append([]),
    }


# --- leaves of the statement -----------------------------------------------------------------


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every scalar in a JSON value; of a long list only its first element."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value[:1]):
            yield from leaves(inner, (*path, at))
    else:
        yield path


def changed(value: Any) -> Any:
    """Another value of the same form, so that the change is one of meaning."""
    if value == "model-quality":
        return "model-qualities"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if value is None:
        return 1
    if value in _OTHER:
        return _OTHER[value]
    if value.startswith("sha256:") or (len(value) in (62, 64) and value.isalnum()):
        return value[:-2] + ("00" if value[-2:] != "00" else "01")
    return value[:-1] + ("0" if value[-1] != "0" else "1")


_OTHER: Json = {
    "standard": "conservative",
    "public": "private-input",
    "speed": "memory",
    "plain": "salted",
    "insecure-development": "public-ceremony",
    "input": "output",
    "2026-01-01T00:00:00Z": "2099-01-01T00:00:00Z",
}


def put(statement: Json, path: tuple[str | int, ...]) -> Json:
    """The statement with the leaf at ``path`` changed."""
    edited = copy.deepcopy(statement)
    holder: Any = edited
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = changed(holder[path[-1]])
    return edited


#: Where the issuer's lie about one leaf is found, by the start of its path. Leaves that are not
#: here are the issuer's word alone, as the receipt's non-claims say: only a key can stop those.
ISSUER_LAYERS: dict[str, Layer] = {
    "_type": Layer.SCHEMA,
    "predicateType": Layer.SCHEMA,
    "subject": Layer.SCHEMA,
    "predicate.receipt": Layer.SCHEMA,
    "predicate.issued_at": Layer.FRESHNESS,
    "predicate.proof_system.engine": Layer.POLICY,
    "predicate.proof_system.version": Layer.POLICY,
    "predicate.proof_system": Layer.SCHEMA,
    "predicate.model": Layer.ARTIFACT,
    "predicate.circuit": Layer.ARTIFACT,
    "predicate.srs": Layer.ARTIFACT,
    "predicate.profile": Layer.ARTIFACT,
    "predicate.instances": Layer.INSTANCES,
    "predicate.input": Layer.ARTIFACT,
    "predicate.outputs": Layer.INSTANCES,
    "predicate.context.limbs": Layer.ARTIFACT,
    "predicate.context.bits": Layer.ARTIFACT,
    "predicate.context": Layer.CONTEXT,
    "predicate.proof.file_sha256": Layer.ARTIFACT,
    "predicate.proof": Layer.PROOF,
    "predicate.accuracy.held_out": Layer.ARTIFACT,
    "predicate.verification.accepted": Layer.SCHEMA,
    "predicate.non_claims.0.id": Layer.ARTIFACT,
}


def issuer_layer(path: tuple[str | int, ...]) -> Layer | None:
    name = ".".join(map(str, path))
    fitting = [prefix for prefix in ISSUER_LAYERS if name.startswith(prefix)]
    return ISSUER_LAYERS[max(fitting, key=len)] if fitting else None


# --- all of them -----------------------------------------------------------------------------


def mutations(data: bytes) -> list[Mutation]:
    """Every single change to the public vector."""
    good = read_bundle(data)
    statement = statement_of(good)
    found: list[Mutation] = []

    def add(name: str, hand: str, layer: Layer, changed: bytes, raw: Bundle = good) -> None:
        found.append(Mutation(name=name, hand=hand, layer=layer, data=changed, raw=raw))

    for name, edited in file_edits(data):
        add(name, "stranger", Layer.SCHEMA, edited)
    for name, layer, bundle in member_edits(good):
        add(name, "stranger", layer, write_bundle(bundle), bundle)
    for name, envelope in envelope_edits(good):
        layer = Layer.SIGNATURE if name == "signature" else Layer.SCHEMA
        add(f"envelope: {name}", "stranger", layer, write_bundle(envelope))
    for path in leaves(statement):
        name = ".".join(map(str, path))
        edited_statement = put(statement, path)
        unsigned = unsigned_edit(good, edited_statement)
        # A statement that is not even of the schema is turned away before its signature counts.
        schema = issuer_layer(path) is Layer.SCHEMA
        layer = Layer.SCHEMA if schema else Layer.SIGNATURE
        add(f"unsigned: {name}", "stranger", layer, write_bundle(unsigned))
        judged = issuer_layer(path)
        if judged is None:
            rival = signed(good, edited_statement, RIVAL)
            add(f"signed: {name}", "rival", Layer.SIGNATURE, write_bundle(rival))
        else:
            lied = signed(good, edited_statement)
            add(f"signed: {name}", "issuer", judged, write_bundle(lied))
    for name, (layer, tell) in FORGERIES.items():
        forgery = Forgery(good, copy.deepcopy(statement))
        tell(forgery)
        bundle = forgery.resigned()
        add(f"consistent: {name}", "issuer", layer, write_bundle(bundle), bundle)
    return found


def envelope_edits(bundle: Bundle) -> Iterator[tuple[str, Bundle]]:
    """Changes to the DSSE envelope around the statement."""
    envelope = json.loads(bundle.receipt)
    changes: dict[str, Json] = {
        "payload type": {"payloadType": PAYLOAD_TYPE + "x"},
        "an unknown field": {"extra": 1},
        "a second signature": {"signatures": envelope["signatures"] * 2},
        "no signature": {"signatures": []},
        "urlsafe base64": {"payload": envelope["payload"].rstrip("=") + "-"},
    }
    for name, change in changes.items():
        yield name, replace(bundle, receipt=canonical_json({**envelope, **change}))
    sig = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    sig[5] ^= 1
    flipped_sig = {**envelope["signatures"][0], "sig": base64.b64encode(sig).decode()}
    yield (
        "signature",
        replace(bundle, receipt=canonical_json({**envelope, "signatures": [flipped_sig]})),
    )
    yield "not canonical", replace(bundle, receipt=json.dumps(envelope, indent=1).encode())
