"""The Celery app. docs/decisions/0002-celery-threads.md explains its configuration."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Queue

from prover.admission import SizeClass
from prover.jobs.queue import celery_config
from prover.settings import Settings
from workers.ack_qos import forget_failed_acknowledgements


def make_celery(settings: Settings) -> Celery:
    """An app that delivers at least once, one message per running job. Raises
    ``SettingsInvalid`` without a queue."""
    forget_failed_acknowledgements()
    queue: Any = Queue
    app = Celery("zkml", set_as_current=False)
    app.conf.update(celery_config(settings))
    app.conf.update(
        # Work runs in the engine's child processes; a thread here only waits for them.
        worker_pool="threads",
        worker_concurrency=settings.worker_concurrency,
        # A message is acknowledged after its job, and fetched only for a free thread.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Round robin, so that no class waits for another's queue to be empty.
        task_queues=[queue(size.value) for size in SizeClass],
        # After a lost broker connection the job continues under its lease.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Unused features; disabling them saves messages and start-up time.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # `prover.logs` configures logging.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app
