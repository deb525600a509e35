"""The payloads of webhooks: an event type, ids and links.

They contain no inputs or outputs; a receiver fetches those with its own key.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from prover.records.job import JobKind, JobState

_ENDS = tuple(state.value for state in JobState if state.terminal)
#: Event types: the end of a proof, of a circuit's build, or of a batch.
GROUPS = ("proof", "circuit", "batch")
TEST = "endpoint.test"
DISABLED = "endpoint.disabled"
TYPES = (*(f"{group}.{end}" for group in GROUPS for end in _ENDS), DISABLED, TEST)
#: What an endpoint can subscribe to: a type, or all of a group.
FILTERS = (*TYPES, *(f"{group}.*" for group in (*GROUPS, "endpoint")))

#: The specification asks for small payloads; receivers may reject larger ones.
MAX_BYTES = 20_000
_OF_JOBS = {JobKind.PROOF: "proof", JobKind.CIRCUIT: "circuit"}


def wanted(event_type: str, filters: Collection[str] | None) -> bool:
    """Whether an endpoint with these filters gets the event; None: all events."""
    group = event_type.partition(".")[0]
    return filters is None or event_type in filters or f"{group}.*" in filters


def payload(event_type: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """The body of a webhook, as in the specification."""
    return {"type": event_type, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}


def group_of_job(kind: JobKind) -> str | None:
    """The event group of a job; None for the jobs of a batch, which has its own event."""
    return _OF_JOBS.get(kind)


def job_data(
    kind: JobKind,
    job_id: str,
    state: JobState,
    *,
    model_id: str,
    circuit_id: str,
    problem: dict[str, Any] | None,
    client_id: str | None,
    metadata: dict[str, str] | None,
) -> dict[str, Any]:
    """Data of the end of a proof or of a circuit's build."""
    own = f"/v1/circuits/{circuit_id}" if kind is JobKind.CIRCUIT else f"/v1/proofs/{job_id}"
    links = {"self": own}
    if kind is JobKind.PROOF and state is JobState.SUCCEEDED:
        links |= {part: f"{own}/{part}" for part in ("receipt", "proof", "bundle")}
    data = {
        "id": job_id,
        "state": state.value,
        "model": model_id,
        "circuit": circuit_id,
        "problem": _brief(problem),
        "metadata": metadata or {},
        "links": links,
    }
    return data if client_id is None else {**data, "client_id": client_id}


def batch_data(
    batch_id: str, state: str, *, model_id: str, counts: dict[str, int], problem: Any
) -> dict[str, Any]:
    """Data of the end of a batch; ``counts`` has its items by state."""
    own = f"/v1/batches/{batch_id}"
    return {
        "id": batch_id,
        "state": state,
        "model": model_id,
        "items": counts,
        "problem": _brief(problem),
        "links": {"self": own, "items": f"{own}/items", "bundle": f"{own}/bundle"},
    }


def _brief(problem: dict[str, Any] | None) -> dict[str, Any] | None:
    """The machine-readable fields of a problem; the job has the full text."""
    if problem is None:
        return None
    return {"code": problem["code"], "retryable": problem["retryable"]}
