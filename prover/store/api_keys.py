"""The table of API keys. Keys are never deleted; lists include revoked ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.errors import ApiKeyUnknown
from prover.records.api_key import ApiKey, Scope
from prover.store.database import Repository
from prover.store.schema import api_keys


class ApiKeys(Repository):
    """API keys by id, of all tenants in every view: the key determines the caller's tenant."""

    def add_api_key(self, key: ApiKey) -> None:
        """Keeps a new key."""
        with self._db.write() as conn:
            conn.execute(
                sa.insert(api_keys).values(
                    id=key.id,
                    tenant=key.tenant,
                    name=key.name,
                    scopes=sorted(key.scopes),
                    hash=key.hash,
                    created_at=key.created_at,
                    expires_at=key.expires_at,
                    requests_per_minute=key.requests_per_minute,
                    origins=sorted(key.origins) or None,
                )
            )

    def find_api_key(self, key_id: str) -> ApiKey | None:
        with self._db.read() as conn:
            query = sa.select(api_keys).where(api_keys.c.id == key_id)
            row = conn.execute(query).one_or_none()
        return None if row is None else _key(row)

    def api_keys(self) -> list[ApiKey]:
        """All keys, newest first."""
        query = sa.select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id)
        with self._db.read() as conn:
            return [_key(row) for row in conn.execute(query)]

    def origins(self) -> frozenset[str]:
        """The web origins of all keys in force."""
        in_force = sa.and_(
            api_keys.c.revoked_at.is_(None),
            sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > self._now()),
        )
        query = sa.select(api_keys.c.origins).where(in_force, api_keys.c.origins.is_not(None))
        with self._db.read() as conn:
            return frozenset(origin for named in conn.scalars(query) for origin in named)

    def has_api_keys(self) -> bool:
        """Whether a key was ever created."""
        with self._db.read() as conn:
            return conn.scalar(sa.select(api_keys.c.id).limit(1)) is not None

    def revoke_api_key(self, key_id: str) -> ApiKey:
        """Revokes a key permanently; idempotent. Raises ``ApiKeyUnknown``."""
        with self._db.write() as conn:
            conn.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._now())
            )
            query = sa.select(api_keys).where(api_keys.c.id == key_id)
            row = conn.execute(query).one_or_none()
        if row is None:
            raise ApiKeyUnknown(f"There is no API key {key_id[:100]!r}.")
        return _key(row)

    def note_api_key_used(self, key_id: str, at: datetime) -> None:
        """Records the last use of the key. Call it occasionally, not at each request."""
        with self._db.write() as conn:
            conn.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at))


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=frozenset(Scope(s) for s in row.scopes),
        hash=row.hash,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        requests_per_minute=row.requests_per_minute,
        origins=frozenset(row.origins or ()),
    )
