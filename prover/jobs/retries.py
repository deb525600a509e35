"""Which failures are retried, and when.

Transient failures (a killed child, an unavailable store, a full disk, an own verification that did
not finish) are retried after a pause that doubles, up to ``Settings.max_attempts``. Failures that
would repeat are not retried: the same input would hit the same deadline or memory limit again.
"""

from __future__ import annotations

import random

from circuits.errors import EngineTimeout, Fault, StorageFull, ZkmlError, is_of_full_disk

_LONGEST_S = 60.0


def is_transient(error: ZkmlError) -> bool:
    """Whether the error is transient."""
    if isinstance(error, EngineTimeout):
        return False
    return error.retryable or error.fault is Fault.BUSY


def as_zkml_error(error: Exception) -> ZkmlError:
    """The end of a job after an unexpected exception: a full disk, or an internal error."""
    return StorageFull() if is_of_full_disk(error) else ZkmlError()


def pause_s(attempt: int, first_s: float) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (1, 2, …): ``first_s``, doubled each
    time up to a minute, with a jitter of ±25 %."""
    longest = min(first_s * 2.0 ** min(attempt - 1, 30), _LONGEST_S)
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
