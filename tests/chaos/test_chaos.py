"""Everything breaks at once, again and again; in the end every job has ended once and rightly.

``make chaos`` runs it long. ``ZKML_CHAOS_JOBS``, ``_WORKERS`` and ``_SEED`` set it; the figures are
printed. What is random is the order of faults, not what has to hold.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
import sqlalchemy as sa

from api.client import Client, ServerProblem, UnexpectedAnswer
from benchmarks.servers.postgres import postgres
from benchmarks.servers.s3 import s3
from circuits.errors import ZkmlError
from prover.admission import SizeClass
from prover.app import App
from prover.batch.service import SharedFiles
from prover.records.batch import ItemState
from prover.records.job import Job, JobKind, JobState
from prover.records.usage import Grouping
from prover.statement.bundle import write_bundle
from tests.acceptance.processes import gone, until
from tests.cases import tiny
from tests.chaos.deployment import Deployment, deployed, finished

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(7200)]

JOBS = int(os.environ.get("ZKML_CHAOS_JOBS", "12"))
WORKERS = int(os.environ.get("ZKML_CHAOS_WORKERS", "2"))
SEED = int(os.environ.get("ZKML_CHAOS_SEED", "1"))
#: Seconds between two faults. They end when this share of the jobs is over, or there were so many
#: for each job: on a slow machine faults would else come faster than workers start.
PAUSE_S, UNTIL, FAULTS_PER_JOB = 1.0, 0.7, 3
#: Rows of each of two batches; share of jobs with a deadline.
ROWS, DEADLINES = max(3, JOBS // 10), 0.15
#: An idle process has fewer file descriptors, and less memory, however long it has worked.
FDS, RSS = 100, 400 << 20
INPUT = {"x": [[1.0, -1.0, 2.0, 0.0]]}
#: How a job may end badly when what it needs was taken away again and again.
ALLOWED = {
    "job_quarantined",
    "worker_lost",
    "engine_killed",
    "store_unavailable",
    "artifacts_unavailable",
    "storage_full",
}


@pytest.fixture(params=["sqlite", "postgres and s3"])
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
        s3() as bucket,
        deployed(
            tmp_path / "home",
            srs_cache,
            database_url=url,
            workers=WORKERS,
            seed=SEED,
            bucket=bucket,
        ) as made,
    ):
        yield made


def test_every_job_ends_once_and_rightly_whatever_breaks(deployment: Deployment) -> None:
    app = deployment.app
    model, _ = app.add_model(tiny.linear(), "model")
    began = time.monotonic()
    with ThreadPoolExecutor(2) as clients:
        asked = clients.submit(order_proofs, deployment, model.id)
        batches = clients.submit(order_batches, deployment, model.id)
        break_until_most_are_over(deployment, asked, batches)
        broken_s = time.monotonic() - began
        let_it_recover(deployment, asked, batches)

    jobs = {job.id: job for job in deployment.jobs()}
    assert set(asked.result()) <= set(jobs), "a job is lost"
    proofs = [job for job in jobs.values() if job.kind is JobKind.PROOF]
    assert len(proofs) == len(set(asked.result())) == JOBS, "a job was made twice"
    succeeded = [job for job in proofs if job.state is JobState.SUCCEEDED]
    failed = [job for job in jobs.values() if job.state is JobState.FAILED]
    print_figures(deployment, jobs.values(), broken_s, time.monotonic() - began)

    codes = {(job.problem or {}).get("code") for job in failed}
    assert codes <= ALLOWED, [job.problem for job in failed]
    for job in succeeded:
        report = app.verify(
            app.bundle(job), {"context": {"nonce": job.request["context"]["nonce"]}}
        )
        assert report["ok"], report
    receipts = [app.receipt(job) for job in succeeded]
    assert len(set(receipts)) == len(succeeded)
    assert all(job.result is None for job in proofs if job not in succeeded)
    proved = [bundle for batch in batches.result() for bundle in bundles_of(app, batch)]
    for bundle in proved:
        assert app.verify(bundle, None)["ok"]
    charged = sum(u.proofs for u in app.store.usage([Grouping.CALLER]))
    assert charged == len(succeeded) + len(proved), "charged twice, or not at all"
    assert succeeded, "nothing got through"
    nothing_is_left(deployment)


def order_proofs(deployment: Deployment, model: str) -> list[str]:
    """Jobs through the API, each asked for until there is an answer; some have deadlines."""
    chance = random.Random(SEED)
    made = []
    for n in range(JOBS):
        body: dict[str, Any] = {"context": {"nonce": str(n)}, "client_id": f"chaos-{n}"}
        if chance.random() < DEADLINES:
            body["deadline_s"] = chance.uniform(1, 120)
        ask = partial(Client.create_proof, model=model, inputs=INPUT, **body)
        made.append(str(answered(deployment, ask).id))
    return made


def order_batches(deployment: Deployment, model: str) -> list[str]:
    rows = [{"id": str(n), "inputs": INPUT} for n in range(ROWS)]
    return [
        str(
            answered(
                deployment,
                partial(Client.create_batch, rows=rows, model=model, idempotency_key=f"b{n}"),
            ).id
        )
        for n in range(2)
    ]


def answered(deployment: Deployment, ask: Callable[[Client], Any]) -> Any:
    """As a client does that does not give up. What is wrong for good fails the test."""
    give_up = time.monotonic() + 600
    while True:
        try:
            with Client(deployment.url, timeout_s=10) as client:
                return ask(client)
        except (httpx.TransportError, UnexpectedAnswer):
            pass
        except ServerProblem as problem:
            if not problem.problem.retryable:
                raise
        assert time.monotonic() < give_up, "the API does not come back"
        time.sleep(0.2)


def bundles_of(app: App, batch_id: str) -> Iterator[bytes]:
    """A bundle for each proved row; every row of the batch has ended."""
    give_up = time.monotonic() + 600
    while not app.batches.batch(batch_id).state.terminal:  # as a client polls it
        assert time.monotonic() < give_up, "the batch does not end"
        time.sleep(0.2)
    items = app.store.items(batch_id, limit=2 * ROWS)
    assert len(items) == ROWS
    assert all(item.state.terminal for item in items)
    shared = SharedFiles(app.batches.services)
    for item in items:
        if item.state is ItemState.PROVED:
            yield write_bundle(app.batches.members(item, shared))


def break_until_most_are_over(deployment: Deployment, *clients: Future[Any]) -> None:
    while deployment.done.total() < FAULTS_PER_JOB * JOBS and (
        not all(client.done() for client in clients)
        or sum(finished(job) for job in patiently(deployment)) < UNTIL * JOBS
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


def let_it_recover(deployment: Deployment, *clients: Future[Any]) -> None:
    give_up = time.monotonic() + 300 + 60 * JOBS
    while (
        deployment.undo
        or not all(client.done() for client in clients)
        or not all(finished(job) for job in patiently(deployment))
    ):
        assert time.monotonic() < give_up, [
            (job.id, job.state, job.attempt, job.stage) for job in deployment.jobs()
        ]
        deployment.look_after()
        time.sleep(0.2)


def nothing_is_left(deployment: Deployment) -> None:
    """No process, scratch folder, input, lease or message outlives the work."""
    home = deployment.settings.home
    assert deployment.api is not None
    ours = [*deployment.workers, deployment.api]
    below = [p for one in ours for p in psutil.Process(one.pid).children(recursive=True)]
    fds = [psutil.Process(one.pid).num_fds() for one in ours]
    rss = [psutil.Process(one.pid).memory_info().rss for one in ours]
    print(f"  file descriptors: {fds}, resident MiB: {[n >> 20 for n in rss]}")
    assert max(fds) < FDS
    assert max(rss) < RSS
    for one in ours:
        one.terminate()
    for one in ours:
        # One that was started a moment ago does not handle signals yet.
        assert one.wait(60) in (0, -signal.SIGTERM)
    until(lambda: gone(below), within_s=60)
    # A store that failed while an input was to be forgotten leaves it to housekeeping. What no row
    # names yet is of a request that was cut off: it goes after a day.
    app = deployment.app
    app.keep_house()
    with app.store._db.read() as conn:
        assert (
            conn.execute(sa.text("SELECT count(*) FROM jobs WHERE lease_owner <> ''")).scalar() == 0
        )
    left = [key for key, _ in app.artifacts.private_keys()]
    assert app.store.every_tenant().referenced_inputs(left) == {}
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
