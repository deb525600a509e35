"""Signatures, checked by the library that receivers use, and by an Ed25519 of another make."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from prover.records.webhook import SignatureScheme
from prover.testing import START
from prover.webhooks import signing
from tests.cases.webhooks import ENDPOINT

BODY = '{"type":"proof.succeeded","data":{"id":"ü"}}'


def test_the_standard_library_accepts_our_signatures() -> None:
    secret = signing.new_secret(SignatureScheme.HMAC)
    sent = signing.headers("msg_1", BODY, datetime.now(UTC), [secret])
    assert Webhook(secret).verify(BODY, sent) == json.loads(BODY)


@pytest.mark.parametrize("spoil", ["body", "id", "timestamp", "secret", "old"])
def test_forged_and_replayed_requests_are_refused_by_it(spoil: str) -> None:
    secret = signing.new_secret(SignatureScheme.HMAC)
    at = datetime.now(UTC) - (timedelta(minutes=6) if spoil == "old" else timedelta())
    sent = signing.headers("msg_1", BODY, at, [secret])
    body = BODY.replace("succeeded", "failed") if spoil == "body" else BODY
    if spoil == "id":
        sent["webhook-id"] = "msg_2"
    if spoil == "timestamp":
        sent["webhook-timestamp"] = str(int(sent["webhook-timestamp"]) + 1)
    key = signing.new_secret(SignatureScheme.HMAC) if spoil == "secret" else secret
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body, sent)


def test_while_a_secret_is_replaced_both_verify() -> None:
    old, new = (signing.new_secret(SignatureScheme.HMAC) for _ in range(2))
    sent = signing.headers("msg_1", BODY, datetime.now(UTC), [new, old])
    assert len(sent["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, sent)


def test_an_older_secret_signs_until_its_time_is_over() -> None:
    assert signing.secrets_at(ENDPOINT, START) == ["new", "old"]
    assert signing.secrets_at(ENDPOINT, START + timedelta(hours=1)) == ["new"]
    assert signing.secrets_at(replace(ENDPOINT, previous_secret=None), START) == ["new"]


def test_an_ed25519_signature_is_checked_with_the_public_key_alone() -> None:
    secret = signing.new_secret(SignatureScheme.ED25519)
    shown = signing.public_key(secret)
    assert shown is not None
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown.removeprefix("whpk_")))
    sent = signing.headers("msg_1", BODY, START, [secret])
    version, signature = sent["webhook-signature"].split(",")
    signed = f"msg_1.{sent['webhook-timestamp']}.{BODY}".encode()
    assert version == "v1a"
    key.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), signed + b" ")


def test_a_shared_secret_has_no_public_half() -> None:
    assert signing.public_key(signing.new_secret(SignatureScheme.HMAC)) is None
