"""The queue of webhook deliveries: claim due ones, record their outcome.

A claimed delivery is due again when its lease expires. If a process dies after its request and
before recording it, another process sends the event again, which the specification allows.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.records.webhook import Attempt, DeliveryState, DisabledReason, Due, WebhookCounts
from prover.store.database import Repository
from prover.store.webhook_endpoints import disable, endpoint_of
from prover.store.webhook_tables import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
)

_PENDING = webhook_deliveries.c.state == DeliveryState.PENDING.value


class WebhookQueue(Repository):
    """Deliveries of all tenants, in every view."""

    def take_webhooks(
        self, limit: int, *, lease_s: float, per_endpoint: int, but: Collection[str] = ()
    ) -> list[Due]:
        """Claims at most ``limit`` due deliveries, longest waiting first, at most ``per_endpoint``
        per endpoint and none of the endpoints in ``but``."""
        now = self._now()
        ready = _ready(now, but, per_endpoint, limit)
        with self._db.read() as conn:
            found = [(row.endpoint_id, row.event_id) for row in conn.execute(ready)]
        if not found:
            return []
        taken: list[Due] = []
        with self._db.write() as conn:
            for endpoint_id, event_id in found:
                due = _take(conn, endpoint_id, event_id, now, now + timedelta(seconds=lease_s))
                if due is not None:
                    taken.append(due)
        return taken

    def note_webhook(
        self,
        due: Due,
        attempt: Attempt,
        *,
        delivered: bool,
        next_at: datetime | None,
        disabled: DisabledReason | None,
        pause: timedelta | None,
    ) -> DisabledReason | None:
        """Records an attempt: delivered, to be retried at ``next_at``, or abandoned.

        ``disabled`` disables the endpoint; so does an abandoned delivery if none has succeeded
        since it was queued (``FAILING``). ``pause`` delays all deliveries to the endpoint. Returns
        the reason if this call disabled it. A late outcome, after another process claimed the
        delivery or it was missed, is only logged.
        """
        now = self._now()
        with self._db.write() as conn:
            row = conn.execute(
                sa.select(webhook_endpoints)
                .where(webhook_endpoints.c.id == due.endpoint.id)
                .with_for_update()
            ).one_or_none()
            if row is None:
                return None  # deleted meanwhile, with its log
            conn.execute(
                sa.insert(webhook_attempts).values(
                    endpoint_id=due.endpoint.id,
                    event_id=due.event_id,
                    number=attempt.number,
                    at=attempt.at,
                    status=attempt.status,
                    error=attempt.error,
                    duration_s=attempt.duration_s,
                )
            )
            state = DeliveryState.PENDING
            if delivered:
                state = DeliveryState.DELIVERED
            elif next_at is None:
                state = DeliveryState.FAILED
            of = webhook_deliveries.c
            noted = conn.execute(
                sa.update(webhook_deliveries)
                .where(of.endpoint_id == due.endpoint.id, of.event_id == due.event_id)
                .where(_PENDING, of.attempts == due.number)
                .values(state=state.value, next_at=None if delivered else next_at)
            )
            abandoned = state is DeliveryState.FAILED and noted.rowcount == 1
            last = row.delivered_at
            if abandoned and (last is None or last < due.queued_at):
                disabled = disabled or DisabledReason.FAILING
            return _note_endpoint(conn, row, now, delivered, disabled, pause)

    def purge_webhooks(self, before: datetime) -> None:
        """Deletes events older than ``before`` with their deliveries."""
        old = webhook_deliveries.c.event_at < before
        over = sa.and_(old, sa.not_(_PENDING))
        gone = sa.select(webhook_deliveries.c.event_id).where(
            over,
            webhook_deliveries.c.endpoint_id == webhook_attempts.c.endpoint_id,
            webhook_deliveries.c.event_id == webhook_attempts.c.event_id,
        )
        kept = sa.select(webhook_deliveries.c.event_id)
        with self._db.write() as conn:
            conn.execute(sa.delete(webhook_attempts).where(gone.exists()))
            conn.execute(sa.delete(webhook_deliveries).where(over))
            conn.execute(
                sa.delete(webhook_events).where(
                    webhook_events.c.at < before, webhook_events.c.id.not_in(kept)
                )
            )

    def count_webhooks(self) -> WebhookCounts:
        """Counts of this view's endpoints and deliveries, by state."""
        now = self._now()
        of = webhook_deliveries.c
        mine = self._mine(webhook_endpoints)
        with self._db.read() as conn:
            query = (
                sa.select(of.state, sa.func.count())
                .join(webhook_endpoints, webhook_endpoints.c.id == of.endpoint_id)
                .where(*mine)
                .group_by(of.state)
            )
            states = {state: int(count) for state, count in conn.execute(query)}
            off = webhook_endpoints.c.disabled.is_not(None)
            total, disabled = conn.execute(
                sa.select(sa.func.count(), sa.func.count(sa.case((off, 1)))).where(*mine)
            ).one()
            oldest = conn.scalar(
                sa.select(sa.func.min(of.next_at))
                .join(webhook_endpoints, webhook_endpoints.c.id == of.endpoint_id)
                .where(_PENDING, *mine)
            )
        late = 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
        return WebhookCounts(
            enabled=total - disabled,
            disabled=disabled,
            pending=states.get(DeliveryState.PENDING.value, 0),
            failed=states.get(DeliveryState.FAILED.value, 0),
            missed=states.get(DeliveryState.MISSED.value, 0),
            delivered=states.get(DeliveryState.DELIVERED.value, 0),
            oldest_due_s=late,
        )


