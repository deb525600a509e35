"""The transactional outbox of webhook events.

Events are written in the transaction that ends a job, so a crash can neither lose an event nor send
one for a rolled-back end. A tenant without endpoints costs one query per ended job.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.records import webhook_message as messages
from prover.records.batch import BatchState, ItemState
from prover.records.job import JobKind, JobState
from prover.records.webhook import DeliveryState
from prover.store.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_events


def publish(
    conn: sa.Connection,
    tenant: str,
    event_type: str,
    data: dict[str, Any],
    now: datetime,
    *,
    only: str | None = None,
    but: str | None = None,
) -> str | None:
    """Queues an event for each of the tenant's endpoints that subscribe to it; returns its id, or
    None without endpoints. ``only`` sends to that endpoint regardless of its subscription, ``but``
    excludes one. A disabled endpoint gets it as missed, for a replay."""
    query = sa.select(
        webhook_endpoints.c.id, webhook_endpoints.c.events, webhook_endpoints.c.disabled
    ).where(webhook_endpoints.c.tenant == tenant)
    heard = [
        row
        for row in conn.execute(query)
        if (row.id == only if only else messages.wanted(event_type, row.events) and row.id != but)
    ]
    if not heard:
        return None
    event_id = f"msg_{secrets.token_hex(16)}"
    conn.execute(
        sa.insert(webhook_events).values(
            id=event_id,
            tenant=tenant,
            type=event_type,
            payload=messages.payload(event_type, now, data),
            at=now,
        )
    )
    conn.execute(
        sa.insert(webhook_deliveries),
        [_delivery(row, event_id, now) for row in heard],
    )
    return event_id


def job_ended(conn: sa.Connection, row: sa.Row[Any], now: datetime) -> None:
    """Publishes the end of a job, unless it is part of a batch. ``row``: of the table of jobs."""
    state, kind = JobState(row.state), JobKind(row.kind)
    group = messages.group_of_job(kind)
    if group is None or not state.terminal:
        return
    data = messages.job_data(
        kind,
        row.id,
        state,
        model_id=row.model_id,
        circuit_id=row.circuit_id,
        problem=row.problem,
        client_id=row.request.get("client_id"),
        metadata=row.metadata,
    )
    publish(conn, row.tenant, f"{group}.{state.value}", data, now)


def batch_ended(
    conn: sa.Connection,
    batch: sa.Row[Any],
    state: BatchState,
    counts: Mapping[ItemState, int],
    problem: dict[str, Any] | None,
    now: datetime,
) -> None:
    """Publishes the end of a batch. ``batch`` is its row before the end."""
    data = messages.batch_data(
        batch.id,
        state.value,
        model_id=batch.model_id,
        counts={item.value: count for item, count in counts.items()},
        problem=problem,
    )
    publish(conn, batch.tenant, f"batch.{state.value}", data, now)


def _delivery(row: Any, event_id: str, now: datetime) -> dict[str, Any]:
    missed = row.disabled is not None
    return {
        "endpoint_id": row.id,
        "event_id": event_id,
        "event_at": now,
        "state": (DeliveryState.MISSED if missed else DeliveryState.PENDING).value,
        "next_at": None if missed else now,
        "queued_at": now,
        "tries": 0,
        "attempts": 0,
    }
