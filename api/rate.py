"""The rate limit per client address, for routes without keys.

Counted per process: several API processes each allow the full rate.
"""

from __future__ import annotations

import ipaddress
import math
import time

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.problem import RateLimited

_IPV6_NETWORK = 64  # the usual size of one customer's IPv6 network


class ClientRate:
    """At most ``per_minute`` requests in any 60 s from one client address; 0: unlimited."""

    def __init__(self, per_minute: int, what: str) -> None:
        """``what``: the counted things, in the plural."""
        self._what = what
        self._item = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, request: Request) -> None:
        """Counts a request. Raises ``RateLimited`` with the seconds to wait."""
        client = client_of(request)
        if self._item is None or self._limiter.hit(self._item, client):
            return
        reset = self._limiter.get_window_stats(self._item, client).reset_time
        raise RateLimited(
            f"A client address is limited to {self._item.amount} {self._what} per minute.",
            retry_after_s=max(1, math.ceil(reset - time.time())),
        )


def client_of(request: Request) -> str:
    """The client that is counted: an IPv4 address, an IPv6 network, or a local socket."""
    host = request.client.host if request.client else "local"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), _IPV6_NETWORK), strict=False))
    return str(address)
