"""Ten attempts over three days, later where the receiver asks for it."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from prover.testing import START
from prover.webhooks.schedule import JITTER, PAUSES, next_attempt, parse_retry_after


@pytest.mark.parametrize("seed", range(20))
def test_the_attempts_span_three_days_and_then_end(seed: int) -> None:
    draw, at, tries = Random(seed), START, 0
    while (following := next_attempt(tries + 1, at, None, draw)) is not None:
        pause = following - at
        assert (1 - JITTER) * PAUSES[tries] <= pause <= (1 + JITTER) * PAUSES[tries]
        at, tries = following, tries + 1
    assert tries == len(PAUSES)
    assert timedelta(days=2.5) < at - START < timedelta(days=4)
    assert timedelta(days=3) < sum(PAUSES, timedelta()) < timedelta(days=3.5)


def test_what_failed_together_does_not_come_back_together() -> None:
    draw = Random(1)
    assert len({next_attempt(3, START, None, draw) for _ in range(50)}) == 50


def test_retry_after_is_honoured_within_a_day_and_never_shortens() -> None:
    draw = Random(1)
    asked = next_attempt(1, START, timedelta(hours=1), draw)
    assert asked == START + timedelta(hours=1)
    assert next_attempt(1, START, timedelta(days=99), draw) == START + timedelta(days=1)
    soon = next_attempt(4, START, timedelta(seconds=1), draw)
    assert soon is not None
    assert soon > START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        ("9" * 400, timedelta(hours=24)),
        (START.strftime("%a, %d %b %Y %H:%M:%S GMT"), timedelta(0)),
        (
            (START + timedelta(minutes=2)).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            timedelta(minutes=2),
        ),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, wanted: timedelta | None) -> None:
    assert parse_retry_after(text, START) == wanted
