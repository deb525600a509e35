"""The API's half of the queue: a Celery producer that names a task and a job.

The committed row is the truth. When the broker is away the job stays queued, and a worker's sweep
finds it later: a request never fails for that.
"""

from __future__ import annotations

import threading
import time

import structlog
from celery import Celery

from prover.errors import QueueUnavailable
from prover.jobs import Job, JobState
from prover.queue import celery_config, send_job
from prover.settings import Settings

#: After a failure the queue is left alone for so long: requests must not each wait for a timeout.
PAUSE_S = 5.0

log = structlog.get_logger("zkml.api")


class JobSender:
    """Tells the workers that a job waits. Without a queue (``ZKML_REDIS_URL`` unset) it tells
    nobody, and the workers' sweep finds the job."""

    def __init__(self, settings: Settings) -> None:
        self._celery: Celery | None = None
        self._paused_until = 0.0
        self._guard = threading.Lock()
        if settings.redis_url is not None:
            self._celery = Celery("zkml-api", set_as_current=False)
            self._celery.conf.update(celery_config(settings))

    def announce(self, job: Job) -> None:
        """Puts a job that is queued on the queue. Never raises: a lost message costs time only."""
        if self._celery is None or job.state is not JobState.QUEUED:
            return
        with self._guard:
            if time.monotonic() < self._paused_until:
                return
        try:
            send_job(self._celery, job.id)
        except QueueUnavailable as exc:
            with self._guard:
                self._paused_until = time.monotonic() + PAUSE_S
            log.warning("job_not_announced", job=job.id, detail=exc.detail)

    def close(self) -> None:
        if self._celery is not None:
            self._celery.close()
