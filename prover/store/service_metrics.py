"""Metrics for operators: waiting jobs, outcomes, time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from prover.admission import SizeClass
from prover.records.job import JobKind, JobState, Stage
from prover.store.database import Repository
from prover.store.schema import jobs

#: The newest ended jobs, from which metrics of time and memory are computed.
RECENT = 500


@dataclass(frozen=True, kw_only=True)
class ServiceMetrics:
    """Metrics over the rows of all tenants."""

    states: dict[tuple[str, str], int]  # by kind and state
    ends: dict[tuple[str, str], int]  # by kind and outcome: a state or a problem's code
    oldest_s: dict[str, float]  # age of the oldest waiting job, by kind
    sizes: dict[tuple[str, str], int]  # unfinished jobs, by class and state
    deaths: int  # expired leases
    lost: int  # other retried attempts
    # Of the newest ended jobs:
    timings: list[dict[str, float]]
    peak_bytes: list[int]
    predicted_bytes: list[tuple[int, int]]  # beside the peak, if both are known
    built: int  # proofs whose circuit had to be built
    found: int  # proofs with an existing circuit


class ServiceMetricsReader(Repository):
    """Metrics over the whole table, for operators."""

    def service_metrics(self) -> ServiceMetrics:
        """All metrics, in one transaction."""
        code = jobs.c.problem["code"].as_string().label("code")
        counted = sa.select(jobs.c.kind, jobs.c.state, code, sa.func.count().label("count"))
        waiting = (
            sa.select(jobs.c.kind, sa.func.min(jobs.c.created_at).label("since"))
            .where(jobs.c.state == JobState.QUEUED.value)
            .group_by(jobs.c.kind)
        )
        sizes = (
            sa.select(jobs.c.size, jobs.c.state, sa.func.count())
            .where(jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]))
            .group_by(jobs.c.size, jobs.c.state)
        )
        sums = sa.select(sa.func.sum(jobs.c.deaths), sa.func.sum(jobs.c.lost))
        recent = (
            sa.select(
                jobs.c.kind,
                jobs.c.state,
                jobs.c.size,
                jobs.c.needs_bytes,
                jobs.c.timings,
                jobs.c.peak_rss_bytes,
            )
            .where(jobs.c.finished_at.is_not(None))
            .order_by(jobs.c.finished_at.desc())
            .limit(RECENT)
        )
        with self._db.read() as conn:
            groups = conn.execute(counted.group_by(jobs.c.kind, jobs.c.state, "code")).all()
            oldest = conn.execute(waiting).all()
            open_jobs = conn.execute(sizes).all()
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
        proved = [row.timings for row in ended if row.kind == JobKind.PROOF and _succeeded(row)]
        built = sum(Stage.COMPILE in timings for timings in proved)
        return ServiceMetrics(
            sizes={(row[0], row[1]): int(row[2]) for row in open_jobs},
            predicted_bytes=[
                (row.needs_bytes, row.peak_rss_bytes)
                for row in ended
                # A job requested before its circuit existed was predicted as a build.
                if row.needs_bytes and row.peak_rss_bytes and row.size != SizeClass.COMPILE
            ],
            built=built,
            found=len(proved) - built,
            states=states,
            ends=ends,
            oldest_s={row.kind: _age_s(row.since, self._now()) for row in oldest},
            deaths=int(deaths or 0),
            lost=int(lost or 0) - int(deaths or 0),
            timings=[row.timings for row in ended],
            peak_bytes=[row.peak_rss_bytes for row in ended if row.peak_rss_bytes],
        )


def _succeeded(row: Any) -> bool:
    return bool(row.state == JobState.SUCCEEDED)


def _age_s(since: Any, now: datetime) -> float:
    return max(0.0, float((now - since).total_seconds()))
