"""The table of idempotency keys, by tenant and key. ``api.idempotency`` replays the responses."""

from __future__ import annotations

import math
import secrets
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.records.idempotency import (
    KEPT,
    LOCK_S,
    Claim,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    KeptResponse,
    KeyedRequest,
    Replay,
)
from prover.records.job import Job
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.schema import Json, UtcTime, metadata

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),  # of the request
    sa.Column("resource_id", sa.String(80), nullable=False),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("locked_until", UtcTime, nullable=False),
    sa.Column("response", Json),  # null: nothing was created yet
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Index(None, "expires_at"),
)
_of = idempotency_keys.c
#: Expired keys that are deleted with a new one; one in ``_SELDOM`` keys of jobs does it.
_SWEPT, _SELDOM = 100, 8
_OLD = (
    sa.select(_of.tenant, _of.key)
    .where(_of.expires_at <= sa.bindparam("now"))
    .limit(_SWEPT)
    .with_for_update(skip_locked=True)
)
_KEPT = sa.select(idempotency_keys).where(
    _of.tenant == sa.bindparam("tenant"),
    _of.key == sa.bindparam("key"),
    _of.expires_at > sa.bindparam("now"),
)


class IdempotencyKeys(Repository):
    """Keys of this view's tenant."""

    def find_request(self, key: str, fingerprint: str) -> Replay | None:
        """The earlier result of the same request, or None. Raises as ``begin_request``."""
        now = self._now()
        with self._db.read() as conn:
            mine = {"tenant": self._owner, "key": key, "now": now}
            row = conn.execute(_KEPT, mine).one_or_none()
        return None if row is None else _replay(row, fingerprint, now)

    def begin_request(self, key: str, fingerprint: str) -> Claim | Replay:
        """Locks the key for a request, or returns the earlier result of the same request.

        ``fingerprint`` identifies the request. Raises ``IdempotencyKeyReused`` if the key was used
        for another request, ``IdempotencyInProgress``.
        """
        now = self._now()
        with self._db.write() as conn:
            _forget_old(conn, now)
            token, resource = secrets.token_hex(16), secrets.token_hex(16)
            is_new = insert_if_absent(
                conn,
                idempotency_keys,
                tenant=self._owner,
                key=key,
                fingerprint=fingerprint,
                resource_id=resource,
                token=token,
                locked_until=now + timedelta(seconds=LOCK_S),
                expires_at=now + KEPT,
            )
            if is_new:
                return Claim(key=key, token=token, resource_id=resource)
            row = conn.execute(
                sa.select(idempotency_keys).where(*self._one(key)).with_for_update()
            ).one()
            same = row.fingerprint == fingerprint
            replay = _replay(row, fingerprint, now)
            if replay is not None:
                return replay
            # The first attempt recorded no result. If it was the same request and created something
            # all the same, that has the id that is reused here.
            resource = row.resource_id if same else resource
            conn.execute(
                sa.update(idempotency_keys)
                .where(*self._one(key))
                .values(
                    fingerprint=fingerprint,
                    resource_id=resource,
                    token=token,
                    locked_until=now + timedelta(seconds=LOCK_S),
                )
            )
            return Claim(key=key, token=token, resource_id=resource)

    def keep_request_locked(self, claim: Claim) -> None:
        """Renews a lock; call it several times per ``LOCK_S``."""
        self._change_key(claim, locked_until=self._now() + timedelta(seconds=LOCK_S))

    def end_request(self, claim: Claim, response: KeptResponse) -> None:
        """Stores the first response, after something was created."""
        self._change_key(claim, response=asdict(response))

    def free_request(self, claim: Claim) -> None:
        """Frees a key that seems to have created nothing."""
        self._change_key(claim, locked_until=self._now())

    def _change_key(self, claim: Claim, **values: Any) -> None:
        """Changes a key if this claim still holds it."""
        with self._db.write() as conn:
            conn.execute(
                sa.update(idempotency_keys)
                .where(*self._one(claim.key), _of.token == claim.token, _of.response.is_(None))
                .values(**values)
            )

    def _one(self, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (_of.tenant == self._owner, _of.key == key)


def keep_response(
    conn: sa.Connection, tenant: str, request: KeyedRequest, job: Job, now: datetime
) -> None:
    """Stores the response in the transaction that creates the job. Raises
    ``IdempotencyInProgress`` if another request took the key meanwhile."""
    if secrets.randbelow(_SELDOM) == 0:
        _forget_old(conn, now)
    values = {
        "fingerprint": request.fingerprint,
        "resource_id": job.id,
        "token": "",  # immutable
        "locked_until": now,
        "response": vars(request.respond(job)),
        "expires_at": now + KEPT,
    }
    if insert_if_absent(conn, idempotency_keys, tenant=tenant, key=request.key, **values):
        return
    free = sa.and_(_of.response.is_(None), _of.locked_until <= now)
    taken = conn.execute(
        sa.update(idempotency_keys)
        .where(_of.tenant == tenant, _of.key == request.key, sa.or_(free, _of.expires_at <= now))
        .values(**values)
    )
    if taken.rowcount == 0:
        raise IdempotencyInProgress(retry_after_s=1)


def _replay(row: sa.Row[Any], fingerprint: str, now: datetime) -> Replay | None:
    """The stored response for the request, an error, or None."""
    free = row.response is None and row.locked_until <= now
    if free:
        return None
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    if row.response is None:
        left = (row.locked_until - now).total_seconds()
        raise IdempotencyInProgress(retry_after_s=max(1, min(math.ceil(left), 2)))
    return Replay(resource_id=row.resource_id, response=KeptResponse(**row.response))


def _forget_old(conn: sa.Connection, now: datetime) -> None:
    """Deletes some old keys, so that no sweep is needed."""
    for row in conn.execute(_OLD, {"now": now}).all():
        conn.execute(
            sa.delete(idempotency_keys).where(_of.tenant == row.tenant, _of.key == row.key)
        )
