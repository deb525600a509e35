"""The sweep: every worker periodically finds unclaimed jobs and resends them.

It recovers jobs whose worker was killed (the lease expires), whose message was lost (the API died
before sending, Redis lost its data), or that were created while the queue was unavailable. It does
not wait for the broker's visibility timeout of hours.
"""

from __future__ import annotations

import threading
import time

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from circuits.errors import ZkmlError
from prover.admission import SizeClass
from prover.jobs.queue import send_job
from prover.store import Store
from workers.runner import Runner

_log = structlog.get_logger("zkml.worker")


def sweep_once(app: Celery, store: Store, grace_s: float) -> list[str]:
    """Resends the jobs of ``Store.runnable``; returns their ids.

    Queued jobs are resent only while their queue is empty: while messages wait, a waiting job is
    not lost, and resending thousands repeatedly would fill Redis.
    """
    sent = store.runnable(grace_s=grace_s, queued=_empty(app))
    for job_id, size in store.size_classes(sent).items():
        send_job(app, job_id, size)
        store.mark_sent(job_id)
    return sent


def _empty(app: Celery) -> list[str]:
    """The classes with an empty queue."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        return [
            size.value
            for size in SizeClass
            if app.amqp.queues[size.value].bind(channel).queue_declare().message_count == 0
        ]


class Sweep:
    """``sweep_once`` in a thread, at the start and every ``every_s`` seconds. It first ends overdue
    jobs; every ``house_every_s`` seconds it does the housekeeping.

    Workers sweep concurrently without coordination: ``mark_sent`` avoids most repeats, and a job
    that is sent twice runs once.
    """

    def __init__(
        self, app: Celery, store: Store, runner: Runner, every_s: float, house_every_s: float
    ) -> None:
        self._app = app
        self._store = store
        self._runner = runner
        self._every_s = every_s
        self._house_every_s = house_every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        house_at = time.monotonic() + self._house_every_s
        while not self._stopped.is_set():
            try:
                self._runner.expire_due()
                for job_id in sweep_once(self._app, self._store, grace_s=2 * self._every_s):
                    _log.info("job_sent_again", job=job_id)
                if time.monotonic() >= house_at:
                    house_at = time.monotonic() + self._house_every_s
                    self._runner.keep_house()
            except (ZkmlError, OperationalError, OSError) as error:
                _log.warning("sweep_skipped", error=str(error))
            except Exception:
                _log.exception("sweep_failed")  # retried at the next sweep
            self._stopped.wait(self._every_s)
