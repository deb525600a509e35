"""Size class and predicted memory of jobs, from earlier proofs of the circuit."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from prover.admission import Place, SizeClass, Sizing
from prover.records.job import JobKind, JobState
from prover.store.schema import circuits, jobs

_RUNNING = jobs.c.state == JobState.RUNNING.value
_HEAVY = jobs.c.size.in_([size.value for size in SizeClass if size.heavy])
_TOOK = sa.select(circuits.c.prove_s, circuits.c.peak_bytes).where(
    circuits.c.tenant == sa.bindparam("tenant"), circuits.c.id == sa.bindparam("id")
)
_PROVES = (JobKind.PROOF.value, JobKind.PACK.value)


def sized(
    conn: sa.Connection, sizing: Sizing, tenant: str, kind: str, circuit_id: str
) -> dict[str, Any]:
    """The columns ``size`` and ``needs_bytes`` of a new job."""
    if kind in _PROVES:
        found = conn.execute(_TOOK, {"tenant": tenant, "id": circuit_id}).one_or_none()
        if found is not None:
            return measured(sizing, found.prove_s, found.peak_bytes)
    return {"size": SizeClass.COMPILE.value, "needs_bytes": sizing.compile_bytes}


def measured(sizing: Sizing, prove_s: float | None, peak_bytes: int | None) -> dict[str, Any]:
    """The same columns for a proof, from measurements of its circuit."""
    large = (prove_s or 0.0) > sizing.large_s
    size = SizeClass.LARGE if large else SizeClass.SMALL
    return {"size": size.value, "needs_bytes": peak_bytes}


def circuit_is_there(
    conn: sa.Connection, tenant: str, circuit_id: str, columns: dict[str, Any]
) -> None:
    """Reclassifies proofs that waited for a build, once the circuit exists."""
    conn.execute(
        sa.update(jobs)
        .where(jobs.c.circuit_id == circuit_id, jobs.c.tenant == tenant)
        .where(jobs.c.state == JobState.QUEUED.value, jobs.c.kind.in_(_PROVES))
        .values(**columns)
    )


def learn_peak(conn: sa.Connection, job: sa.Row[Any]) -> None:
    """Updates the predicted memory of the circuit's later proofs."""
    if job.kind not in _PROVES or not job.peak_rss_bytes:
        return
    known = sa.func.coalesce(circuits.c.peak_bytes, 0)
    conn.execute(
        sa.update(circuits)
        .where(circuits.c.tenant == job.tenant, circuits.c.id == job.circuit_id)
        .where(known < job.peak_rss_bytes)
        .values(peak_bytes=job.peak_rss_bytes)
    )


def has_memory(conn: sa.Connection, job: sa.Row[Any], place: Place) -> bool:
    """Whether the host has memory for a job beside its running jobs. A job that needs more than the
    whole budget runs alone."""
    if not place.memory_bytes:
        return True
    others = conn.execute(_others(place.host), {"job": job.id}).one()
    taken = int(others[1]) + (job.needs_bytes or 0)
    return others[0] == 0 or taken <= place.memory_bytes


def has_slot(conn: sa.Connection, job: sa.Row[Any], place: Place) -> bool:
    """Whether a heavy job leaves a slot for small ones, and no other large job runs on the host."""
    size = SizeClass(job.size)
    if not size.heavy:
        return True
    running = sa.select(sa.func.count()).where(_RUNNING, jobs.c.id != job.id)
    mine = running.where(_HEAVY, jobs.c.lease_owner == place.owner)
    if (conn.scalar(mine) or 0) >= place.heavy_slots:
        return False
    beside = running.where(_on(place.host), jobs.c.size == SizeClass.LARGE.value)
    return size is not SizeClass.LARGE or conn.scalar(beside) == 0


@functools.cache
def _others(host: str) -> sa.Select[Any]:
    """How many other jobs run on the host, and what they were admitted with."""
    needed = sa.func.coalesce(sa.func.sum(jobs.c.needs_bytes), 0)
    return sa.select(sa.func.count(), needed).where(
        _RUNNING, jobs.c.id != sa.bindparam("job"), _on(host)
    )


def _on(host: str) -> sa.ColumnElement[bool]:
    return jobs.c.lease_owner.startswith(f"{host}:", autoescape=True)
