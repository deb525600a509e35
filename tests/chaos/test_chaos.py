"""Everything breaks at once, again and again; in the end every job has ended once and rightly.

``make chaos`` runs it long. ``ZKML_CHAOS_JOBS``, ``_WORKERS`` and ``_SEED`` set it; the figures are
printed. What is random is the order of faults, not what has to hold.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from circuits.errors import ZkmlError
from circuits.profile import Profile
from prover.admission import SizeClass
from prover.jobs import Job, JobState
from prover.usage import Grouping
from tests.acceptance.processes import gone, until
from tests.cases import tiny
from tests.chaos.deployment import Deployment, deployed, finished
from tests.postgres import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

JOBS = int(os.environ.get("ZKML_CHAOS_JOBS", "12"))
WORKERS = int(os.environ.get("ZKML_CHAOS_WORKERS", "2"))
SEED = int(os.environ.get("ZKML_CHAOS_SEED", "1"))
#: Seconds between two faults. They end when this share of the jobs is over, or there were so many
#: for each job: on a slow machine faults would else come faster than workers start.
PAUSE_S, UNTIL, FAULTS_PER_JOB = 1.0, 0.7, 3
INPUT = {"x": [[1.0, -1.0, 2.0, 0.0]]}
#: How a job may end badly when what it needs was taken away again and again.
ALLOWED = {"job_quarantined", "worker_lost", "engine_killed", "store_unavailable"}


@pytest.fixture(params=["sqlite", "postgres"])
def deployment(
    request: pytest.FixtureRequest, tmp_path: Path, srs_cache: Path
) -> Iterator[Deployment]:
    if request.param == "sqlite":
        with deployed(
            tmp_path / "home", srs_cache, database_url=None, workers=WORKERS, seed=SEED
        ) as made:
            yield made
        return
    with (
        postgres() as url,
        deployed(
            tmp_path / "home", srs_cache, database_url=url, workers=WORKERS, seed=SEED
        ) as made,
    ):
        yield made


def test_every_job_ends_once_and_rightly_whatever_breaks(deployment: Deployment) -> None:
    app = deployment.app
    model, _ = app.add_model(tiny.linear(), "model")
    began = time.monotonic()
    ordered = [
        app.request_proof(
            model_id=model.id,
            circuit_id=None,
            payload={"inputs": INPUT},
            profile=Profile(),
            context={"nonce": str(n)},
        ).id
        for n in range(JOBS)
    ]
    break_until_most_are_over(deployment)
    broken_s = time.monotonic() - began
    let_it_recover(deployment)

    jobs = {job.id: job for job in deployment.jobs()}
    assert set(ordered) <= set(jobs), "a job is lost"
    succeeded = [job for job in jobs.values() if job.state is JobState.SUCCEEDED]
    failed = [job for job in jobs.values() if job.state is JobState.FAILED]
    print_figures(deployment, jobs.values(), broken_s, time.monotonic() - began)

    assert {(job.problem or {}).get("code") for job in failed} <= ALLOWED
    for job in succeeded:
        report = app.verify(
            app.bundle(job), {"context": {"nonce": job.request["context"]["nonce"]}}
        )
        assert report["ok"], report
    receipts = [app.receipt(job) for job in succeeded]
    assert len(set(receipts)) == len(succeeded)
    assert all(job.result is None for job in jobs.values() if job not in succeeded)
    charged = sum(u.proofs for u in app.store.usage([Grouping.CALLER]))
    assert charged == len(succeeded), "charged twice, or not at all"
    assert succeeded, "nothing got through"
    nothing_is_left(deployment)


def break_until_most_are_over(deployment: Deployment) -> None:
    while (
        sum(finished(job) for job in patiently(deployment)) < UNTIL * JOBS
        and deployment.done.total() < FAULTS_PER_JOB * JOBS
    ):
        with contextlib.suppress(ZkmlError):  # the database is away just now
            deployment.break_something()
        deployment.look_after()
        time.sleep(PAUSE_S * deployment.random.uniform(0.5, 1.5))


def patiently(deployment: Deployment) -> list[Job]:
    """All jobs, asked for again while the database recovers."""
    for _ in range(100):
        try:
            return deployment.jobs()
        except ZkmlError:
            time.sleep(0.1)
    raise AssertionError("the database does not come back")


def let_it_recover(deployment: Deployment) -> None:
    give_up = time.monotonic() + 300 + 60 * JOBS
    while not all(finished(job) for job in patiently(deployment)):
        assert time.monotonic() < give_up, [
            (job.id, job.state, job.attempt, job.stage) for job in deployment.jobs()
        ]
        deployment.look_after()
        time.sleep(0.2)


def nothing_is_left(deployment: Deployment) -> None:
    """No process, scratch folder, input, lease or message outlives the work."""
    home = deployment.settings.home

    def all_awake() -> bool:
        deployment.look_after()
        return not deployment.thaw

    until(all_awake)
    below = [p for w in deployment.workers for p in psutil.Process(w.pid).children(recursive=True)]
    for worker in deployment.workers:
        worker.terminate()
    for worker in deployment.workers:
        # One that was started a moment ago does not handle signals yet.
        assert worker.wait(30) in (0, -signal.SIGTERM)
    until(lambda: gone(below), within_s=20)
    private = home / "artifacts" / "private"
    assert list(private.iterdir()) == []
    # A killed fork server's folder goes with the start of the next one.
    temporary = home.parent / f"{home.name}-tmp"
    code = "from circuits.engine.forkserver import _scratch_root; _scratch_root()[0].rmdir()"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)}, check=True
    )
    assert list(temporary.glob("zkml-engine-*")) == []
    assert not list((home / "tmp").glob("build-*/*"))
    with redis.Redis.from_url(deployment.redis.url) as client:
        kept = {bytes(key).decode() for key in client.keys("*")}
    mine = {f"zkml:{name}" for name in (*SizeClass, "unacked", "unacked_index", "unacked_mutex")}
    assert all(key.startswith("zkml:_kombu.binding") or key in mine for key in kept), kept


def print_figures(
    deployment: Deployment, jobs: Iterable[Job], broken_s: float, total_s: float
) -> None:
    jobs = list(jobs)
    ends = Counter(
        job.state.value if job.problem is None else str(job.problem["code"]) for job in jobs
    )
    attempts = Counter(job.attempt for job in jobs)
    print(
        f"\nchaos: {len(jobs)} jobs, {WORKERS} workers, {sum(deployment.done.values())} faults in"
        f" {broken_s:.0f} s, all over after {total_s:.0f} s"
    )
    for title, counts in (("faults", deployment.done), ("ends", ends), ("attempts", attempts)):
        print(f"  {title}: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()))
