"""Forgeries of an issuer with the trusted key, made consistent: every digest is recomputed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from circuits.engine.proof_json import read_proof
from circuits.format.digests import canonical_json, sha256
from circuits.format.field import felts_to_bytes, from_felt, to_felt
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Soundness, Visibility
from circuits.srs.verify_part import PUBLIC_CEREMONY
from prover.statement.bundle import Bundle, read_bundle
from prover.statement.context import Context
from prover.statement.envelope import Receipt
from prover.statement.keys import signer_document
from prover.statement.non_claims import TEXTS, non_claims
from prover.statement.statement import claims, decode_outputs, receipt_id
from prover.verify.report import Layer
from tests.conformance.make_vectors import FOLDER, public_key, signer

TRUSTED, RIVAL = 1, 2
Json = dict[str, Any]


def statement_of(bundle: Bundle) -> Json:
    value: Json = json.loads(Receipt.from_bytes(bundle.receipt).payload)
    return value


def signed(bundle: Bundle, statement: Json, seed: int = TRUSTED) -> Bundle:
    """The bundle with this statement, signed: in whatever state the statement is."""
    payload = canonical_json(statement)
    unsigned = Receipt(payload=payload, keyid="", signature=b"")
    signature = signer(seed).sign(unsigned.pae)
    receipt = replace(unsigned, keyid=signature.keyid, signature=bytes.fromhex(signature.signature))
    return replace(bundle, receipt=receipt.to_bytes(), signer=signer_document(public_key(seed)))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@dataclass
class Forgery:
    """A bundle under change, whose statement is brought in line before it is signed."""

    bundle: Bundle
    statement: Json

    @property
    def predicate(self) -> Json:
        value: Json = self.statement["predicate"]
        return value

    @property
    def manifest(self) -> CircuitManifest:
        return CircuitManifest.from_json(json.loads(self.bundle.manifest))

    def set_member(self, **members: bytes | None) -> None:
        self.bundle = Bundle(**{**vars(self.bundle), **members})

    def set_manifest(self, manifest: CircuitManifest) -> None:
        self.set_member(manifest=canonical_json(manifest.to_json()))

    def set_instance(self, at: int, felt: str) -> None:
        proof = read_proof(self.bundle.proof)
        proof.instances[at] = felt
        self.set_member(proof=proof.to_bytes())

    def set_proof(self, data: bytes) -> None:
        self.set_member(proof=replace(read_proof(self.bundle.proof), proof=data).to_bytes())

    def resigned(self, seed: int = TRUSTED) -> Bundle:
        """Everything in the statement that follows from the members, computed again and signed."""
        p, bundle, manifest = self.predicate, self.bundle, self.manifest
        for name, value in claims(manifest).items():
            *path, last = name.split(".")
            holder = p
            for key in path:
                holder = holder[key]
            holder[last] = _plain(value)
        proof = read_proof(bundle.proof)
        file_digest = sha256(bundle.proof)
        p["proof"] |= {
            "file_sha256": file_digest,
            "sha256": sha256(proof.proof),
            "bytes": len(proof.proof),
        }
        self.statement["subject"][0]["digest"]["sha256"] = file_digest.removeprefix("sha256:")
        p["non_claims"] = [{"id": n, "text": TEXTS[n]} for n in non_claims(manifest)]
        p["receipt"]["id"] = receipt_id(p["context"]["job_id"], file_digest)
        p["srs"]["part_sha256"] = sha256(bundle.srs_part)
        p["instances"]["count"] = len(proof.instances)
        p["instances"]["sha256"] = sha256(felts_to_bytes(proof.instances))
        with contextlib.suppress(ValueError):  # what cannot be decoded stays as it was stated
            lane = p.get("lane", {"index": 0})["index"]
            p["outputs"] = _plain(decode_outputs(manifest, proof.instances, lane))
        if bundle.input is not None:
            p["input"]["commitment"]["sha256"] = sha256(bundle.input)
        return signed(bundle, self.statement, seed)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def with_file(manifest: CircuitManifest, name: str, data: bytes) -> CircuitManifest:
    return replace(manifest, files={**manifest.files, name: sha256(data)})


def lie_output(forgery: Forgery) -> None:
    forgery.set_instance(7, to_felt(from_felt(read_proof(forgery.bundle.proof).instances[7]) + 1))


def lie_input(forgery: Forgery) -> None:
    forgery.set_instance(0, to_felt(64))
    document = json.loads(forgery.bundle.input or b"")
    document["inputs"][0]["values"][0] = 0.5
    forgery.set_member(input=canonical_json(document))


def lie_context(forgery: Forgery) -> None:
    fields = {k: forgery.predicate["context"][k] for k in ("job_id", "chain_id", "consumer")}
    context = Context(
        **fields, nonce="another", expires_at=forgery.predicate["context"]["expires_at"]
    )
    forgery.predicate["context"] |= {"nonce": "another", "digest": context.digest_hex}
    forgery.set_instance(4, to_felt(context.digest))


def lie_proof_bit(forgery: Forgery) -> None:
    forgery.set_proof(flipped(read_proof(forgery.bundle.proof).proof, 1000))


def lie_trailing(forgery: Forgery) -> None:
    forgery.set_proof(read_proof(forgery.bundle.proof).proof + b"\0" * 32)


def lie_range(forgery: Forgery) -> None:
    (x,) = forgery.manifest.inputs
    forgery.set_manifest(replace(forgery.manifest, inputs=(replace(x, upper=1.0),)))


def lie_soundness(forgery: Forgery) -> None:
    profile = replace(forgery.manifest.profile, soundness=Soundness.CONSERVATIVE)
    forgery.set_manifest(replace(forgery.manifest, profile=profile))


def lie_weights_private(forgery: Forgery) -> None:
    profile = replace(forgery.manifest.profile, visibility=Visibility.PRIVATE_WEIGHTS)
    value = json.loads(forgery.bundle.manifest)
    value["profile"] = profile.to_json()
    forgery.set_manifest(CircuitManifest.from_json(value))


def lie_output_scale(forgery: Forgery) -> None:
    (y,) = forgery.manifest.outputs
    forgery.set_manifest(replace(forgery.manifest, outputs=(replace(y, scale=y.scale - 1),)))


def lie_input_scale(forgery: Forgery) -> None:
    (x,) = forgery.manifest.inputs
    forgery.set_manifest(replace(forgery.manifest, inputs=(replace(x, scale=x.scale + 1),)))


def lie_origin(forgery: Forgery) -> None:
    srs = replace(forgery.manifest.srs, origin="public-ceremony")
    forgery.set_manifest(replace(forgery.manifest, srs=srs))


def lie_public_part(forgery: Forgery) -> None:
    lie_origin(forgery)
    forgery.set_member(srs_part=PUBLIC_CEREMONY)


def lie_other_part(forgery: Forgery) -> None:
    forgery.set_member(srs_part=(FOLDER / "other_srs_part.bin").read_bytes())


def lie_no_context(forgery: Forgery) -> None:
    context = replace(forgery.manifest.context, limbs=0)
    forgery.set_manifest(replace(forgery.manifest, context=context))


def lie_few_context_bits(forgery: Forgery) -> None:
    context = replace(forgery.manifest.context, bits=64)
    forgery.set_manifest(replace(forgery.manifest, context=context))


def lie_logrows(forgery: Forgery) -> None:
    settings = json.loads(forgery.bundle.settings)
    settings["run_args"]["logrows"] = 11
    data = json.dumps(settings).encode()
    forgery.set_member(settings=data)
    forgery.set_manifest(with_file(forgery.manifest, "settings", data))


def lie_other_key(forgery: Forgery) -> None:
    other = read_bundle((FOLDER / "other-model.zkml").read_bytes())
    forgery.set_member(vk=other.vk)
    forgery.set_manifest(with_file(forgery.manifest, "vk", other.vk))


def lie_expired(forgery: Forgery) -> None:
    c = forgery.predicate["context"]
    context = Context(
        job_id=c["job_id"],
        nonce=c["nonce"],
        chain_id=c["chain_id"],
        consumer=c["consumer"],
        expires_at=1,
    )
    c |= {"expires_at": 1, "digest": context.digest_hex}
    forgery.set_instance(4, to_felt(context.digest))


def lie_conservative_settings(forgery: Forgery) -> None:
    """As ``lie_soundness``, with settings that say the same: the key was not made under them."""
    lie_soundness(forgery)
    settings = json.loads(forgery.bundle.settings)
    settings["run_args"] |= {
        "disable_freivalds": True,
        "ignore_range_check_inputs_outputs": False,
    }
    set_settings(forgery, settings)


def lie_scales(forgery: Forgery) -> None:
    """Every value is said to be half of what it is: by manifest, settings and input alike."""
    (x,), (y,) = forgery.manifest.inputs, forgery.manifest.outputs
    forgery.set_manifest(
        replace(
            forgery.manifest,
            inputs=(replace(x, scale=x.scale + 1),),
            outputs=(replace(y, scale=y.scale + 1),),
        )
    )
    settings = json.loads(forgery.bundle.settings)
    for name in ("model_input_scales", "model_output_scales"):
        settings[name] = [scale + 1 for scale in settings[name]]
    set_settings(forgery, settings)
    document = json.loads(forgery.bundle.input or b"")
    values = document["inputs"][0]["values"]
    document["inputs"][0]["values"] = [v / 2 for v in values]
    forgery.set_member(input=canonical_json(document))


def set_settings(forgery: Forgery, settings: Json) -> None:
    data = json.dumps(settings).encode()
    forgery.set_member(settings=data)
    forgery.set_manifest(with_file(forgery.manifest, "settings", data))


def lie_longer_proof(forgery: Forgery) -> None:
    """Bytes after the proof, in a circuit whose proofs are said to be so long."""
    lie_trailing(forgery)
    length = len(read_proof(forgery.bundle.proof).proof)
    forgery.set_manifest(replace(forgery.manifest, proof_bytes=length))


def lie_two_names(forgery: Forgery) -> None:
    """An input split into two with one name, so that a value is ambiguous."""
    (x,) = forgery.manifest.inputs
    half = replace(x, tensor=replace(x.tensor, shape=(1, 2)))
    forgery.set_manifest(replace(forgery.manifest, inputs=(half, half)))
    forgery.set_member(input=halves(forgery.bundle.input, ("x", "x")))


def lie_two_inputs(forgery: Forgery) -> None:
    """One input of four values, stated as two of two."""
    (x,) = forgery.manifest.inputs
    a, b = (replace(x, tensor=replace(x.tensor, name=n, shape=(1, 2))) for n in ("a", "b"))
    forgery.set_manifest(replace(forgery.manifest, inputs=(a, b)))
    forgery.set_member(input=halves(forgery.bundle.input, ("a", "b")))


def halves(document: bytes | None, names: tuple[str, str]) -> bytes:
    (entry,) = json.loads(document or b"")["inputs"]
    values = entry["values"]
    return canonical_json(
        {
            "inputs": [
                entry | {"name": name, "shape": [1, 2], "values": values[at : at + 2]}
                for name, at in zip(names, (0, 2), strict=True)
            ]
        }
    )


def lie_finer_input(forgery: Forgery) -> None:
    """A number that the input's float32 does not hold, though it quantises to the same."""
    document = json.loads(forgery.bundle.input or b"")
    document["inputs"][0]["values"][0] = 1.0000000001
    forgery.set_member(input=canonical_json(document))


