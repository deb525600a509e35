"""API keys in a store."""

from __future__ import annotations

from datetime import UTC, datetime

from prover.records.api_key import ALL_SCOPES, ApiKey, Scope, new_api_key
from prover.store import Store


def made(
    store: Store,
    tenant: str = "acme",
    scopes: frozenset[Scope] = ALL_SCOPES,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, dict[str, str]]:
    """A key in the store, and the header that carries it."""
    now = datetime.now(UTC)
    key, token = new_api_key(
        tenant=tenant,
        name="test",
        scopes=scopes,
        now=now,
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
    )
    store.add_api_key(key)
    return key, {"Authorization": f"Bearer {token}"}
