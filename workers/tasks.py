"""The one task: take an id, call the pipeline.

A message says that there is work, and is good for one job: the one whose turn it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import Celery

from circuits.errors import ZkmlError
from prover.errors import JobNotFound, QueueUnavailable
from prover.jobs import JobState
from prover.queue import RUN_JOB, send_job
from prover.store import Store
from workers.runner import Runner
from workers.stopping import Activity, Stopping

_log = structlog.get_logger("zkml.worker")


def announcer(app: Celery) -> Callable[[Sequence[str]], None]:
    """Puts jobs on the queue that a job has made. Those that cannot be sent now are found by a
    sweep."""

    def announce(job_ids: Sequence[str]) -> None:
        try:
            for job_id in job_ids:
                send_job(app, job_id)
        except QueueUnavailable as error:
            _log.warning("jobs_not_announced", jobs=len(job_ids), detail=error.detail)

    return announce


def register(
    app: Celery,
    runner: Runner,
    store: Store,
    owner: str,
    stopping: Stopping,
    activity: Activity,
    on_end: Callable[[], None],
) -> Any:
    """Gives ``app`` the task ``zkml.run_job``, which runs jobs as ``owner``; returns it.

    ``on_end`` is called after each job: there may be something to tell.
    """

    def run_job(job_id: str) -> None:
        with structlog.contextvars.bound_contextvars(job=job_id), activity:
            try:
                if stopping.draining:  # nothing new: the message is for another worker
                    send_job(app, job_id)
                    return
                done = runner.run_turn(job_id, owner, stopping)
                if done is None:
                    return
                job = store.job(done)
                if job.state is JobState.QUEUED and job.not_before is None:
                    # Given back by a worker that stops. What waits for another attempt is sent by
                    # a sweep when its time has come.
                    send_job(app, job.id)
                    store.mark_sent(job.id)
                elif (waits := store.next_of(job.tenant)) is not None:
                    # Its message found the tenant's quota of running jobs used up.
                    send_job(app, waits)
            except JobNotFound:
                _log.warning("job_unknown")
            except ZkmlError as error:
                # The database or the queue is away. The lease runs out and a sweep sees to it.
                _log.warning("job_left", code=error.code, detail=error.detail)
            except Exception:
                # A mistake in our own code must not end the worker; the row is still the truth.
                _log.exception("job_left")
            finally:
                on_end()

    # Called through the app, never directly: annotations on the message's side are Celery's.
    return app.task(run_job, name=RUN_JOB)
