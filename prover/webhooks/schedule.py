"""The schedule of retries: ten attempts over three days."""

from __future__ import annotations

import email.utils
import random
from datetime import UTC, datetime, timedelta

#: Pauses between attempts: short at first, because most failures are a restart, then longer. In
#: total a little over three days, so that a receiver that fails on Friday evening can be repaired
#: on Monday.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
#: Relative jitter of each pause, so that deliveries that failed together are not retried together.
JITTER = 0.2
#: The longest delay that a receiver may ask for.
MAX_RETRY_AFTER = timedelta(hours=24)


def next_attempt(
    tries: int, now: datetime, retry_after: timedelta | None, draw: random.Random
) -> datetime | None:
    """The time of the next attempt after ``tries`` (at least 1) failures; None after the last.

    ``retry_after`` is the receiver's request, which never shortens the pause.
    """
    if tries > len(PAUSES):
        return None
    pause = PAUSES[tries - 1] * draw.uniform(1 - JITTER, 1 + JITTER)
    if retry_after is not None:
        pause = max(pause, min(retry_after, MAX_RETRY_AFTER))
    return now + pause


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Parses ``Retry-After`` (RFC 9110, 10.2.3), seconds or a date; None if absent or invalid."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta(0))
