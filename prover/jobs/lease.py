"""Renews a lease while its job runs and tells the work when to stop.

::

    lease = store.claim(job_id, owner, ttl_s)
    if lease is not None:
        with holding(store, lease, ttl_s, notifications=bus, stopping=stopping) as held:
            try:
                result = work(should_stop=held.should_stop)  # raises Canceled when told to stop
                store.succeed(lease, result)
            except Canceled:
                held.settle()

A thread renews the lease after every third of its lifetime and watches for a cancellation. The work
must poll ``should_stop`` often; it is cheap and never raises, so the engine can poll it.
"""

from __future__ import annotations

import enum
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from circuits.errors import Canceled, ZkmlError
from prover.admission import Place
from prover.errors import LeaseLost
from prover.jobs.bus import LocalNotifications
from prover.jobs.notifications import Notifications, Subscription
from prover.logs import get_logger
from prover.records.job import Job, Lease
from prover.store import Store

#: The longest delay of a cancellation whose notification was lost.
CANCEL_POLL_S = 1.0
_log = get_logger(__name__)


class StopReason(enum.StrEnum):
    """Why work on a job must stop."""

    LOST = "lost"  # another worker has the lease, or the job has ended
    CANCELED = "canceled"  # cancellation was requested
    EXPIRED = "expired"  # the job's deadline has passed
    STOPPING = "stopping"  # this worker is shutting down, or has no room for the job


class LeaseKeeper:
    """A lease that is being renewed. Made by ``holding``."""

    def __init__(self, store: Store, lease: Lease, ttl_s: float, stopping: Callable[[], bool]):
        self.lease = lease
        self._store = store
        self._ttl_s = ttl_s
        self._stopping = stopping
        self._lost = threading.Event()
        self._canceled = threading.Event()
        self._given_back = threading.Event()
        self._released = threading.Event()
        # By the monotonic clock, from now.
        self._ends = math.inf
        if lease.deadline is not None:
            self._ends = time.monotonic() + (lease.deadline - datetime.now(UTC)).total_seconds()

    @property
    def reason(self) -> StopReason | None:
        """Why work must stop, or None. Losing the lease takes precedence."""
        if self._lost.is_set():
            return StopReason.LOST
        if self._canceled.is_set():
            return StopReason.CANCELED
        if time.monotonic() >= self._ends:
            return StopReason.EXPIRED
        stopping = self._given_back.is_set() or self._stopping()
        return StopReason.STOPPING if stopping else None

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    @property
    def cancel_requested(self) -> bool:
        return self._canceled.is_set()

    def should_stop(self) -> bool:
        """Whether work must stop (``circuits.engine.port.ShouldStop``)."""
        return self.reason is not None

    def admit(self, needs_bytes: int, place: Place) -> None:
        """Records the memory that the job turns out to need. Raises ``Canceled`` where the host has
        no room for it now: ``settle`` then gives the job back to the queue."""
        if not self._store.predict(self.lease, needs_bytes, place):
            _log.info("no_room", job=self.lease.job_id, needs_bytes=needs_bytes)
            self._given_back.set()
            raise Canceled

    def settle(self) -> Job | None:
        """Writes the consequence of ``reason`` once work has stopped: ends a canceled or overdue
        job, requeues the job of a stopping worker. Returns the job, None if the lease is lost. Put
        a queued job on the queue again."""
        try:
            match self.reason:
                case StopReason.CANCELED:
                    return self._store.canceled(self.lease)
                case StopReason.EXPIRED:
                    return self._store.expired(self.lease)
                case StopReason.STOPPING:
                    return self._store.requeue(self.lease)
                case _:
                    return None
        except LeaseLost:
            self._lost.set()
            return None

    def _keep(self, subscription: Subscription) -> None:
        """The thread: renews and watches until the lease is released or lost."""
        every_s = self._ttl_s / 3
        renew_at = time.monotonic() + every_s
        try:
            while True:
                pause_s = min(renew_at - time.monotonic(), CANCEL_POLL_S)
                subscription.wait(max(pause_s, 0.0))
                if self._released.is_set():
                    return
                try:
                    if self._store.cancel_requested(self.lease.job_id):
                        self._canceled.set()
                    if time.monotonic() >= renew_at:
                        asked = time.monotonic()
                        self._store.renew(self.lease, self._ttl_s)
                        renew_at = asked + every_s
                except LeaseLost:
                    return
                except ZkmlError as error:
                    # The database is unavailable. Work continues: no other worker can claim the job
                    # meanwhile, or the claim is noticed later. The fencing token guards all writes.
                    _log.warning("lease_not_renewed", job=self.lease.job_id, error=error.detail)
                    self._released.wait(min(every_s, 0.5))
        finally:
            if not self._released.is_set():
                self._lost.set()


def _never() -> bool:
    return False


@contextmanager
def holding(
    store: Store,
    lease: Lease,
    ttl_s: float,
    *,
    notifications: Notifications | None = None,
    stopping: Callable[[], bool] = _never,
) -> Iterator[LeaseKeeper]:
    """Renews ``lease`` (claimed with ``ttl_s``) while the block runs.

    With ``notifications`` a cancellation is noticed at once, otherwise within ``CANCEL_POLL_S``.
    ``stopping`` returns whether this process is shutting down. Leaving the block does not end the
    job: an unsettled job is taken over when the lease expires.
    """
    held = LeaseKeeper(store, lease, ttl_s, stopping)
    with (notifications or LocalNotifications()).subscribe(lease.job_id) as subscription:
        thread = threading.Thread(
            target=held._keep, args=(subscription,), name=f"lease-{lease.job_id}", daemon=True
        )
        thread.start()
        try:
            yield held
        finally:
            held._released.set()
            subscription.notify()
            thread.join()
