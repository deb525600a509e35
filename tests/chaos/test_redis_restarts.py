"""Redis killed and started again, over and over, while workers work: each job is still done, once.

``make chaos`` does it fifty times (``ZKML_CHAOS_RESTARTS``). Only the proving is left out.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from prover.errors import QueueUnavailable
from prover.host.redis_server import RedisServer
from prover.records.job import JobState
from tests.integration.fake_deployment import Deployment, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

RESTARTS = int(os.environ.get("ZKML_CHAOS_RESTARTS", "3"))
WORKERS, LOAD = 2, 6
STARVED = 3


@pytest.mark.long
def test_workers_outlive_a_redis_that_is_killed_again_and_again(tmp_path: Path) -> None:
    server = RedisServer.start(tmp_path / "redis")
    deployment = Deployment(tmp_path, server.url)
    limits = {"ZKML_STARVING_S": "15"}
    workers = [deployment.start_worker(**limits) for _ in range(WORKERS)]
    ordered = starved = unsent = 0
    began = time.monotonic()
    try:
        for _ in range(RESTARTS):
            for _ in range(LOAD):
                try:
                    deployment.post(0.02)
                except QueueUnavailable:
                    unsent += 1
                ordered += 1
            os.kill(server.pid, signal.SIGKILL)
            deployment.post(0.02, send=False)
            ordered += 1
            server.stop()
            server = RedisServer.start(tmp_path / "redis")
            done = deployment.store.count_jobs()[JobState.SUCCEEDED]
            starved += goes_on(deployment, workers, limits, done, ordered)
        starved += goes_on(deployment, workers, limits, ordered - 1, ordered)
        until(lambda: deployment.diary().split().count("ended") == ordered)
        descriptors = [psutil.Process(worker.pid).num_fds() for worker in workers]
    finally:
        deployment.close()
        server.stop()
    print(
        f"\nredis: {RESTARTS} kills, {ordered} jobs in {time.monotonic() - began:.0f} s, {unsent}"
        f" not announced, {starved} workers started again, descriptors {descriptors}"
    )
    assert max(descriptors) < 100
    diary = deployment.diary().split()
    assert diary.count("started") == diary.count("ended") == ordered


def goes_on(
    deployment: Deployment, workers: list[Any], limits: dict[str, str], done: int, ordered: int
) -> int:
    """Waits until more jobs are done than ``done``; how many workers had to be started again, as
    whoever runs them would. Only one that starved may end."""
    again, give_up = 0, time.monotonic() + 300
    while True:
        count = deployment.store.count_jobs()[JobState.SUCCEEDED]
        if count > done or count == ordered:
            return again
        assert time.monotonic() < give_up, "nobody works any more"
        for number, worker in enumerate(workers):
            if worker.poll() is not None:
                assert worker.returncode == STARVED
                workers[number] = deployment.start_worker(**limits)
                again += 1
        time.sleep(0.05)
