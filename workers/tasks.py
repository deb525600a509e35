"""The one task: take an id, call the pipeline.

A message says that there is work, and is good for one job: the one whose turn it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import Celery

from circuits.errors import ZkmlError
from prover.admission import Place, SizeClass
from prover.errors import JobNotFound, QueueUnavailable
from prover.jobs.queue import RUN_JOB, send_job
from prover.records.job import JobState
from prover.store import Store
from workers.runner import Runner
from workers.stopping import Activity, Stopping

_log = structlog.get_logger("zkml.worker")


#: Ids of one look into the store.
_AT_ONCE = 500


def announcer(app: Celery, store: Store) -> Callable[[Sequence[str]], None]:
    """Puts jobs on the queues that a job has made. Those that cannot be sent now are found by a
    sweep."""

    def announce(job_ids: Sequence[str]) -> None:
        try:
            for start in range(0, len(job_ids), _AT_ONCE):
                sizes = store.size_classes(job_ids[start : start + _AT_ONCE])
                for job_id, size in sizes.items():
                    send_job(app, job_id, size)
        except QueueUnavailable as error:
            _log.warning("jobs_not_announced", jobs=len(job_ids), detail=error.detail)

    return announce


def register(
    app: Celery,
    runner: Runner,
    store: Store,
    place: Place,
    stopping: Stopping,
    activity: Activity,
    on_end: Callable[[], None],
) -> Any:
    """Gives ``app`` the task ``zkml.run_job``, which runs jobs in ``place``; returns it.

    ``on_end`` is called after each job: there may be something to tell.
    """

    def run_job(job_id: str) -> None:
        with structlog.contextvars.bound_contextvars(job=job_id), activity:
            try:
                size = store.size_classes([job_id]).get(job_id)
                if stopping.draining or (size is not None and size not in place.sizes):
                    # Nothing new, or not what it was when it was sent: it is for another worker.
                    send_job(app, job_id, size or SizeClass.SMALL)
                    return
                done = runner.run_turn(job_id, place.owner, stopping)
                if done is None:
                    return
                job = store.job(done)
                if job.state is JobState.QUEUED and job.not_before is None:
                    # Given back by a worker that stops. What waits for another attempt is sent by
                    # a sweep when its time has come.
                    send_job(app, job.id, job.size)
                    store.mark_sent(job.id)
                # Messages that found the tenant's quota of running jobs used up, or no room here.
                again = {store.next_of(job.tenant), store.next_put_off(place)} - {None, job.id}
                announcer(app, store)([str(waits) for waits in again])
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
