"""Signatures of webhooks (Standard Webhooks 1.0) over ``id.timestamp.body``.

Secrets are strings: ``whsec_`` and base64 of 32 random bytes for ``v1``; ``whsk_`` and base64 of an
Ed25519 seed for ``v1a``, whose receiver gets ``whpk_`` and base64 of the public key. Receivers
verify with any library of the specification.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from prover.records.webhook import Endpoint, SignatureScheme

_HMAC, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_SECRET_BYTES = 32


def new_secret(scheme: SignatureScheme) -> str:
    """A new secret of that scheme."""
    prefix = _HMAC if scheme is SignatureScheme.HMAC else _PRIVATE
    return prefix + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def public_key(secret: str) -> str | None:
    """The public key of a ``v1a`` secret; None for ``v1``."""
    if not secret.startswith(_PRIVATE):
        return None
    return _PUBLIC + base64.b64encode(_ed25519(secret).public_key().public_bytes_raw()).decode()


def headers(
    event_id: str, body: str, at: datetime, signing_secrets: Sequence[str]
) -> dict[str, str]:
    """The headers of a request sent at ``at`` (aware, UTC), with one signature per secret."""
    signatures = [_sign(secret, event_id, at, body) for secret in signing_secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def secrets_at(endpoint: Endpoint, now: datetime) -> list[str]:
    """The secrets that sign now: two during a rotation."""
    valid = [endpoint.secret]
    until = endpoint.previous_until
    if endpoint.previous_secret is not None and until is not None and now < until:
        valid.append(endpoint.previous_secret)
    return valid


def _sign(secret: str, event_id: str, at: datetime, body: str) -> str:
    if secret.startswith(_HMAC):
        return Webhook(secret).sign(event_id, at, body)
    signed = _ed25519(secret).sign(f"{event_id}.{int(at.timestamp())}.{body}".encode())
    return f"v1a,{base64.b64encode(signed).decode()}"


def _ed25519(secret: str) -> Ed25519PrivateKey:
    seed = base64.b64decode(secret.removeprefix(_PRIVATE), validate=True)
    return Ed25519PrivateKey.from_private_bytes(seed)
