"""A receiver's check of webhooks, against the library of the specification."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.client import WebhookRefused, verify_webhook

standardwebhooks = pytest.importorskip("standardwebhooks")

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of pure secrecy").decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
EVENT = {"type": "proof.succeeded", "timestamp": "2026-11-20T13:39:05Z", "data": {"id": "1"}}
BODY = json.dumps(EVENT).encode()


def delivery(
    body: bytes = BODY, *, key: str = SECRET, age_s: float = 0, message: str = "msg_1"
) -> dict[str, str]:
    """Headers as a sender makes them."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    stamp = str(int(at.timestamp()))
    if key == SECRET:
        signature = standardwebhooks.Webhook(SECRET).sign(message, at, body.decode())
    else:
        signed = PRIVATE.sign(f"{message}.{stamp}.".encode() + body)
        signature = "v1a," + base64.b64encode(signed).decode()
    return {
        "Webhook-Id": message,
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
    }


@pytest.mark.parametrize("key", [SECRET, PUBLIC], ids=["v1", "v1a"])
def test_what_the_service_sent_is_read(key: str) -> None:
    found = verify_webhook(BODY, delivery(key=key), key)
    assert (found.id, found.type, found.data) == ("msg_1", "proof.succeeded", {"id": "1"})
    # While a secret is replaced there are two signatures, in any order.
    headers = delivery(key=key)
    headers["webhook-signature"] = "v1,AAAA v1a,AAAA x " + headers["webhook-signature"]
    assert verify_webhook(BODY, headers, key).id == "msg_1"


@pytest.mark.parametrize("key", [SECRET, PUBLIC], ids=["v1", "v1a"])
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "٣"},
        {"Webhook-Id": "msg_2"},
        {"Webhook-Id": ""},
    ],
    ids=str,
)
def test_what_was_changed_is_refused(key: str, change: dict[str, Any]) -> None:
    with pytest.raises(WebhookRefused):
        verify_webhook(BODY, delivery(key=key) | change, key)


@pytest.mark.parametrize("key", [SECRET, PUBLIC], ids=["v1", "v1a"])
def test_another_body_an_old_one_and_anothers_are_refused(key: str) -> None:
    other = SECRET if key == PUBLIC else PUBLIC
    for body, headers in (
        (BODY.replace(b"1", b"2"), delivery(key=key)),
        (BODY, delivery(key=key, age_s=301)),
        (BODY, delivery(key=key, age_s=-301)),
        (BODY, delivery(key=other)),
    ):
        with pytest.raises(WebhookRefused):
            verify_webhook(body, headers, key)


@pytest.mark.parametrize("body", [b"[]", b"{", b"", b'{"type": 1}'])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        verify_webhook(body, delivery(body), SECRET)


def test_a_key_that_is_none() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify_webhook(BODY, delivery(), "secret")
