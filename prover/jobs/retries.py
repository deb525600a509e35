"""What is tried again, and when.

A failure that comes from the moment (a killed child, a store that is away, a full disk) is tried
again after a pause that doubles, up to ``Settings.max_attempts``. What would repeat is not: the
same input meets the same deadline and the same memory limit.
"""

from __future__ import annotations

import random

from circuits.errors import EngineTimeout, Fault, ZkmlError

_LONGEST_S = 60.0


def may_pass(error: ZkmlError) -> bool:
    """Whether the same work may succeed at another time, by itself."""
    if isinstance(error, EngineTimeout):
        return False
    return error.retryable or error.fault is Fault.BUSY


def pause_s(attempt: int, first_s: float) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (1, 2, …): ``first_s``, doubled each
    time up to a minute, more or less a quarter so that jobs which failed together do not return
    together."""
    longest = min(first_s * 2.0 ** min(attempt - 1, 30), _LONGEST_S)
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
