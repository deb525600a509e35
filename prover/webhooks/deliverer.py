"""Makes due deliveries, in threads of a worker process.

::

    with Deliverer(store.every_tenant(), Sender(allow_private=False)) as deliverer:
        ...                 # polls every second, and at once after ``wake``

Every worker runs one. They coordinate through the store: one of them claims a delivery, which is
due again when its lease expires. A slow receiver affects only its own endpoint: requests to an
endpoint are few at a time and have a time limit.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from circuits.errors import ZkmlError
from prover.logs import get_logger
from prover.records.webhook import Attempt, DisabledReason, Due
from prover.store import Store
from prover.store.webhook_endpoints import KEPT
from prover.webhooks.schedule import MAX_RETRY_AFTER, next_attempt
from prover.webhooks.sender import Outcome, Sender

#: Concurrent requests of one process, and to one endpoint.
AT_ONCE, PER_ENDPOINT = 8, 2
#: Polling interval; lease of a claimed delivery (an attempt after a slow DNS resolution). Seconds.
LOOK_S, LEASE_S = 1.0, 60.0
_PURGE_S = 3600.0
_log = get_logger("zkml.webhooks")


class Deliverer:
    """Makes deliveries until stopped. ``store`` is the view over all tenants."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        *,
        look_s: float = LOOK_S,
        draw: random.Random | None = None,
    ) -> None:
        self._store = store
        self._sender = sender
        self._look_s = look_s
        self._draw = draw or random.Random()  # noqa: S311 - jitter, not a secret
        self._stopped = threading.Event()
        self._awake = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
        self._under_way: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._purge_at = time.monotonic() + _PURGE_S
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Polls at once: something may be due."""
        self._awake.set()

    def stop(self) -> None:
        """Claims nothing more and waits for current requests, at most one attempt's time. Outcomes
        that can no longer be recorded lead to another attempt later."""
        self._stopped.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def deliver_due(self) -> int:
        """Passes due deliveries to the threads; returns their number."""
        with self._guard:
            free = AT_ONCE - self._under_way.total()
            busy = [e for e, count in self._under_way.items() if count >= PER_ENDPOINT]
        if free <= 0:
            return 0
        taken = self._store.take_webhooks(
            free, lease_s=LEASE_S, per_endpoint=PER_ENDPOINT, but=busy
        )
        for due in taken:
            with self._guard:
                self._under_way[due.endpoint.id] += 1
            self._pool.submit(self._deliver, due)
        return len(taken)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if self.deliver_due():
                    continue
                self._purge()
            except ZkmlError as error:  # the database is temporarily unavailable
                _log.warning("webhooks_not_looked_for", error=error.detail)
            except Exception:
                _log.exception("webhooks_failed")  # retried at the next poll
            self._awake.wait(self._look_s)
            self._awake.clear()

    def _purge(self) -> None:
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _PURGE_S
            self._store.purge_webhooks(self._sender.clock() - KEPT)

    def _deliver(self, due: Due) -> None:
        try:
            self._note(due, self._sender.send(due))
        except ZkmlError as error:
            _log.warning("webhook_not_noted", webhook=due.event_id, error=error.detail)
        except Exception:
            _log.exception("webhook_defect", webhook=due.event_id)
        finally:
            with self._guard:
                self._under_way[due.endpoint.id] -= 1
                if not self._under_way[due.endpoint.id]:
                    del self._under_way[due.endpoint.id]
            self._awake.set()  # a thread is free

    def _note(self, due: Due, outcome: Outcome) -> None:
        again = None
        if not (outcome.delivered or outcome.gone):
            again = next_attempt(due.tries, outcome.at, outcome.retry_after, self._draw)
        pause = outcome.retry_after
        disabled = self._store.note_webhook(
            due,
            Attempt(
                number=due.number,
                at=outcome.at,
                status=outcome.status,
                error=outcome.error,
                duration_s=outcome.duration_s,
            ),
            delivered=outcome.delivered,
            next_at=again,
            disabled=DisabledReason.GONE if outcome.gone else None,
            pause=None if pause is None else min(pause, MAX_RETRY_AFTER),
        )
        _log.info(
            "webhook_sent",
            endpoint=due.endpoint.id,
            webhook=due.event_id,
            attempt=due.number,
            status=outcome.status,
            error=outcome.error,
            again_at=None if again is None else again.isoformat(),
        )
        if disabled is not None:
            _log.error("webhook_endpoint_disabled", endpoint=due.endpoint.id, reason=disabled.value)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
