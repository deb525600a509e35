"""When a delivery that failed is tried again: ten attempts over three days."""

from __future__ import annotations

import email.utils
import random
from datetime import UTC, datetime, timedelta

#: Pauses between attempts: soon, because most failures are a restart; then ever rarer. Together a
#: little over three days, so that a receiver that breaks on a Friday evening is met on Monday.
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
#: Each pause is drawn from this share of itself either way: what failed together must not come
#: back together.
JITTER = 0.2
#: A receiver may put an attempt off by so much at most.
MAX_RETRY_AFTER = timedelta(hours=24)


def next_attempt(
    tries: int, now: datetime, retry_after: timedelta | None, draw: random.Random
) -> datetime | None:
    """When to try again after ``tries`` failures (at least 1); None: that was the last attempt.

    ``retry_after`` is what the receiver asked for: it never makes the pause shorter.
    """
    if tries > len(PAUSES):
        return None
    pause = PAUSES[tries - 1] * draw.uniform(1 - JITTER, 1 + JITTER)
    if retry_after is not None:
        pause = max(pause, min(retry_after, MAX_RETRY_AFTER))
    return now + pause


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """The header ``Retry-After`` (RFC 9110, 10.2.3), seconds or a date; None where there is none
    that can be read."""
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
