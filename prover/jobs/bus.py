"""Selects the bus of notifications: Redis, or within this process."""

from __future__ import annotations

from prover.jobs.notifications import Notifications


class LocalNotifications(Notifications):
    """Notifications within one process, for work without a server."""

    def publish(self, job_id: str) -> None:
        self._wake(job_id)


def open_notifications(redis_url: str | None, prefix: str = "zkml:") -> Notifications:
    """The bus through Redis if there is a URL, else within this process."""
    if redis_url is None:
        return LocalNotifications()
    # Loads a Redis client, which `zkml prove` does not need.
    from prover.jobs.redis_notifications import RedisNotifications

    return RedisNotifications(redis_url, prefix)
