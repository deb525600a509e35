"""Verification and parsing of webhooks, for receivers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

_SECRET, _PUBLIC = "whsec_", "whpk_"  # prefixes of v1 and v1a keys


class WebhookRefused(Exception):
    """The delivery is not authentic or not recent. Respond with 4xx and ignore it."""


class Delivery(BaseModel):
    """A verified webhook. ``id`` is the same if it is delivered again."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify_webhook(
    body: bytes, headers: Mapping[str, str], key: str, *, tolerance_s: int = 300
) -> Delivery:
    """Checks a delivery by the Standard Webhooks specification.

    ``body`` is the exact received bytes. ``key`` is the endpoint's ``secret`` (``whsec_…``,
    signatures ``v1``) or its ``public_key`` (``whpk_…``, signatures ``v1a``). Raises
    ``WebhookRefused``, and ``ValueError`` for an invalid key.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message = given.get("webhook-id", "")
    stamp = given.get("webhook-timestamp", "")
    if not message or not (stamp.isascii() and stamp.isdigit()):
        raise WebhookRefused("the delivery is not signed")
    if abs(time.time() - int(stamp)) > tolerance_s:
        raise WebhookRefused("the delivery is too old, or from the future")
    signed = b"%s.%s.%s" % (message.encode(), stamp.encode(), body)
    scheme, holds = _checker(key, signed)
    for part in given.get("webhook-signature", "").split():
        name, _, signature = part.partition(",")
        if name == scheme and holds(_decoded(signature)):
            break
    else:
        raise WebhookRefused("the delivery has no valid signature")
    try:
        return Delivery.model_validate({**_object(body), "id": message})
    except ValidationError:
        raise WebhookRefused("the delivery is not an event") from None


def _checker(key: str, signed: bytes) -> tuple[str, Callable[[bytes], bool]]:
    """The scheme of a key's signatures, and a check of one of them over ``signed``."""
    if key.startswith(_SECRET):
        made = hmac.new(_key(key, _SECRET), signed, hashlib.sha256).digest()
        return "v1", lambda signature: hmac.compare_digest(made, signature)
    if key.startswith(_PUBLIC):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public = Ed25519PublicKey.from_public_bytes(_key(key, _PUBLIC))

        def holds(signature: bytes) -> bool:
            try:
                public.verify(signature, signed)
            except InvalidSignature:
                return False
            return True

        return "v1a", holds
    raise ValueError("the key starts with neither whsec_ nor whpk_")


def _key(text: str, prefix: str) -> bytes:
    return base64.b64decode(text.removeprefix(prefix), validate=True)


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
