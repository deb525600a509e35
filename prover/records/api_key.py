"""API keys: who may ask this service for what. (``prover.statement.keys`` has the keys that sign
receipts.)

A key is shown once, when it is made::

    zkml_<id>_<secret>        id: 12 hex digits; secret: 256 random bits, base64url

The id is public: it names the key in lists and logs. Of the secret only its SHA-256 is stored. A
slow hash would add nothing: a secret of 256 random bits cannot be guessed, whoever has its hash.
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

#: https anywhere; http for pages under development.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::[1-9][0-9]{0,4})?")
_TOKEN = re.compile(r"(zkml_[0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: Characters of a key's id, with which its token begins.
ID_LENGTH = len("zkml_") + 12
#: What is compared with when there is no key of that id, so that both answers take as long.
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


class Scope(enum.StrEnum):
    """What a key allows. Reading models and circuits is part of ``proofs`` too."""

    MODELS = "models"  # upload models, build circuits
    PROOFS = "proofs"  # ask for proofs and batches, and read them
    VERIFY = "verify"  # have bundles verified
    ADMIN = "admin"  # all of these, and what concerns the whole tenant
    OPERATOR = "operator"  # figures of the whole service, of all tenants: not part of admin


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
    requests_per_minute: int | None = None  # None: as the settings say; 0: any number
    origins: frozenset[str] = frozenset()  # of web pages whose scripts may use it

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
    """A new key, to be stored, and its token, to be shown once and kept nowhere."""
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
    """An origin as browsers send it: scheme, host, and a port that is not the scheme's own.

    Raises ``OriginInvalid``.
    """
    if not _ORIGIN.fullmatch(text):
        raise OriginInvalid(f"{text[:100]!r} is not the origin of a web page.")
    return text


def split_token(token: str) -> tuple[str, str]:
    """The id and the secret of a token. Raises ``ApiKeyInvalid``."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ApiKeyInvalid
    return found[1], found[2]


def check_secret(key: ApiKey | None, secret: str, now: datetime) -> ApiKey:
    """The key, if the secret is its own and it is in force.

    The comparison takes the same time for every secret and also where there is no such key.
    Raises ``ApiKeyInvalid``; ``ApiKeyRevoked`` and ``ApiKeyExpired`` only to who has the secret.
    """
    same = hmac.compare_digest(_hash(secret), _NOBODY if key is None else key.hash)
    if key is None or not same:
        raise ApiKeyInvalid
    key.check_in_force(now)
    return key


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
