"""Notifications between processes, through Redis."""

from __future__ import annotations

import threading

import redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from prover.errors import QueueUnavailable
from prover.jobs.notifications import Notifications
from prover.logs import get_logger

#: The required maxmemory-policy: a queue must not lose keys.
_KEEPS_ALL = "noeviction"
_log = get_logger(__name__)


class RedisNotifications(Notifications):
    """Notifications through Redis. One thread and one connection per process receive them for all
    waiters; they start with the first subscription."""

    def __init__(self, url: str, prefix: str = "zkml:"):
        """``url`` is ``redis://``, ``rediss://`` or ``unix://``; channels begin with
        ``prefix``."""
        super().__init__()
        self._channel = f"{prefix}job:"
        self._client = redis.Redis.from_url(
            url,
            socket_connect_timeout=2,
            socket_timeout=5,
            health_check_interval=30,
            retry=Retry(NoBackoff(), 1),  # notifications may be lost
        )
        self._listener: threading.Thread | None = None
        self._ready = threading.Event()
        self._closing = threading.Event()

    def publish(self, job_id: str) -> None:
        try:
            self._client.publish(self._channel + job_id, b"")
        except redis.RedisError as error:
            _log.warning("notification_lost", job=job_id, error=str(error))

    def ping(self) -> None:
        try:
            policy = self._client.info("memory").get("maxmemory_policy", _KEEPS_ALL)
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis did not respond: {error}.") from error
        if policy != _KEEPS_ALL:
            raise QueueUnavailable(
                f"Redis may drop messages when it is full: its maxmemory-policy is {policy}.",
                advice=f"Set maxmemory-policy {_KEEPS_ALL} in its configuration.",
            )

    def start(self) -> None:
        with self._guard:
            if self._listener is None:
                self._listener = threading.Thread(
                    target=self._listen, name="notifications", daemon=True
                )
                self._listener.start()
        self._ready.wait(timeout=2)

    def close(self) -> None:
        self._closing.set()
        if self._listener is not None:
            self._listener.join(timeout=5)
        self._client.close()

    def _listen(self) -> None:
        pause_s = 0.1
        while not self._closing.is_set():
            try:
                with PubSub(self._client.connection_pool) as pubsub:
                    pubsub.psubscribe(self._channel + "*")
                    self._hear(pubsub)
                pause_s = 0.1
            except (redis.RedisError, OSError) as error:
                _log.warning("notifications_interrupted", error=str(error))
                self._closing.wait(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    def _hear(self, pubsub: PubSub) -> None:
        while not self._closing.is_set():
            message = pubsub.get_message(timeout=0.5)
            if message is None:
                continue
            if message["type"] == "psubscribe":
                self._ready.set()
                self._wake(None)  # notifications may have been missed while disconnected
            elif message["type"] == "pmessage":
                self._wake(message["channel"].decode().removeprefix(self._channel))
