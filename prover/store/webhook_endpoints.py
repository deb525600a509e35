"""Webhook endpoints for tenants, with the log of each endpoint's deliveries."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.records import webhook_message as messages
from prover.records.webhook import (
    Attempt,
    Delivery,
    DeliveryState,
    DisabledReason,
    Endpoint,
    SignatureScheme,
)
from prover.records.webhook_errors import (
    WebhookEndpointDisabled,
    WebhookEndpointLimit,
    WebhookEndpointNotFound,
    WebhookReplayWindow,
)
from prover.store.database import Repository
from prover.store.outbox import publish
from prover.store.pages import Page, rows_of_page
from prover.store.webhook_tables import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
)

#: The most endpoints of a tenant.
MAX_ENDPOINTS = 50
#: Retention of events, which limits replays.
KEPT = timedelta(days=7)


class WebhookEndpoints(Repository):
    """Endpoints by id, in this view. All but the first two raise ``WebhookEndpointNotFound``."""

    def create_webhook_endpoint(
        self,
        url: str,
        *,
        events: tuple[str, ...] | None,
        description: str,
        scheme: SignatureScheme,
        secret: str,
        id: str | None = None,
    ) -> Endpoint:
        """A new enabled endpoint; with a caller's ``id``, the existing one. Raises
        ``WebhookEndpointLimit``."""
        endpoint_id = id or f"whe_{secrets.token_hex(12)}"
        with self._db.write() as conn:
            mine = sa.select(webhook_endpoints).where(*self._mine(webhook_endpoints))
            known = conn.execute(mine.where(webhook_endpoints.c.id == endpoint_id)).one_or_none()
            if known is not None:
                return endpoint_of(known)
            count = conn.scalar(sa.select(sa.func.count()).select_from(mine.subquery()))
            if (count or 0) >= MAX_ENDPOINTS:
                raise WebhookEndpointLimit(f"A tenant has at most {MAX_ENDPOINTS} endpoints.")
            conn.execute(
                sa.insert(webhook_endpoints).values(
                    id=endpoint_id,
                    tenant=self._owner,
                    url=url,
                    events=None if events is None else list(events),
                    description=description,
                    scheme=scheme.value,
                    secret=secret,
                    created_at=self._now(),
                )
            )
            return endpoint_of(self._endpoint_row(conn, endpoint_id))

    def webhook_endpoints(
        self, limit: int = 50, cursor: str | None = None, *, disabled: bool | None = None
    ) -> Page[Endpoint]:
        """Endpoints, newest first: all, only disabled or only enabled ones. Raises
        ``CursorInvalid``."""
        query = sa.select(webhook_endpoints).where(*self._mine(webhook_endpoints))
        if disabled is not None:
            query = query.where(webhook_endpoints.c.disabled.is_(None) != disabled)
        key, at = webhook_endpoints.c.id, webhook_endpoints.c.created_at
        with self._db.read() as conn:
            rows, after = rows_of_page(conn, query, key, at, limit=limit, cursor=cursor)
        return Page(items=[endpoint_of(row) for row in rows], next_cursor=after)

    def webhook_endpoint(self, endpoint_id: str) -> Endpoint:
        """One endpoint."""
        with self._db.read() as conn:
            return endpoint_of(self._endpoint_row(conn, endpoint_id))

    def change_webhook_endpoint(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: tuple[str, ...] | None = None,
        all_events: bool = False,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Changes the given fields. Disabling marks pending deliveries as missed; enabling starts
        with new events (use ``replay_webhooks`` for missed ones)."""
        values: dict[str, Any] = {}
        if url is not None:
            values |= {"url": url, "failing_since": None, "paused_until": None}
        if events is not None or all_events:
            values["events"] = None if all_events else list(events or ())
        if description is not None:
            values["description"] = description
        now = self._now()
        with self._db.write() as conn:
            row = self._endpoint_row(conn, endpoint_id, lock=True)
            if enabled is True and row.disabled is not None:
                values |= _ENABLED
            elif enabled is False and row.disabled is None:
                disable(conn, row, DisabledReason.REQUESTED, now)
            if values:
                conn.execute(_update(endpoint_id).values(**values))
            return endpoint_of(self._endpoint_row(conn, endpoint_id))

    def rotate_webhook_secret(self, endpoint_id: str, secret: str, overlap: timedelta) -> Endpoint:
        """Sets a new secret; the previous one also signs until the end of ``overlap``."""
        with self._db.write() as conn:
            row = self._endpoint_row(conn, endpoint_id, lock=True)
            conn.execute(
                _update(endpoint_id).values(
                    secret=secret,
                    previous_secret=row.secret if overlap else None,
                    previous_until=self._now() + overlap if overlap else None,
                )
            )
            return endpoint_of(self._endpoint_row(conn, endpoint_id))

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Deletes an endpoint and its log; nothing more is sent to it."""
        with self._db.write() as conn:
            self._endpoint_row(conn, endpoint_id, lock=True)
            for table in (webhook_attempts, webhook_deliveries):
                conn.execute(sa.delete(table).where(table.c.endpoint_id == endpoint_id))
            conn.execute(sa.delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id))

    def test_webhook(self, endpoint_id: str) -> str:
        """Queues an ``endpoint.test`` event for this endpoint; returns the event's id. Raises
        ``WebhookEndpointDisabled``."""
        with self._db.write() as conn:
            row = self._endpoint_row(conn, endpoint_id, lock=True)
            _refuse_disabled(row)
            data = {"id": endpoint_id, "links": {"self": f"/v1/webhook-endpoints/{endpoint_id}"}}
            event_id = publish(conn, row.tenant, messages.TEST, data, self._now(), only=endpoint_id)
            assert event_id is not None
            return event_id

    def replay_webhooks(
        self, endpoint_id: str, since: datetime, until: datetime | None, *, delivered: bool
    ) -> int:
        """Requeues the endpoint's missed events from ``since`` to ``until`` (default: now); with
        ``delivered`` also the delivered ones. Returns their number. Events keep their ids.

        Raises ``WebhookReplayWindow`` for a ``since`` before the retention time,
        ``WebhookEndpointDisabled``.
        """
        now = self._now()
        if since < now - KEPT:
            raise WebhookReplayWindow(f"Events are kept for {KEPT.days} days.", days=KEPT.days)
        states = [DeliveryState.MISSED, DeliveryState.FAILED]
        if delivered:
            states.append(DeliveryState.DELIVERED)
        of = webhook_deliveries.c
        with self._db.write() as conn:
            _refuse_disabled(self._endpoint_row(conn, endpoint_id, lock=True))
            queued = conn.execute(
                sa.update(webhook_deliveries)
                .where(of.endpoint_id == endpoint_id, of.state.in_([s.value for s in states]))
                .where(of.event_at >= since, of.event_at <= (until or now))
                .values(state=DeliveryState.PENDING.value, next_at=now, queued_at=now, tries=0)
            )
            return int(queued.rowcount)

    def webhook_deliveries(
        self,
        endpoint_id: str,
        limit: int = 50,
        cursor: str | None = None,
        *,
        state: DeliveryState | None = None,
    ) -> Page[Delivery]:
        """An endpoint's deliveries, newest event first, with all attempts. Raises
        ``CursorInvalid``."""
        of = webhook_deliveries.c
        query = (
            sa.select(
                webhook_deliveries,
                webhook_events.c.type,
                of.event_id.label("id"),
                of.event_at.label("created_at"),
            )
            .join(webhook_events, webhook_events.c.id == of.event_id)
            .where(of.endpoint_id == endpoint_id)
        )
        if state is not None:
            query = query.where(of.state == state.value)
        with self._db.read() as conn:
            self._endpoint_row(conn, endpoint_id)
            rows, after = rows_of_page(
                conn,
                query,
                of.event_id,
                of.event_at,
                limit=limit,
                cursor=cursor,
            )
            log = _attempts(conn, endpoint_id, [row.event_id for row in rows])
        return Page(
            items=[_delivery_of(row, log.get(row.event_id, ())) for row in rows], next_cursor=after
        )

    def _endpoint_row(
        self, conn: sa.Connection, endpoint_id: str, *, lock: bool = False
    ) -> sa.Row[Any]:
        query = sa.select(webhook_endpoints).where(
            webhook_endpoints.c.id == endpoint_id, *self._mine(webhook_endpoints)
        )
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise WebhookEndpointNotFound(f"There is no webhook endpoint {endpoint_id!r}.")
        return row


_ENABLED = {"disabled": None, "disabled_at": None, "failing_since": None, "paused_until": None}


def disable(conn: sa.Connection, row: sa.Row[Any], reason: DisabledReason, now: datetime) -> None:
    """Disables an endpoint and notifies the tenant's other endpoints."""
    conn.execute(_update(row.id).values(disabled=reason.value, disabled_at=now))
    of = webhook_deliveries.c
    conn.execute(
        sa.update(webhook_deliveries)
        .where(of.endpoint_id == row.id, of.state == DeliveryState.PENDING.value)
        .values(state=DeliveryState.MISSED.value, next_at=None)
    )
    data = {
        "id": row.id,
        "reason": reason.value,
        "links": {"self": f"/v1/webhook-endpoints/{row.id}"},
    }
    publish(conn, row.tenant, messages.DISABLED, data, now, but=row.id)


