"""The context of a proof (consumer, expiry, nonce), whose digest enters the circuit.

A contract can compute the digest: SHA-256 over seven 32-byte words, the ABI encoding of
``(bytes32, uint256, bytes32, uint256, uint256, uint256, bytes32)``, without the top byte, so that
it is below the field's modulus. docs/receipt.md has the byte rules.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from prover.errors import ContextInvalid

#: Domain separation of this hash.
DOMAIN = b"zkml-prover/context/v1"
#: A context digest is below ``2 ** BITS``: an element of BN254's scalar field holds it.
BITS = 248

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_MAX_TEXT = 256
_MAX_TIME = 253_402_300_800  # the year 10000, in seconds: later dates cannot be printed


@dataclass(frozen=True, kw_only=True)
class Context:
    """The context that a proof is bound to. All fields except ``job_id`` are optional.

    ``nonce``: a string of the requester (at most 256 bytes of UTF-8). ``chain_id``: below 2^256.
    ``consumer``: the address of the contract that may use the proof, ``0x`` and 40 hex digits
    (kept in lower case). ``expires_at``: seconds since 1970, UTC. ``job_id``: the prover's own.
    """

    job_id: str
    nonce: str | None = None
    chain_id: int | None = None
    consumer: str | None = None
    expires_at: int | None = None

    def __post_init__(self) -> None:
        _text("job_id", self.job_id)
        if not self.job_id:
            raise ContextInvalid("context.job_id is empty", field="job_id")
        if self.nonce is not None:
            _text("nonce", self.nonce)
        if self.chain_id is not None:
            _whole("chain_id", self.chain_id, 1 << 256)
        if self.expires_at is not None:
            _whole("expires_at", self.expires_at, _MAX_TIME)
        if self.consumer is not None:
            if not isinstance(self.consumer, str) or not _ADDRESS.match(self.consumer):
                raise ContextInvalid(
                    "context.consumer is not an address: 0x and 40 hex digits", field="consumer"
                )
            object.__setattr__(self, "consumer", self.consumer.lower())

    @classmethod
    def from_request(cls, job_id: str, request: dict[str, Any] | None) -> Context:
        """A requester's ``{"nonce", "chain_id", "consumer", "expires_at"}``, all optional.

        ``expires_at`` may also be an RFC 3339 time with its offset. Raises ``ContextInvalid``.
        """
        fields = dict(request or {})
        unknown = sorted(set(fields) - {"nonce", "chain_id", "consumer", "expires_at"})
        if unknown:
            raise ContextInvalid(f"context has unknown fields: {', '.join(map(repr, unknown))}")
        if isinstance(fields.get("expires_at"), str):
            fields["expires_at"] = _seconds(fields["expires_at"])
        return cls(job_id=job_id, **fields)

    @property
    def digest(self) -> int:
        """The 248-bit number that enters the circuit."""
        return int.from_bytes(hashlib.sha256(b"".join(self._words())).digest()[1:], "big")

    @property
    def digest_hex(self) -> str:
        """The digest as 62 hex digits, big-endian."""
        return f"{self.digest:062x}"

    def _words(self) -> list[bytes]:
        fields = (self.nonce, self.chain_id, self.consumer, self.expires_at)
        present = sum(1 << bit for bit, value in enumerate(fields) if value is not None)
        return [
            hashlib.sha256(DOMAIN).digest(),
            _word(present),
            bytes(32) if self.nonce is None else hashlib.sha256(self.nonce.encode()).digest(),
            _word(self.chain_id or 0),
            _word(int(self.consumer, 16) if self.consumer else 0),
            _word(self.expires_at or 0),
            hashlib.sha256(self.job_id.encode()).digest(),
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Context:
        return cls(**data)


def _word(n: int) -> bytes:
    return n.to_bytes(32, "big")


def _text(name: str, value: object) -> None:
    try:
        fits = isinstance(value, str) and len(value.encode()) <= _MAX_TEXT
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise ContextInvalid(f"context.{name} is not text of at most {_MAX_TEXT} bytes", field=name)


def _whole(name: str, value: object, limit: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise ContextInvalid(
            f"context.{name} is not an integer from 0 to below {_bound(limit)}",
            field=name,
        )


def _bound(limit: int) -> str:
    return str(limit) if limit == _MAX_TIME else f"2^{limit.bit_length() - 1}"


def _seconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContextInvalid(
            "context.expires_at is neither seconds nor an RFC 3339 time", field="expires_at"
        ) from error
    if moment.tzinfo is None:
        raise ContextInvalid("context.expires_at has no UTC offset", field="expires_at")
    return int(moment.astimezone(UTC).timestamp())
