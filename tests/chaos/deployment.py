"""A deployment to break: real redis-server, PostgreSQL, workers and engine, all on this machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from prover.app import App
from prover.jobs import Job, JobState
from prover.queue import celery_config, send_job
from prover.redis_server import RedisServer
from prover.settings import Settings
from tests.acceptance.processes import environment

#: How long a stopped process stands still: longer than a lease.
_FROZEN_S = 3.0
LEASE_S, SWEEP_S = 2.0, 0.3


@dataclass(kw_only=True)
class Deployment:
    """Everything under ``home``, and what was done to it."""

    settings: Settings
    app: App
    redis: RedisServer
    postmaster: psutil.Process | None
    workers: list[subprocess.Popen[bytes]]
    log: Path
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)
    thaw: list[tuple[float, psutil.Process]] = field(default_factory=list)

    # --- its parts -----------------------------------------------------------------------------

    def start_worker(self) -> subprocess.Popen[bytes]:
        env = environment(
            self.settings.home,
            ZKML_DATABASE_URL=self.settings.database_url,
            ZKML_ARTIFACTS_URL=self.settings.artifacts_url,
            ZKML_REDIS_URL=str(self.settings.redis_url),
            ZKML_SRS_DIR=str(self.settings.srs_dir),
            ZKML_LEASE_S=str(LEASE_S),
            ZKML_SWEEP_S=str(SWEEP_S),
            ZKML_STARVING_S="20",
            ZKML_RETRY_S="0.2",
            ZKML_STOP_GRACE_S="0",
        )
        with self.log.open("ab") as out:
            return subprocess.Popen([sys.executable, "-m", "workers"], env=env, stderr=out)

    def look_after(self) -> None:
        """What a supervisor does: workers that ended are started again, stopped ones wake up."""
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.workers[number] = self.start_worker()
        now = time.monotonic()
        for at, process in list(self.thaw):
            if at <= now:
                self.thaw.remove((at, process))
                with contextlib.suppress(psutil.Error):
                    process.resume()

    def jobs(self) -> list[Job]:
        found, cursor = [], None
        while True:
            page = self.app.store.jobs(200, cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    # --- faults --------------------------------------------------------------------------------

    def break_something(self) -> str:
        """One fault, at random; its name."""
        fault = self.random.choice(self.faults())
        with contextlib.suppress(psutil.Error, ProcessLookupError, IndexError):
            fault()
            name = fault.__name__
            self.done[name] += 1
            return name
        return ""

    def faults(self) -> list[Callable[[], None]]:
        some = [
            self.kill_engine_child,
            self.kill_engine_child,
            self.kill_fork_server,
            self.kill_worker,
            self.freeze_worker,
            self.freeze_engine_child,
            self.kill_redis,
            self.forget_messages,
            self.deliver_twice,
            self.cancel_a_job,
        ]
        return some if self.postmaster is None else [*some, self.kill_postgres_backend]

    def _below(self, word: str) -> psutil.Process:
        found = []
        for worker in self.workers:
            for process in psutil.Process(worker.pid).children(recursive=True):
                server = "forkserver" in " ".join(process.cmdline()[:4])
                forked = server and process.ppid() != worker.pid
                if (word == "child") == forked and server:
                    found.append(process)
        return self.random.choice(found)

    def kill_engine_child(self) -> None:
        self._below("child").kill()

    def freeze_engine_child(self) -> None:
        self._freeze(self._below("child"))

    def kill_fork_server(self) -> None:
        self._below("server").kill()

    def kill_worker(self) -> None:
        self.random.choice(self.workers).kill()

    def freeze_worker(self) -> None:
        self._freeze(psutil.Process(self.random.choice(self.workers).pid))

    def _freeze(self, process: psutil.Process) -> None:
        process.suspend()
        self.thaw.append((time.monotonic() + _FROZEN_S, process))

    def kill_redis(self) -> None:
        os.kill(self.redis.pid, signal.SIGKILL)
        time.sleep(0.2)
        self.redis.stop()
        self.redis = RedisServer.start(self.settings.home / "redis")
        assert self.redis.url == self.settings.redis_url

    def forget_messages(self) -> None:
        import redis

        with redis.Redis.from_url(self.redis.url) as client:
            client.flushdb()

    def deliver_twice(self) -> None:
        job = self.random.choice(self.jobs())
        sender = Celery("chaos", set_as_current=False)
        sender.conf.update(celery_config(self.settings))
        for _ in range(2):
            send_job(sender, job.id, job.size)
        sender.close()

    def cancel_a_job(self) -> None:
        jobs = self.jobs()
        waiting = [job for job in jobs if not job.state.terminal]
        canceled = sum(job.cancel_requested for job in jobs)
        self.app.request_cancel(self.random.choice(waiting if 8 * canceled < len(jobs) else []).id)

    def kill_postgres_backend(self) -> None:
        """The postmaster then ends every connection and recovers from its log."""
        assert self.postmaster is not None
        backends = [p for p in self.postmaster.children() if "idle" in " ".join(p.cmdline())]
        self.random.choice(backends).kill()


@contextmanager
def deployed(
    home: Path, srs: Path, *, database_url: str | None, workers: int, seed: int, **settings: Any
) -> Iterator[Deployment]:
    """Starts it, and ends all of it with the block, in order if it can."""
    with RedisServer.start(home / "redis") as redis:
        url = {} if database_url is None else {"database_url": database_url}
        values = Settings.load(
            home=home, srs_dir=srs, redis_url=redis.url, plan_effort="fast", **url, **settings
        )
        postmaster = None
        if database_url is not None:
            pid = Path(database_url.partition("host=")[2]) / "data" / "postmaster.pid"
            postmaster = psutil.Process(int(pid.read_text().split()[0]))
        app = App.open(values)
        made = Deployment(
            settings=values,
            app=app,
            redis=redis,
            postmaster=postmaster,
            workers=[],
            log=home / "workers.log",
            random=random.Random(seed),
        )
        made.workers = [made.start_worker() for _ in range(workers)]
        try:
            yield made
        finally:
            for _, process in made.thaw:
                with contextlib.suppress(psutil.Error):
                    process.resume()
            for worker in made.workers:
                worker.terminate()
            for worker in made.workers:
                try:
                    worker.wait(20)
                except subprocess.TimeoutExpired:
                    worker.kill()
                    worker.wait()
            app.close()
            made.redis.stop()


def finished(job: Job) -> bool:
    return job.state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED)
