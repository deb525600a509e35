"""Workers: real processes, a real redis-server, a real database; only the proving is left out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from prover.admission import SizeClass
from prover.errors import QueueUnavailable
from prover.host.redis_server import RedisServer
from prover.jobs.queue import send_job
from prover.records.job import JobKind, JobState
from prover.testing import model_record
from tests.integration.fake_deployment import REPOSITORY, Deployment, until
from workers.celery_app import make_celery
from workers.sweep import sweep_once

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with RedisServer.start(tmp_path / "redis") as server:
        running = Deployment(tmp_path, server.url)
        try:
            yield running
        finally:
            running.close()


def test_a_job_is_run_once_and_its_message_is_gone(deployment: Deployment) -> None:
    deployment.start_worker()
    job = deployment.post(0.05)

    done = deployment.wait(job, JobState.SUCCEEDED)

    assert (done.attempt, deployment.count("started", job)) == (1, 1)
    until(lambda: deployment.broker_keys() == [])


@pytest.mark.long
def test_a_job_delivered_many_times_does_its_work_once(deployment: Deployment) -> None:
    deployment.start_worker()
    deployment.start_worker()
    job = deployment.post(0.5)
    for _ in range(5):
        send_job(deployment.sender, job.id, job.size)

    deployment.wait(job, JobState.SUCCEEDED)

    until(lambda: deployment.count("refused", job) == 5)
    assert deployment.count("started", job) == 1


@pytest.mark.long
def test_a_tenants_first_job_waits_for_one_job_of_each_worker_at_most(
    deployment: Deployment,
) -> None:
    late = deployment.store.for_tenant("late")
    late.add_model(model_record())
    for _ in range(200):
        deployment.post(0.05)
    deployment.start_worker()
    deployment.start_worker()
    until(lambda: deployment.diary().count("started") >= 4)

    job = late.create_job(JobKind.PROOF, model_record().id, "circuit", {"work_s": 0.0}, None)
    before = deployment.diary().count("started")
    send_job(deployment.sender, job.id, job.size)
    until(lambda: late.job(job.id).state is JobState.SUCCEEDED)

    order = [line.split()[1] for line in deployment.diary().splitlines() if "started" in line]
    # Each worker may have chosen one before that, and not have written of it yet.
    assert order.index(job.id) - before <= 2
    until(lambda: deployment.diary().count("ended") == 201, 60)
    until(lambda: deployment.broker_keys() == [])


def test_the_job_of_a_killed_worker_continues(deployment: Deployment) -> None:
    doomed = deployment.start_worker()
    job = deployment.post(2.0)
    until(lambda: deployment.count("started", job) == 1)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    successor = deployment.start_worker()

    done = deployment.wait(job, JobState.SUCCEEDED)

    assert done.result == {"by": successor.pid}
    assert done.attempt == 2
    assert deployment.count("started", job) == 2


@pytest.mark.long
def test_a_job_that_kills_every_worker_is_set_aside(deployment: Deployment) -> None:
    job = deployment.post(60)
    for attempt in (1, 2):
        worker = deployment.start_worker()
        until(partial(lambda n: deployment.count("started", job) == n, attempt))
        worker.kill()
        worker.wait()
    deployment.start_worker()

    failed = deployment.wait(job, JobState.FAILED)

    assert failed.problem is not None
    assert failed.problem["code"] == "job_quarantined"
    assert len(failed.problem["context"]["losses"]) == 2


@pytest.mark.long
def test_a_stopping_workers_job_continues_on_another(deployment: Deployment) -> None:
    leaving = deployment.start_worker()
    job = deployment.post(600)
    deployment.wait(job, JobState.RUNNING)

    leaving.terminate()
    assert leaving.wait(timeout=300) == 0  # it did not wait for the job
    assert deployment.store.job(job.id).state is JobState.QUEUED
    assert deployment.broker_keys() == [SizeClass.COMPILE]

    deployment.start_worker()
    deployment.wait(job, JobState.RUNNING)


def test_a_running_job_can_be_canceled(deployment: Deployment) -> None:
    deployment.start_worker()
    job = deployment.post(60)
    deployment.wait(job, JobState.RUNNING)

    deployment.store.request_cancel(job.id)

    deployment.wait(job, JobState.CANCELED)


@pytest.mark.long
def test_a_job_whose_message_was_never_sent_is_found(deployment: Deployment) -> None:
    job = deployment.post(0.01, send=False)
    deployment.start_worker()

    deployment.wait(job, JobState.SUCCEEDED)


def test_jobs_that_wait_in_a_queue_are_not_sent_again_and_again(deployment: Deployment) -> None:
    app = make_celery(deployment.settings)
    waiting = deployment.post(1.0)
    forgotten = deployment.post(1.0, send=False)

    assert sweep_once(app, deployment.store, grace_s=0) == []
    with redis.Redis.from_url(str(deployment.settings.redis_url)) as connection:
        connection.flushall()
    assert sweep_once(app, deployment.store, grace_s=0) == [waiting.id, forgotten.id]
    assert sweep_once(app, deployment.store, grace_s=60) == []
    app.close()


@pytest.mark.long
def test_a_queue_that_is_away_is_named_and_the_job_is_not_lost(tmp_path: Path) -> None:
    server = RedisServer.start(tmp_path / "redis")
    deployment = Deployment(tmp_path, server.url)
    server.stop()
    try:
        with pytest.raises(QueueUnavailable):
            deployment.post(0.01)
        with RedisServer.start(tmp_path / "redis"):
            deployment.start_worker()
            until(lambda: deployment.store.count_jobs()[JobState.SUCCEEDED] == 1)
    finally:
        deployment.close()


@pytest.mark.long
def test_a_worker_rides_out_a_queue_that_restarts(tmp_path: Path) -> None:
    server = RedisServer.start(tmp_path / "redis")
    deployment = Deployment(tmp_path, server.url)
    try:
        worker = deployment.start_worker()
        deployment.wait(deployment.post(0.01), JobState.SUCCEEDED)
        server.stop()
        server = RedisServer.start(tmp_path / "redis")
        deployment.wait(deployment.post(0.01), JobState.SUCCEEDED)
        assert worker.poll() is None
    finally:
        deployment.close()
        server.stop()


def test_a_worker_without_a_queue_names_the_setting(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("ZKML_")}
    ended = subprocess.run(
        [sys.executable, "-m", "workers"],
        env={**env, "ZKML_HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 2
    assert "ZKML_REDIS_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.long
def test_what_ends_within_the_grace_time_is_finished_and_nothing_new_begun(
    deployment: Deployment,
) -> None:
    leaving = deployment.start_worker(ZKML_STOP_GRACE_S="60")
    job = deployment.post(2.0)
    deployment.wait(job, JobState.RUNNING)
    later = deployment.post(0.0)
    leaving.terminate()

    assert leaving.wait(timeout=30) == 0
    assert deployment.store.job(job.id).state is JobState.SUCCEEDED
    assert deployment.store.job(later.id).state is JobState.QUEUED


@pytest.mark.long
def test_a_second_signal_gives_the_job_back_at_once(deployment: Deployment) -> None:
    leaving = deployment.start_worker(ZKML_STOP_GRACE_S="600")
    job = deployment.post(300)
    deployment.wait(job, JobState.RUNNING)
    leaving.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        leaving.wait(timeout=1)
    leaving.terminate()

    assert leaving.wait(timeout=30) == 0
    assert deployment.store.job(job.id).state is JobState.QUEUED


@pytest.mark.long
def test_a_worker_for_one_job_takes_one_and_needs_no_queue(deployment: Deployment) -> None:
    jobs = [deployment.post(0.0) for _ in range(2)]
    for done in (1, 2, 2):
        worker = deployment.start_worker("--once", ZKML_REDIS_URL="redis://127.0.0.1:1/0")
        assert worker.wait(timeout=60) == 0
        states = [deployment.store.job(job.id).state for job in jobs]
        assert states.count(JobState.SUCCEEDED) == done


@pytest.mark.long
def test_a_worker_to_which_nothing_comes_though_a_job_waits_ends(deployment: Deployment) -> None:
    """Its queue is another's: as if Celery had stopped consuming."""
    with RedisServer.start(deployment.settings.home / "elsewhere") as elsewhere:
        deaf = deployment.start_worker(
            ZKML_REDIS_URL=elsewhere.url, ZKML_STARVING_S="2", ZKML_SWEEP_S="600"
        )
        with pytest.raises(subprocess.TimeoutExpired):
            deaf.wait(timeout=6)  # nothing waits: it stays
        deployment.post(0.0)
        assert deaf.wait(timeout=30) == 3
