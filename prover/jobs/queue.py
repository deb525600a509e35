"""The queue between API and workers, in plain values: both use these without knowing each other.

Each class of jobs has a queue of its name. A queue carries job ids and nothing else; the job's row
is the truth. A message that is lost is sent again by a worker's sweep (``Store.runnable``), one
that comes twice finds the job taken.
"""

from __future__ import annotations

from typing import Any, Protocol

from prover.admission import SizeClass
from prover.errors import QueueUnavailable, SettingsInvalid
from prover.settings import Settings

RUN_JOB = "zkml.run_job"


class TaskSender(Protocol):
    """What is asked of a Celery app."""

    def send_task(self, name: str, **options: Any) -> object: ...


def visibility_timeout_s(settings: Settings) -> int:
    """Seconds until the broker believes a message's worker dead and delivers it again.

    Longer than the longest life of a job (setup, proof and verification each have the engine's
    deadline), or jobs would be delivered twice while they run. That would be harmless and only
    wasteful; being long costs nothing, because a lost worker's job comes back by its lease.
    """
    return int(4 * settings.engine_deadline_s) + 600


def celery_config(settings: Settings) -> dict[str, Any]:
    """The Celery settings that sender and worker must agree on. Raises ``SettingsInvalid``."""
    options = {
        "visibility_timeout": visibility_timeout_s(settings),
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # Of every key: a Redis may have other users.
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
        # A request must not hang on a queue that is down: the sweep sends its job later.
        "task_publish_retry_policy": {
            "max_retries": 2,
            "interval_start": 0.05,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
    }


def broker_url(settings: Settings) -> str:
    """``ZKML_REDIS_URL`` as Celery spells it. Raises ``SettingsInvalid``."""
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
    """Puts a job on its class's queue, after its row is committed. Raises ``QueueUnavailable``;
    the job is not lost then: a worker's sweep sends it once the queue is back."""
    try:
        app.send_task(RUN_JOB, args=[job_id], queue=str(size))
    except Exception as error:  # Celery's own error types must not be known here
        raise QueueUnavailable(f"The job queue did not answer: {error}.") from error
