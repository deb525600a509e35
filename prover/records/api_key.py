"""API keys of the HTTP service. (``prover.statement.keys`` has the keys that sign receipts.)

A key is shown once, when it is created::

    zkml_<id>_<secret>        id: 12 hex digits; secret: 256 random bits, base64url

The id is public: it names the key in lists and logs. Only the SHA-256 of the secret is stored. A
slow hash would add nothing: 256 random bits cannot be guessed from their hash.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from prover.errors import ApiKeyExpired, ApiKeyInvalid, ApiKeyRevoked, OriginInvalid

#: https, and http for development.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::[1-9][0-9]{0,4})?")
_TOKEN = re.compile(r"(zkml_[0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: Length of the key id at the start of a token.
ID_LENGTH = len("zkml_") + 12
#: Compared with if there is no such key, so that both cases take the same time.
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


class Scope(enum.StrEnum):
    """What a key allows. ``proofs`` includes reading models and circuits."""

    MODELS = "models"  # upload models, build circuits
    PROOFS = "proofs"  # request proofs and batches, and read them
    VERIFY = "verify"  # verify bundles
    ADMIN = "admin"  # all of these, and settings of the tenant
    OPERATOR = "operator"  # metrics of the whole service; not included in admin


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as stored: ``hash`` is the SHA-256 of its secret, in hex."""

    id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    hash: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    requests_per_minute: int | None = None  # None: the setting; 0: unlimited
    origins: frozenset[str] = frozenset()  # web origins that may use the key

    def check_in_force(self, now: datetime) -> None:
        """Raises ``ApiKeyRevoked`` or ``ApiKeyExpired``."""
        if self.revoked_at is not None:
            raise ApiKeyRevoked(key=self.id)
        if self.expires_at is not None and self.expires_at <= now:
            raise ApiKeyExpired(key=self.id)


def new_api_key(
    *,
    tenant: str,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
    origins: frozenset[str] = frozenset(),
) -> tuple[ApiKey, str]:
    """A new key, to be stored, and its token, to be shown once and not stored."""
    key_id, secret = f"zkml_{secrets.token_hex(6)}", secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id,
        tenant=tenant,
        name=name,
        scopes=scopes,
        hash=_hash(secret),
        created_at=now,
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
        origins=origins,
    )
    return key, f"{key_id}_{secret}"


def read_origin(text: str) -> str:
    """An origin as browsers send it: scheme, host, and port unless it is the default.

    Raises ``OriginInvalid``.
    """
    if not _ORIGIN.fullmatch(text):
        raise OriginInvalid(f"{text[:100]!r} is not a web origin.")
    return text


def split_token(token: str) -> tuple[str, str]:
    """The id and the secret of a token. Raises ``ApiKeyInvalid``."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ApiKeyInvalid
    return found[1], found[2]


def check_secret(key: ApiKey | None, secret: str, now: datetime) -> ApiKey:
    """The key, if the secret matches and the key is in force.

    Takes constant time, also if there is no such key. Raises ``ApiKeyInvalid``; for a matching
    secret also ``ApiKeyRevoked`` and ``ApiKeyExpired``.
    """
    same = hmac.compare_digest(_hash(secret), _NOBODY if key is None else key.hash)
    if key is None or not same:
        raise ApiKeyInvalid
    key.check_in_force(now)
    return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
