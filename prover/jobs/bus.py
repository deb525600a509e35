"""The bus of notifications that fits: through Redis, or within this process."""

from __future__ import annotations

from prover.jobs.notifications import Notifications


class LocalNotifications(Notifications):
    """Nudges within one process, for work without a server."""

    def publish(self, job_id: str) -> None:
        self._wake(job_id)


def open_notifications(redis_url: str | None, prefix: str = "zkml:") -> Notifications:
    """The bus that fits: through Redis when there is one, else within this process."""
    if redis_url is None:
        return LocalNotifications()
    # Loads a client that `zkml prove` has no use for.
    from prover.jobs.redis_notifications import RedisNotifications

    return RedisNotifications(redis_url, prefix)