def lie_whole_input(forgery: Forgery) -> None:
    """1 where float32 writes 1.0."""
    document = json.loads(forgery.bundle.input or b"")
    document["inputs"][0]["values"][0] = 1
    forgery.set_member(input=canonical_json(document))


def lie_far_expiry(forgery: Forgery) -> None:
    c = forgery.predicate["context"]
    c["expires_at"] = 10**12


def lie_lane(forgery: Forgery) -> None:
    """A statement of a circuit of one lane that says it is about one of two."""
    forgery.predicate["lane"] = {"index": 0, "count": 2}
    forgery.predicate["receipt"]["schema_version"] = 2


def lie_lanes(forgery: Forgery) -> None:
    """A narrow circuit called wide: half of the input is said to be another's."""
    (x,), (y,) = forgery.manifest.inputs, forgery.manifest.outputs
    forgery.set_manifest(
        replace(
            forgery.manifest,
            lanes=2,
            inputs=(replace(x, tensor=replace(x.tensor, shape=(1, 2))),),
            outputs=(replace(y, tensor=replace(y.tensor, shape=(1, 1))),),
        )
    )
    lie_lane(forgery)


def lie_infinite_part(forgery: Forgery) -> None:
    """s·G2 = 0: everybody can forge."""
    forgery.set_member(srs_part=forgery.bundle.srs_part[:-128] + bytes(128))


