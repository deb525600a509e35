"""The owner's signature in a receipt: it holds for this model and this licence, or not at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from circuits.engine.ezkl_engine import EzklEngine
from prover.statement.bundle import Bundle, read_bundle
from prover.statement.ownership import model_manifest
from prover.verify.report import Check
from tests.cases.signatures import eip191
from tests.cases.verdicts import judged, names
from tests.conformance.forgeries import signed, statement_of

pytestmark = pytest.mark.slow

LICENCE = "Nobody but us"
KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def ed25519(message: bytes) -> dict[str, str]:
    public = KEY.public_key().public_bytes_raw().hex()
    return {"scheme": "ed25519", "signer": public, "signature": KEY.sign(message).hex()}


@pytest.fixture(params=["public", "wide-0"])
def bundle(request: pytest.FixtureRequest, vectors: dict[str, bytes]) -> Bundle:
    return read_bundle(vectors[request.param])


def owned(bundle: Bundle, owner: dict[str, Any], version: int = 4) -> Bundle:
    statement = copy.deepcopy(statement_of(bundle))
    statement["predicate"]["owner"] = owner
    statement["predicate"]["receipt"]["schema_version"] = version
    return signed(bundle, statement)


def manifest(bundle: Bundle, licence: str = LICENCE) -> bytes:
    return model_manifest(statement_of(bundle)["predicate"]["model"]["sha256"], licence)


def check(bundle: Bundle, engine: EzklEngine) -> Check:
    return next(c for c in judged(bundle, engine).checks if c.name == "owner")


@pytest.mark.parametrize("scheme", ["ed25519", "eip191"])
def test_the_owners_signature_is_checked_and_stated(
    bundle: Bundle, engine: EzklEngine, scheme: str
) -> None:
    sign = ed25519 if scheme == "ed25519" else eip191
    owner = sign(manifest(bundle)) | {"licence": LICENCE}
    owner["signature"] = owner["signature"].removeprefix("0x")
    report = judged(owned(bundle, owner), engine)
    assert report.failures == ()
    assert any(owner["signer"] in sentence for sentence in report.words)


def test_without_an_owners_signature(bundle: Bundle, engine: EzklEngine) -> None:
    assert check(bundle, engine).status == "skip"


def test_a_signature_for_another_licence_or_model(bundle: Bundle, engine: EzklEngine) -> None:
    for message in (
        manifest(bundle, "public domain"),
        model_manifest("sha256:" + "0" * 64, LICENCE),
    ):
        owner = ed25519(message) | {"licence": LICENCE}
        assert names(judged(owned(bundle, owner), engine)) == ["owner"]


def test_a_signature_in_another_spelling(bundle: Bundle, engine: EzklEngine) -> None:
    owner = ed25519(manifest(bundle)) | {"licence": LICENCE}
    for change in (
        {"signature": owner["signature"].upper()},
        {"signature": "0x" + owner["signature"]},
        {"scheme": "eip191"},
        {"scheme": "none"},
    ):
        assert names(judged(owned(bundle, owner | change), engine)) != []


def test_the_version_says_that_there_is_an_owner(bundle: Bundle, engine: EzklEngine) -> None:
    owner = ed25519(manifest(bundle)) | {"licence": LICENCE}
    version = statement_of(bundle)["predicate"]["receipt"]["schema_version"]
    assert "statement" in names(judged(owned(bundle, owner, version), engine))
    statement = copy.deepcopy(statement_of(bundle))
    statement["predicate"]["receipt"]["schema_version"] = 4
    assert "statement" in names(judged(signed(bundle, statement), engine))