def _ready(now: datetime, but: Collection[str], per_endpoint: int, limit: int) -> sa.Select[Any]:
    """Due deliveries, limited per endpoint so that one receiver cannot delay the others."""
    of, to = webhook_deliveries.c, webhook_endpoints.c
    place = sa.func.row_number().over(partition_by=of.endpoint_id, order_by=of.next_at)
    due = (
        sa.select(of.endpoint_id, of.event_id, of.next_at, place.label("place"))
        .join(webhook_endpoints, to.id == of.endpoint_id)
        .where(_PENDING, of.next_at <= now, to.disabled.is_(None))
        .where(sa.or_(to.paused_until.is_(None), to.paused_until <= now))
        .where(of.endpoint_id.not_in(list(but)))
        .subquery()
    )
    return (
        sa.select(due.c.endpoint_id, due.c.event_id)
        .where(due.c.place <= per_endpoint)
        .order_by(due.c.next_at)
        .limit(limit)
    )


def _take(
    conn: sa.Connection, endpoint_id: str, event_id: str, now: datetime, until: datetime
) -> Due | None:
    """Claims with one conditional UPDATE, which succeeds for one of two processes."""
    of = webhook_deliveries.c
    row = conn.execute(
        sa.update(webhook_deliveries)
        .where(of.endpoint_id == endpoint_id, of.event_id == event_id)
        .where(_PENDING, of.next_at <= now)
        .values(next_at=until, tries=of.tries + 1, attempts=of.attempts + 1)
        .returning(of.tries, of.attempts, of.queued_at)
    ).one_or_none()
    if row is None:
        return None
    endpoint = conn.execute(
        sa.select(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)
    ).one()
    payload = conn.scalar(
        sa.select(webhook_events.c.payload).where(webhook_events.c.id == event_id)
    )
    assert payload is not None
    return Due(
        endpoint=endpoint_of(endpoint),
        event_id=event_id,
        payload=payload,
        number=row.attempts,
        tries=row.tries,
        queued_at=row.queued_at,
    )


def _note_endpoint(
    conn: sa.Connection,
    row: sa.Row[Any],
    now: datetime,
    delivered: bool,
    disabled: DisabledReason | None,
    pause: timedelta | None,
) -> DisabledReason | None:
    if delivered:
        values: dict[str, Any] = {"failing_since": None, "delivered_at": now, "paused_until": None}
    else:
        values = {"failing_since": row.failing_since or now}
        if pause is not None:
            values["paused_until"] = now + pause
    conn.execute(
        sa.update(webhook_endpoints).where(webhook_endpoints.c.id == row.id).values(**values)
    )
    if disabled is None or row.disabled is not None:
        return None
    disable(conn, row, disabled, now)
    return disabled
