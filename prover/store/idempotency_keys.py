"""The table of idempotency keys, by tenant and key."""

from __future__ import annotations

import math
import secrets
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.idempotency import (
    KEPT,
    LOCK_S,
    Claim,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    KeptResponse,
    Replay,
)
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
    sa.Column("response", Json),  # null: nothing was made yet
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Index(None, "expires_at"),
)
_of = idempotency_keys.c
#: Expired keys that one new key takes with it.
_SWEPT = 100


class IdempotencyKeys(Repository):
    """Keys of this view's tenant."""

    def begin_request(self, key: str, fingerprint: str) -> Claim | Replay:
        """Locks the key for a request, or gives what the same request made before.

        ``fingerprint`` says which request it is. Raises ``IdempotencyKeyReused`` when the key made
        something for another one, ``IdempotencyInProgress``.
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
            if row.response is not None:
                if not same:
                    raise IdempotencyKeyReused
                kept = KeptResponse(**row.response)
                return Replay(resource_id=row.resource_id, response=kept)
            if row.locked_until > now:
                if not same:
                    raise IdempotencyKeyReused
                left = (row.locked_until - now).total_seconds()
                raise IdempotencyInProgress(retry_after_s=max(1, min(math.ceil(left), 2)))
            # The first try made nothing that it could note. If it was this request, what it may
            # have made all the same has the id that is given out again.
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
        """Renews a lock; call it a few times within ``LOCK_S``."""
        self._change_key(claim, locked_until=self._now() + timedelta(seconds=LOCK_S))

    def end_request(self, claim: Claim, response: KeptResponse) -> None:
        """Keeps the first response: something was made."""
        self._change_key(claim, response=asdict(response))

    def free_request(self, claim: Claim) -> None:
        """Nothing was made, as far as is known: the key may be used again."""
        self._change_key(claim, locked_until=self._now())

    def _change_key(self, claim: Claim, **values: Any) -> None:
        """Changes a key that is still this claim's; another's is left as it is."""
        with self._db.write() as conn:
            conn.execute(
                sa.update(idempotency_keys)
                .where(*self._one(claim.key), _of.token == claim.token, _of.response.is_(None))
                .values(**values)
            )

    def _one(self, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (_of.tenant == self._owner, _of.key == key)


def _forget_old(conn: sa.Connection, now: datetime) -> None:
    """Each new key takes some old ones with it: no sweep is needed."""
    old = (
        sa.select(_of.tenant, _of.key)
        .where(_of.expires_at <= now)
        .limit(_SWEPT)
        .with_for_update(skip_locked=True)
    )
    for row in conn.execute(old).all():
        conn.execute(
            sa.delete(idempotency_keys).where(_of.tenant == row.tenant, _of.key == row.key)
        )
