"""Idempotent requests: the records of ``Idempotency-Key``.

A key is a row. A request that creates its resource in one transaction stores its response in the
same transaction (``KeyedRequest``). A longer request locks the row and stores its response at the
end. A request that created nothing frees the key. The resource's id is chosen in advance
(``Claim.resource_id``): if a first attempt is interrupted anywhere, even between the commit and
storing the response, the second attempt finds the resource and does not create it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import Fault, ZkmlError
from circuits.format.digests import canonical_json
from prover.records.job import Job

#: How long a key is kept after its first request.
KEPT = timedelta(hours=48)
#: Lifetime of a lock that is not renewed because its process died.
LOCK_S = 15.0


class IdempotencyKeyInvalid(ZkmlError):
    """The Idempotency-Key header is invalid."""

    code = "idempotency_key_invalid"
    fault = Fault.INPUT
    default_advice = "Send 1 to 255 printable ASCII characters without spaces, e.g. a UUID."


class IdempotencyKeyReused(ZkmlError):
    """The Idempotency-Key was already used for another request."""

    code = "idempotency_key_reused"
    fault = Fault.INPUT
    default_advice = "Use a new key for a new request, or repeat the first request unchanged."


class IdempotencyInProgress(ZkmlError):
    """The first request with this Idempotency-Key is still in progress."""

    code = "idempotency_in_progress"
    fault = Fault.CONFLICT
    retryable = True
    default_advice = "Send the same request again after the seconds in Retry-After."


@dataclass(frozen=True, kw_only=True)
class KeptResponse:
    """A stored first response: a JSON body, and its headers."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to serve a key's request; ``token`` is the fencing token of its writes."""

    key: str
    token: str
    resource_id: str


@dataclass(frozen=True, kw_only=True)
class KeyedRequest:
    """A request whose response is stored in the transaction that creates its job, so that both
    exist or neither. ``respond`` makes the response for the job."""

    key: str
    fingerprint: str
    respond: Callable[[Job], KeptResponse]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A request that was served before, and the id of the resource it created."""

    resource_id: str
    response: KeptResponse


def fingerprint(*parts: str | bytes) -> str:
    """The digest of a request, over unambiguously separated parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def job_id_of(tenant: str, client_id: str) -> str:
    """The id of the job that a client names ``client_id``. It can be computed before the job is
    created, and differs between tenants. docs/http.md has the byte rules."""
    named = b"\0".join((b"zkml-prover/client-id/v1", tenant.encode(), client_id.encode()))
    return hashlib.sha256(named).hexdigest()[:32]


def content_of(
    circuit_id: str,
    context: dict[str, Any] | None,
    inputs: Mapping[str, NDArray[Any]],
    *,
    isolate: bool,
    salt: str | None = None,
) -> str:
    """A digest of what a proof would say: circuit, context (without the job's id), input, whether
    it may be shared with other inputs, and the salt that was asked for, if any."""
    asked = [circuit_id, context or {}, isolate, *([salt] if salt else [])]
    digest = hashlib.sha256(canonical_json(asked))
    for name, array in sorted(inputs.items()):
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
