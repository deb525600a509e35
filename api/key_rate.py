"""The rate limit of API keys: counted in Redis for all API processes, or without Redis per process.

It counts requests per clock minute. Each process reserves a hundredth of a key's limit at a time,
so most requests need no call to Redis: the limit is never exceeded, and at most this share per
process stays unused. Response headers say what remains (draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from api.problem import RateLimited

WINDOW_S = 60
#: How long a process counts by itself after Redis did not respond, in seconds.
_ALONE_S = 5.0
#: The longest wait of a request for Redis, in seconds.
_ANSWER_S = 0.5
#: The share of a limit that a process reserves at a time.
_RESERVED = 0.01

_log = structlog.get_logger("zkml.api")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A key's remaining requests in the current minute."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"key";q={self.limit};w={WINDOW_S}',
            "RateLimit": f'"key";r={self.remaining};t={self.reset_s}',
        }


@dataclass
class _Held:
    """Request numbers of a key in a minute that this process has reserved."""

    minute: int
    next: int = 1
    last: int = 0


class KeyRate:
    """Limits the requests per minute of each key."""

    def __init__(
        self,
        per_minute: int,
        redis_url: str | None,
        clock: Callable[[], float] = time.time,
        *,
        prefix: str = "zkml:",
    ) -> None:
        """``per_minute`` is for keys without their own rate; 0: unlimited. ``prefix``: of keys in
        Redis."""
        self._per_minute = per_minute
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._reserving = asyncio.Lock()
        self._own: tuple[int, Counter[str]] = (0, Counter())  # minute, requests by key
        self._pool = None if redis_url is None else ConnectionPool.from_url(redis_url)
        self._shared = None if self._pool is None else _shared(self._pool, prefix)
        self._alone_until = 0.0

    async def take(self, key_id: str, own_rate: int | None) -> Counted | None:
        """Counts a request; None: unlimited. Raises ``RateLimited`` with the seconds to wait.
        ``own_rate``, if given, replaces the default limit."""
        limit = self._per_minute if own_rate is None else own_rate
        if not limit:
            return None
        now = self._clock()
        count = await self._number(key_id, int(now // WINDOW_S), math.ceil(limit * _RESERVED))
        counted = Counted(
            limit=limit,
            remaining=max(limit - count, 0),
            reset_s=WINDOW_S - int(now % WINDOW_S),
        )
        if count > limit:
            refused = RateLimited(
                f"The API key {key_id} is limited to {limit} requests per minute.",
                advice="Wait as long as Retry-After says.",
                retry_after_s=counted.reset_s,
            )
            refused.headers = counted.headers
            raise refused
        return counted

    async def close(self) -> None:
        """Closes the connections to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def _number(self, key_id: str, minute: int, more: int) -> int:
        """Counts the request; returns its number in the minute."""
        held = self._held.get(key_id)
        if held is None or held.minute != minute or held.next > held.last:
            async with self._reserving:
                held = self._held.setdefault(key_id, _Held(minute))
                if held.minute != minute or held.next > held.last:  # another did
                    last = await self._reserve(key_id, minute, more)
                    held.minute, held.next, held.last = minute, last - more + 1, last
        held.next += 1
        return held.next - 1

    async def _reserve(self, key_id: str, minute: int, more: int) -> int:
        """Reserves ``more`` numbers; returns the last of them."""
        if self._shared is not None and time.monotonic() >= self._alone_until:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    name = f"{key_id}/{minute}"
                    return int(await self._shared.incr(name, 2 * WINDOW_S, more))
            except (StorageError, TimeoutError) as error:
                self._alone_until = time.monotonic() + _ALONE_S
                _log.warning("rates_counted_alone", reason=type(error).__name__)
        if self._own[0] != minute:
            self._own = (minute, Counter())
        self._own[1][key_id] += more
        return self._own[1][key_id]


def _shared(pool: ConnectionPool, prefix: str) -> RedisStorage:
    return RedisStorage(
        "async+redis://",  # the pool has the address
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=f"{prefix}rate",
        connection_pool=pool,  # type: ignore[arg-type]
    )