def endpoint_of(row: sa.Row[Any]) -> Endpoint:
    """A row of the table as an ``Endpoint``."""
    return Endpoint(
        id=row.id,
        tenant=row.tenant,
        url=row.url,
        events=None if row.events is None else tuple(row.events),
        description=row.description,
        scheme=SignatureScheme(row.scheme),
        secret=row.secret,
        previous_secret=row.previous_secret,
        previous_until=row.previous_until,
        disabled=None if row.disabled is None else DisabledReason(row.disabled),
        disabled_at=row.disabled_at,
        failing_since=row.failing_since,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )


def _update(endpoint_id: str) -> sa.Update:
    return sa.update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)


def _refuse_disabled(row: sa.Row[Any]) -> None:
    if row.disabled is not None:
        raise WebhookEndpointDisabled(f"The endpoint is disabled: {row.disabled}.")


def _attempts(
    conn: sa.Connection, endpoint_id: str, event_ids: list[str]
) -> dict[str, tuple[Attempt, ...]]:
    of = webhook_attempts.c
    query = (
        sa.select(webhook_attempts)
        .where(of.endpoint_id == endpoint_id, of.event_id.in_(event_ids))
        .order_by(of.event_id, of.number)
    )
    found: dict[str, tuple[Attempt, ...]] = {}
    for row in conn.execute(query):
        attempt = Attempt(
            number=row.number,
            at=row.at,
            status=row.status,
            error=row.error,
            duration_s=row.duration_s,
        )
        found[row.event_id] = (*found.get(row.event_id, ()), attempt)
    return found


def _delivery_of(row: sa.Row[Any], attempts: tuple[Attempt, ...]) -> Delivery:
    return Delivery(
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        event_type=row.type,
        event_at=row.event_at,
        state=DeliveryState(row.state),
        next_at=row.next_at,
        attempts=attempts,
    )
