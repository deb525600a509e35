"""Proofs of single inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack
from urllib.parse import quote

from api.client.calls import Call, ProofFilters, as_model, file_at, get, given, idempotency, page
from api.client.models import Job, Page


def create_proof(
    *,
    model: str | None = None,
    circuit: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    input_data: list[Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    isolate: bool | None = None,
    input_salt: str | None = None,
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
    deduplicate: bool | None = None,
    urgency: int | None = None,
    client_id: str | None = None,
    wait_s: int = 0,
    idempotency_key: str | None = None,
) -> Call[Job]:
    """Proves one input; returns at once, or after at most ``wait_s`` (60) seconds.

    ``isolate``: never share the proof with other jobs. ``input_salt``: that of an input's identity,
    for another proof under it. ``deadline_s``: an unfinished job expires then. ``deduplicate``:
    return an existing proof of the same input, circuit and context. ``urgency``: order among your
    own jobs, 0 before 7; default 3. ``client_id``: your own id for the proof. ``idempotency_key``:
    random by default; pass your own to repeat a request after a crash.
    """
    body = given(
        model=model,
        circuit=circuit,
        inputs=inputs,
        input_data=input_data,
        profile=profile,
        context=context,
        isolate=isolate,
        input_salt=input_salt,
        metadata=metadata,
        deadline_s=deadline_s,
        deduplicate=deduplicate,
        urgency=urgency,
    )
    return Call(
        method="POST" if client_id is None else "PUT",
        path="/v1/proofs" if client_id is None else f"/v1/proofs/{quote(client_id, safe='')}",
        read=as_model(Job),
        headers=idempotency(idempotency_key) if client_id is None else {},
        json=body,
        wait_s=wait_s,
    )


def proof(job_id: str, *, wait_s: int = 0) -> Call[Job]:
    """A proof's job; with ``wait_s`` once it has ended, or after that time (at most 60 s)."""
    return get(f"/v1/proofs/{job_id}", Job, wait_s=wait_s)


def proofs(**where: Unpack[ProofFilters]) -> Call[Page[Job]]:
    """A page of proofs, newest first. The proofs of a batch are listed only with its ``batch``."""
    return page("/v1/proofs", Page[Job], where)


def cancel(job_id: str) -> Call[Job]:
    """Cancels a queued proof, or requests cancellation of a running one."""
    return Call(method="POST", path=f"/v1/proofs/{job_id}/cancel", read=as_model(Job))


def receipt(job_id: str) -> Call[bytes]:
    """The signed statement, a DSSE envelope."""
    return file_at(f"/v1/proofs/{job_id}/receipt")


def proof_file(job_id: str) -> Call[bytes]:
    """The bare proof."""
    return file_at(f"/v1/proofs/{job_id}/proof")


def bundle(job_id: str) -> Call[bytes]:
    """Everything that verification needs, in one file."""
    return file_at(f"/v1/proofs/{job_id}/bundle")
