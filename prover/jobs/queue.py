"""The Celery queue between API and workers.

Each size class has its own queue. Messages carry only job ids; the job's row is the source of
truth. A worker's sweep resends a lost message (``Store.runnable``); a duplicate finds the job
already claimed.
"""

from __future__ import annotations

from typing import Any, Protocol

from prover.admission import SizeClass
from prover.errors import QueueUnavailable, SettingsInvalid
from prover.settings import Settings

RUN_JOB = "zkml.run_job"


class TaskSender(Protocol):
    """The part of a Celery app that is used here."""

    def send_task(self, name: str, **options: Any) -> object: ...


def visibility_timeout_s(settings: Settings) -> int:
    """Celery's visibility timeout: seconds until the broker redelivers an unacknowledged message.

    Longer than any job (setup, proof and verification each have the engine's deadline), so that
    running jobs are not delivered twice, which would be harmless but wasteful. A long timeout costs
    nothing, because a lost worker's job returns when its lease expires.
    """
    return int(4 * settings.engine_deadline_s) + 600


def celery_config(settings: Settings) -> dict[str, Any]:
    """The Celery settings that sender and worker must agree on. Raises ``SettingsInvalid``."""
    options = {
        "visibility_timeout": visibility_timeout_s(settings),
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # For every key: Redis may have other users.
        "global_keyprefix": settings.redis_prefix,
    }
    return {
        "broker_url": broker_url(settings),
        "broker_transport_options": options,
        # Celery's own guide asks for the timeout in all three places.
        "result_backend_transport_options": {"visibility_timeout": options["visibility_timeout"]},
        "visibility_timeout": options["visibility_timeout"],
        "broker_connection_retry_on_startup": True,
        "task_default_queue": SizeClass.SMALL.value,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # A request must not block on an unavailable queue: the sweep sends its job later.
        "task_publish_retry_policy": {
            "max_retries": 2,
            "interval_start": 0.05,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
    }


def broker_url(settings: Settings) -> str:
    """``ZKML_REDIS_URL`` in Celery's form. Raises ``SettingsInvalid``."""
    url = settings.redis_url
    if url is None:
        raise SettingsInvalid(
            "ZKML_REDIS_URL is not set, and a worker needs a queue.",
            advice="Use `zkml up`, which starts a redis-server, or set ZKML_REDIS_URL.",
        )
    if url.startswith("unix://"):
        path, _, query = url.removeprefix("unix://").partition("?")
        database = query.removeprefix("db=") or "0"
        return f"redis+socket://{path}?virtual_host={database}"
    if url.startswith(("redis://", "rediss://")):
        return url
    raise SettingsInvalid(
        "ZKML_REDIS_URL is not a Redis URL.",
        advice="Use redis://HOST:PORT/DB, rediss://… or unix:///path/to/redis.sock.",
    )


def send_job(app: TaskSender, job_id: str, size: str = SizeClass.SMALL) -> None:
    """Puts a job on the queue of its class, after its row is committed. Raises
    ``QueueUnavailable``; a worker's sweep then sends the job later."""
    try:
        app.send_task(RUN_JOB, args=[job_id], queue=str(size))
    except Exception as error:  # avoids importing Celery's error types
        raise QueueUnavailable(f"The job queue did not respond: {error}.") from error