FORGERIES: dict[str, tuple[Layer, Callable[[Forgery], None]]] = {
    "another output": (Layer.PROOF, lie_output),
    "another input": (Layer.PROOF, lie_input),
    "another context": (Layer.PROOF, lie_context),
    "an expired context": (Layer.FRESHNESS, lie_expired),
    "a bit of the proof": (Layer.PROOF, lie_proof_bit),
    "bytes after the proof": (Layer.PROOF, lie_trailing),
    "a narrower accepted range": (Layer.RANGE, lie_range),
    "called conservative": (Layer.SETUP, lie_soundness),
    "weights called private": (Layer.SETUP, lie_weights_private),
    "another output scale": (Layer.SETUP, lie_output_scale),
    "another input scale": (Layer.INSTANCES, lie_input_scale),
    "SRS called the ceremony's": (Layer.SETUP, lie_origin),
    "SRS part replaced by the ceremony's": (Layer.PROOF, lie_public_part),
    "SRS part replaced by another's": (Layer.PROOF, lie_other_part),
    "context called absent": (Layer.INSTANCES, lie_no_context),
    "context cut to 64 bits": (Layer.SCHEMA, lie_few_context_bits),
    "settings of another k": (Layer.SETUP, lie_logrows),
    "another circuit's key": (Layer.PROOF, lie_other_key),
    "two inputs of one name": (Layer.SCHEMA, lie_two_names),
    "one input told as two": (Layer.SETUP, lie_two_inputs),
    "a number that float32 does not hold": (Layer.INSTANCES, lie_finer_input),
    "1 in place of 1.0": (Layer.INSTANCES, lie_whole_input),
    "an expiry beyond all calendars": (Layer.CONTEXT, lie_far_expiry),
    "a lane of a circuit without lanes": (Layer.INSTANCES, lie_lane),
    "a narrow circuit called wide": (Layer.SETUP, lie_lanes),
    "s·G2 = 0": (Layer.PROOF, lie_infinite_part),
}

#: Lies that leave the proof and all numbers in agreement: the signature vouches for them, and only
#: a rebuild from the model finds them out.
REBUILD_FORGERIES: dict[str, Callable[[Forgery], None]] = {
    "called conservative, the settings too": lie_conservative_settings,
    "every scale one finer, the settings' too": lie_scales,
    "bytes after the proof, its length adapted": lie_longer_proof,
}
