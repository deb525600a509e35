"""How often one API key may ask: counted in Redis where there is one, for all API processes
together, else in this process.

Minutes of the clock are counted, in one call to the storage for each request. The answer's headers
say what is left, as draft-ietf-httpapi-ratelimit-headers has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from limits.storage import MemoryStorage
from redis.asyncio import ConnectionPool

from api.problem import RateLimited

WINDOW_S = 60
#: For so long after Redis did not answer each process counts for itself.
_ALONE_S = 5.0
#: A request does not wait longer than this for Redis.
_ANSWER_S = 0.5

_log = structlog.get_logger("zkml.api")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a request has left behind of its key's minute."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"key";q={self.limit};w={WINDOW_S}',
            "RateLimit": f'"key";r={self.remaining};t={self.reset_s}',
        }


class KeyRate:
    """At most so many requests a minute with one key."""

    def __init__(
        self,
        per_minute: int,
        redis_url: str | None,
        clock: Callable[[], float] = time.time,
        *,
        prefix: str = "zkml:",
    ) -> None:
        """``per_minute`` is for keys without a rate of their own; 0: any number. ``prefix``: of
        keys in Redis."""
        self._per_minute = per_minute
        self._clock = clock
        self._own = MemoryStorage()
        self._pool = None if redis_url is None else ConnectionPool.from_url(redis_url)
        self._shared = None if self._pool is None else _shared(self._pool, prefix)
        self._alone_until = 0.0

    async def take(self, key_id: str, own_rate: int | None) -> Counted | None:
        """Counts a request; None: there is no limit. Raises ``RateLimited``, with the seconds to
        wait. ``own_rate`` replaces the general limit where it is given."""
        limit = self._per_minute if own_rate is None else own_rate
        if not limit:
            return None
        now = self._clock()
        count = await self._count(f"{key_id}/{int(now // WINDOW_S)}")
        counted = Counted(
            limit=limit,
            remaining=max(limit - count, 0),
            reset_s=WINDOW_S - int(now % WINDOW_S),
        )
        if count > limit:
            refused = RateLimited(
                f"The API key {key_id} may ask {limit} times a minute.",
                advice="Wait as long as Retry-After says.",
                retry_after_s=counted.reset_s,
            )
            refused.headers = counted.headers
            raise refused
        return counted

    async def close(self) -> None:
        """Closes what is open to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _count(self, minute: str) -> int:
        if self._shared is not None and time.monotonic() >= self._alone_until:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return int(await self._shared.incr(minute, 2 * WINDOW_S))
            except (StorageError, TimeoutError) as error:
                self._alone_until = time.monotonic() + _ALONE_S
                _log.warning("rates_counted_alone", reason=type(error).__name__)
        return int(self._own.incr(minute, 2 * WINDOW_S))


def _shared(pool: ConnectionPool, prefix: str) -> RedisStorage:
    return RedisStorage(
        "async+redis://",  # the pool knows where
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=f"{prefix}rate",
        connection_pool=pool,  # type: ignore[arg-type]
    )
