"""The API's side of the queue: a Celery producer of job ids.

The committed row is the source of truth. Without a broker the job stays queued until a worker's
sweep finds it: the request neither fails nor waits.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Any

import structlog
from celery import Celery

from prover.errors import QueueUnavailable
from prover.jobs.queue import celery_config, send_job
from prover.records.job import Job, JobState
from prover.settings import Settings

#: Pause after a failure, in seconds; the sweep finds jobs that were not announced.
PAUSE_S = 5.0
#: Timeout of a broker that accepts a connection but does not respond, in seconds.
ANSWER_S = 2.0

log = structlog.get_logger("zkml.api")


class JobSender:
    """Announces queued jobs to the workers, in a thread. Without a queue (``ZKML_REDIS_URL``
    unset) it does nothing, and the workers' sweep finds the jobs."""

    def __init__(self, settings: Settings) -> None:
        self._pending: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if settings.redis_url is not None:
            celery = Celery("zkml-api", set_as_current=False)
            celery.conf.update(_producer_config(settings))
            self._thread = threading.Thread(
                target=self._send_all, args=(celery,), name="announce", daemon=True
            )
            self._thread.start()

    def announce(self, job: Job) -> None:
        """Puts a queued job on the queue. Returns at once and never raises: a lost message only
        costs time."""
        if self._thread is not None and job.state is JobState.QUEUED:
            self._pending.put(job)

    def close(self) -> None:
        """Sends pending messages, within a short time."""
        if self._thread is not None:
            self._pending.put(None)
            self._thread.join(2 * ANSWER_S)

    def _send_all(self, celery: Celery) -> None:
        paused_until = 0.0
        while (job := self._pending.get()) is not None:
            if time.monotonic() < paused_until:
                continue
            try:
                send_job(celery, job.id, job.size)
            except QueueUnavailable as exc:
                paused_until = time.monotonic() + PAUSE_S
                log.warning("job_not_announced", job=job.id, detail=exc.detail)
        celery.close()


def _producer_config(settings: Settings) -> dict[str, Any]:
    config = celery_config(settings)
    config["broker_transport_options"] |= {"socket_timeout": ANSWER_S}
    return config
