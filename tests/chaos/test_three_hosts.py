"""Three hosts with clocks of their own share PostgreSQL, S3 and Redis. The network between them and
these is cut and healed, workers and engines are killed and stopped. Every job ends once and
rightly."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from benchmarks.servers.hosts import Host, may_make_hosts, network, shared_redis
from benchmarks.servers.postgres import postgres
from benchmarks.servers.s3 import BUCKET, s3
from circuits.format.profile import Profile
from prover.app import App
from prover.records.job import Job, JobState
from prover.records.usage import Grouping
from prover.settings import Settings
from tests.acceptance.processes import ROOT, environment, until
from tests.cases import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not may_make_hosts(), reason="hosts are network namespaces: needs root"),
]

JOBS = int(os.environ.get("ZKML_CHAOS_JOBS", "9"))
SEED = int(os.environ.get("ZKML_CHAOS_SEED", "1"))
LEASE_S = 3.0
#: A worker whose clock is off.
WORKER = Path(__file__).with_name("worker.py")
#: How long a host is cut off: its leases run out meanwhile.
CUT_S = 2 * LEASE_S
ALLOWED = {
    "job_quarantined",
    "worker_lost",
    "engine_killed",
    "store_unavailable",
    "artifacts_unavailable",
}


def test_three_hosts_that_break_by_turns_end_every_job_once(
    tmp_path: Path, srs_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(SEED)
    with (
        network(tmp_path) as bridge,
        postgres(bridge.services) as database_url,
        s3(bridge.services) as bucket,
        shared_redis(tmp_path / "redis", bridge.services) as redis_url,
    ):
        made = bridge.hosts
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        shared = {
            "database_url": database_url,
            "artifacts_url": f"s3://{BUCKET}",
            "redis_url": redis_url,
            "srs_dir": str(srs_cache),
            "key_path": str(tmp_path / "keys"),
            "lease_s": LEASE_S,
            "sweep_s": 0.5,
            "retry_s": 0.2,
        }
        app = App.open(Settings.load(home=tmp_path / "home", plan_effort="fast", **shared))
        assert app.keys  # made before any host looks for them
        env = environment(tmp_path / "home", PYTHONPATH=str(ROOT), **bucket.environment)
        env |= {f"ZKML_{name.upper()}": str(value) for name, value in shared.items()}
        model, _ = app.add_model(tiny.linear(), "model")
        ordered = [
            app.request_proof(
                model_id=model.id,
                circuit_id=None,
                payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
                profile=Profile(),
                context={"nonce": str(n)},
            ).id
            for n in range(JOBS)
        ]
        for host, seconds in zip(made, (0.0, 1.0, -1.0), strict=True):
            host.set_clock(seconds)
            host.start_worker(env, [str(WORKER)])
        until(lambda: all("worker_ready" in host.log.read_text() for host in made))
        done = break_by_turns(app, made, env, chance)
        jobs = [app.store.job(job_id) for job_id in ordered]
        look_at(app, jobs, made, done)
        app.close()


def break_by_turns(
    app: App, made: list[Host], env: dict[str, str], chance: random.Random
) -> Counter[str]:
    """Breaks one host after the other until most jobs are over; waits for the rest."""
    done, give_up = Counter[str](), time.monotonic() + 600 + 60 * JOBS
    while (open_jobs := JOBS - over(app)) > 0:
        assert time.monotonic() < give_up, [job.state for job in app.store.jobs(JOBS).items]
        time.sleep(chance.uniform(1, 3))
        for host in made:  # one that was cut off while it started has ended
            if host.process is None or host.process.poll() is not None:
                host.start_worker(env, [str(WORKER)])
        running = app.store.count_jobs()[JobState.RUNNING]
        if running and open_jobs > JOBS // 3 and done.total() < 2 * JOBS:
            fault = chance.choice(FAULTS)
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                fault(chance.choice(made))
                done[fault.__name__] += 1
    return done


def cut_off(host: Host) -> None:
    host.cut_off()
    time.sleep(CUT_S)
    host.heal()


def kill_worker(host: Host) -> None:
    worker_of(host).kill()


def stop_worker(host: Host) -> None:
    worker = worker_of(host)
    worker.suspend()
    time.sleep(CUT_S)
    worker.resume()


def kill_engine(host: Host) -> None:
    """A child that works, or else the server that children come from."""
    worker_of(host).children(recursive=True)[-1].kill()


def have_the_store_fail(host: Host) -> None:
    (host.faults / "store").write_text("fail")
    time.sleep(CUT_S)
    (host.faults / "store").unlink()


def step_the_clock(host: Host) -> None:
    host.set_clock(-30.0)


FAULTS = (cut_off, kill_worker, stop_worker, kill_engine, have_the_store_fail, step_the_clock)


def worker_of(host: Host) -> psutil.Process:
    assert host.process is not None
    return psutil.Process(host.process.pid)


def over(app: App) -> int:
    return sum(count for state, count in app.store.count_jobs().items() if state.terminal)


def look_at(app: App, jobs: list[Job], made: list[Host], done: Counter[str]) -> None:
    succeeded = [job for job in jobs if job.state is JobState.SUCCEEDED]
    workers = {job.attempt for job in jobs}
    print(
        f"\nthree hosts: {len(jobs)} jobs, {len(succeeded)} succeeded, attempts {sorted(workers)},"
        f" {dict(done)}"
    )
    assert {(job.problem or {}).get("code") for job in jobs if job not in succeeded} <= ALLOWED
    assert succeeded, "nothing got through"
    for job in succeeded:
        assert app.verify(app.bundle(job), {"context": {"nonce": job.request["context"]["nonce"]}})[
            "ok"
        ]
    assert len({app.receipt(job) for job in succeeded}) == len(succeeded)
    assert sum(u.proofs for u in app.store.usage([Grouping.CALLER])) == len(succeeded)
    for host in made:
        assert list(host.folder.iterdir()) == []  # its own disk is not seen from outside
