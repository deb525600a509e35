"""Requests that may be sent twice: what is kept of an ``Idempotency-Key``.

A key is a row. What is made in one transaction keeps its first response with it, in the same
(``KeyedRequest``). While a longer request is under way the row is locked; once something was made
the response is kept. A request that made nothing frees the key. What a key is to make has its
id before it is made (``Claim.resource_id``), so that a first try that was cut off anywhere, even
between the commit and the note of it, is found by the second and never repeated.
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
#: A lock that nobody renews ends after so long: its process died.
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
    """A response as it was first sent: a JSON body, and the headers that belong to it."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to serve a key's request: ``token`` fences what is written about it."""

    key: str
    token: str
    resource_id: str


@dataclass(frozen=True, kw_only=True)
class KeyedRequest:
    """A request whose response is kept in the transaction that makes its job, so that there is
    never one without the other. ``respond`` says what is answered about the job."""

    key: str
    fingerprint: str
    respond: Callable[[Job], KeptResponse]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A request that was served before, and the id of what it made."""

    resource_id: str
    response: KeptResponse


def fingerprint(*parts: str | bytes) -> str:
    """One digest for a request: of parts that cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def job_id_of(tenant: str, client_id: str) -> str:
    """The id of the job that a client names ``client_id``: whoever knows both can compute it
    before the job is made, and no tenant meets another's. docs/http.md has the byte rules."""
    named = b"\0".join((b"zkml-prover/client-id/v1", tenant.encode(), client_id.encode()))
    return hashlib.sha256(named).hexdigest()[:32]


def content_of(
    circuit_id: str,
    context: dict[str, Any] | None,
    inputs: Mapping[str, NDArray[Any]],
    *,
    isolate: bool,
) -> str:
    """A digest of what a proof would say, and to whom: circuit, context (but the job's id), input,
    and whether other inputs may stand beside it."""
    digest = hashlib.sha256(canonical_json([circuit_id, context or {}, isolate]))
    for name, array in sorted(inputs.items()):
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
