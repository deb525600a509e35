"""What those who run the service watch: how much waits, how jobs end, what they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.jobs import JobState
from prover.store.database import Repository
from prover.store.schema import jobs

#: Ended jobs that figures of time and memory are made of: the newest.
RECENT = 500


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Counts are of all rows, whatever their tenant. ``states``: by kind and state; ``ends``: by
    kind and outcome, which is a state or a problem's code; ``oldest_s``: the age of the oldest job
    that waits, by kind; ``deaths``: leases whose worker fell silent; ``lost``: other attempts that
    were made again; ``timings`` and ``peak_bytes``: of the newest jobs that ended."""

    states: dict[tuple[str, str], int]
    ends: dict[tuple[str, str], int]
    oldest_s: dict[str, float]
    deaths: int
    lost: int
    timings: list[dict[str, float]]
    peak_bytes: list[int]


class Operations(Repository):
    """Figures over the whole table, for an operator and no tenant."""

    def figures(self) -> Figures:
        """All of them, in one transaction."""
        code = jobs.c.problem["code"].as_string().label("code")
        counted = sa.select(jobs.c.kind, jobs.c.state, code, sa.func.count().label("count"))
        waiting = (
            sa.select(jobs.c.kind, sa.func.min(jobs.c.created_at).label("since"))
            .where(jobs.c.state == JobState.QUEUED.value)
            .group_by(jobs.c.kind)
        )
        sums = sa.select(sa.func.sum(jobs.c.deaths), sa.func.sum(jobs.c.lost))
        recent = (
            sa.select(jobs.c.timings, jobs.c.peak_rss_bytes)
            .where(jobs.c.finished_at.is_not(None))
            .order_by(jobs.c.finished_at.desc())
            .limit(RECENT)
        )
        with self._db.read() as conn:
            groups = conn.execute(counted.group_by(jobs.c.kind, jobs.c.state, "code")).all()
            oldest = conn.execute(waiting).all()
            deaths, lost = conn.execute(sums).one()
            ended = conn.execute(recent).all()
        states: dict[tuple[str, str], int] = {}
        ends: dict[tuple[str, str], int] = {}
        for row in groups:
            count = int(row[3])
            states[row.kind, row.state] = states.get((row.kind, row.state), 0) + count
            if JobState(row.state).terminal:
                key = (row.kind, row.code or row.state)
                ends[key] = ends.get(key, 0) + count
        return Figures(
            states=states,
            ends=ends,
            oldest_s={row.kind: _age_s(row.since, self._now()) for row in oldest},
            deaths=int(deaths or 0),
            lost=int(lost or 0) - int(deaths or 0),
            timings=[row.timings for row in ended],
            peak_bytes=[row.peak_rss_bytes for row in ended if row.peak_rss_bytes],
        )


def _age_s(since: Any, now: datetime) -> float:
    return max(0.0, float((now - since).total_seconds()))
