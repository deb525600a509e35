"""Workers with a pipeline that only waits (``fake_worker.py``); Redis and database are real."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis
from celery import Celery

from prover.admission import SizeClass
from prover.jobs.queue import celery_config, send_job
from prover.records.job import Job, JobKind, JobState
from prover.settings import Settings
from prover.store import Store
from prover.testing import model_record

REPOSITORY = Path(__file__).parents[2]


class Deployment:
    """One redis-server, one database, and as many workers as a test starts."""

    def __init__(self, home: Path, redis_url: str):
        self.settings = Settings.load(
            home=home, redis_url=redis_url, lease_s=2.0, sweep_s=0.3, max_attempts=3
        )
        self.store = Store.open(self.settings.database_url)
        self.store.add_model(model_record())
        self.sender = Celery("test", set_as_current=False)
        self.sender.conf.update(celery_config(self.settings))
        self._diary = home / "diary"
        self._diary.touch()
        self._workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, *args: str, **extra: str) -> subprocess.Popen[bytes]:
        """A worker process with the waiting pipeline of ``fake_worker.py``."""
        values = self.settings
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ZKML_")},
            "PYTHONPATH": str(REPOSITORY),
            "ZKML_HOME": str(values.home),
            "ZKML_REDIS_URL": str(values.redis_url),
            "ZKML_LEASE_S": str(values.lease_s),
            "ZKML_SWEEP_S": str(values.sweep_s),
            "ZKML_STOP_GRACE_S": "0",
            **extra,
        }
        script = REPOSITORY / "tests" / "integration" / "fake_worker.py"
        command = [sys.executable, str(script), str(self._diary), *args]
        worker = subprocess.Popen(command, env=env)
        self._workers.append(worker)
        return worker

    def post(self, work_s: float, *, send: bool = True) -> Job:
        job = self.store.create_job(
            JobKind.PROOF, model_record().id, "circuit", {"work_s": work_s}, None
        )
        if send:
            send_job(self.sender, job.id, job.size)
        return job

    def wait(self, job: Job, state: JobState, within_s: float = 300.0) -> Job:
        until(lambda: self.store.job(job.id).state is state, within_s)
        return self.store.job(job.id)

    def count(self, word: str, job: Job) -> int:
        """How often the workers' diary says this of the job."""
        return self._diary.read_text().count(f"{word} {job.id}")

    def diary(self) -> str:
        return self._diary.read_text()

    def broker_keys(self) -> list[str]:
        """What Celery keeps in Redis of messages that wait or are not acknowledged."""
        with redis.Redis.from_url(str(self.settings.redis_url)) as connection:
            return [key for key in (*SizeClass, "unacked") if connection.exists(f"zkml:{key}")]

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()
        self.sender.close()
        self.store.close()


def until(condition: Callable[[], bool], within_s: float = 300.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.01)
