"""When a worker is to end because nothing reaches it."""

from __future__ import annotations

import pytest

from prover.errors import StoreUnavailable
from workers.stopping import Activity, Stopping
from workers.watchdog import Watchdog


class Waiting:
    """Says whether something waits."""

    answer: bool | Exception = True

    def __call__(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Idle(Activity):
    idle_s = 1e9


def test_only_a_worker_that_was_idle_while_jobs_waited_all_the_time_ends() -> None:
    waits, activity = Waiting(), Idle()
    dog = Watchdog(waits, activity, 4.0, bite=lambda: None)
    assert [dog.look(1.0) for _ in range(4)] == [False, False, False, True]
    for answer in (False, StoreUnavailable()):
        waits.answer = answer
        assert not dog.look(1.0)
        waits.answer = True
        assert [dog.look(1.0) for _ in range(4)] == [False, False, False, True]
    activity.idle_s = 0.5  # it did something since the last look
    assert not dog.look(1.0)


def test_work_in_progress_is_no_idleness() -> None:
    activity = Activity()
    with activity:
        assert activity.idle_s == 0
        with activity:
            pass
        assert activity.idle_s == 0
    assert activity.idle_s > 0


def test_a_second_request_ends_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("workers.stopping.time.monotonic", lambda: now[0])
    stopping = Stopping(grace_s=10)
    assert (stopping.draining, stopping()) == (False, False)
    stopping.request()
    assert (stopping.draining, stopping()) == (True, False)
    now[0] += 10
    assert stopping()
    now[0] = 100.0
    assert not stopping()
    stopping.request()
    assert stopping()
