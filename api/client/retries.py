"""Which requests are retried, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass

import httpx

#: The request did not reach the service.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: It is unknown whether the request reached the service.
_BROKEN = (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)
#: The service, or a proxy before it, asks to retry later.
_LATER = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Retries:
    """At most ``attempts`` attempts; pauses double from ``first_s`` up to ``most_s``, with jitter.
    A ``Retry-After`` longer than ``longest_s`` ends the retries."""

    attempts: int = 4
    first_s: float = 0.2
    most_s: float = 10.0
    longest_s: float = 60.0

    def after_error(self, error: httpx.TransportError, attempt: int, *, safe: bool) -> float | None:
        """Seconds to wait before attempt ``attempt + 1``, or None: give up. ``safe``: whether the
        request is idempotent."""
        again = isinstance(error, _NOT_SENT) or (safe and isinstance(error, _BROKEN))
        return self._pause(attempt) if again and attempt < self.attempts else None

    def after_answer(self, answer: httpx.Response, attempt: int, *, safe: bool) -> float | None:
        """The same for a response that asks for a retry, or a transient conflict."""
        asked = _seconds(answer.headers.get("retry-after"))
        passes = answer.status_code in _LATER or (answer.status_code == 409 and asked is not None)
        if not (safe and passes) or attempt >= self.attempts:
            return None
        if asked is None:
            return self._pause(attempt)
        return None if asked > self.longest_s else max(asked, self._pause(attempt) / 2)

    def _pause(self, attempt: int) -> float:
        longest: float = min(self.most_s, self.first_s * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
