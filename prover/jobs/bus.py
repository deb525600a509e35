"""The bus of notifications that fits: through Redis, or within this process."""

from __future__ import annotations

from prover.jobs.notifications import Nudges


class LocalNudges(Nudges):
    """Nudges within one process, for work without a server."""

    def publish(self, job_id: str) -> None:
        self._wake(job_id)


def open_nudges(redis_url: str | None, prefix: str = "zkml:") -> Nudges:
    """The bus that fits: through Redis when there is one, else within this process."""
    if redis_url is None:
        return LocalNudges()
    # Loads a client that `zkml prove` has no use for.
    from prover.jobs.redis_notifications import RedisNudges

    return RedisNudges(redis_url, prefix)
