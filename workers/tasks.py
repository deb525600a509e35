"""The task ``zkml.run_job``: calls the pipeline.

A message says that there is work for one job: the next in order, not necessarily the one it names.
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


#: Ids per query.
_AT_ONCE = 500


def announcer(app: Celery, store: Store) -> Callable[[Sequence[str]], None]:
    """Puts jobs that another job created on their queues. A sweep finds those that cannot be sent
    now."""

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

    ``on_end`` is called after each job: webhooks may be due.
    """

    def run_job(job_id: str) -> None:
        with structlog.contextvars.bound_contextvars(job=job_id), activity:
            try:
                size = store.size_classes([job_id]).get(job_id)
                if stopping.draining or (size is not None and size not in place.sizes):
                    # Draining, or the job's class has changed: it is for another worker.
                    send_job(app, job_id, size or SizeClass.SMALL)
                    return
                done = runner.run_turn(job_id, place.owner, stopping)
                if done is None:
                    return
                job = store.job(done)
                if job.state is JobState.QUEUED and job.not_before is None:
                    # Requeued by a stopping worker. A sweep sends retries when they are due.
                    send_job(app, job.id, job.size)
                    store.mark_sent(job.id)
                # Jobs whose message found the tenant's quota exhausted or no capacity.
                again = {store.next_of(job.tenant), store.next_put_off(place)} - {None, job.id}
                announcer(app, store)([str(waits) for waits in again])
            except JobNotFound:
                _log.warning("job_unknown")
            except ZkmlError as error:
                # Database or queue are unavailable. The lease expires and a sweep resends the job.
                _log.warning("job_left", code=error.code, detail=error.detail)
            except Exception:
                # An internal error must not end the worker; the row is the source of truth.
                _log.exception("job_left")
            finally:
                on_end()

    # Called only through the app; Celery has its own annotations.
    return app.task(run_job, name=RUN_JOB)
