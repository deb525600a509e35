"""A deployment to break: real API, redis-server, PostgreSQL, S3 server, workers and engine, all on
this machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery

from benchmarks.servers.s3 import BUCKET, S3
from prover.app import App
from prover.host.redis_server import RedisServer
from prover.jobs.queue import celery_config, send_job
from prover.records.job import Job, JobState
from prover.settings import Settings
from tests.acceptance.processes import ROOT, environment

#: How long a stopped process stands still, a disk is full, a store fails: longer than a lease.
_FROZEN_S = 3.0
#: Seconds that a clock is set forward or back: beyond a lease, and within one.
_STEPS_S = (-30.0, -1.0, 1.0, 5.0)
_WORKER = Path(__file__).with_name("worker.py")
LEASE_S, SWEEP_S = 2.0, 0.3
_DISK_MB = 256


@dataclass(kw_only=True)
class Deployment:
    """Everything under ``home``, and what was done to it."""

    settings: Settings
    app: App
    redis: RedisServer
    postmaster: psutil.Process | None
    s3: S3 | None
    workers: list[subprocess.Popen[bytes]]
    port: int
    log: Path
    random: random.Random
    api: subprocess.Popen[bytes] | None = None
    done: Counter[str] = field(default_factory=Counter)
    undo: list[threading.Timer] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def faulty(self) -> Path:
        """The folder that says what is wrong with machines and stores (``worker.py``)."""
        return self.log.with_name("faults")

    # --- its parts -----------------------------------------------------------------------------

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._start([str(_WORKER)])

    def start_api(self) -> subprocess.Popen[bytes]:
        return self._start(["-m", "api", "--port", str(self.port)])

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        env = environment(
            self.settings.home,
            PYTHONPATH=str(ROOT),
            ZKML_CHAOS_FAULTS=str(self.faulty),
            ZKML_DATABASE_URL=self.settings.database_url,
            ZKML_ARTIFACTS_URL=self.settings.artifacts_url,
            ZKML_REDIS_URL=str(self.settings.redis_url),
            ZKML_SRS_DIR=str(self.settings.srs_dir),
            ZKML_LEASE_S=str(LEASE_S),
            ZKML_SWEEP_S=str(SWEEP_S),
            ZKML_STARVING_S="20",
            ZKML_RETRY_S="0.2",
            ZKML_STOP_GRACE_S="0",
            ZKML_HOUSEKEEPING_S="5",
            **({} if self.s3 is None else self.s3.environment),
        )
        with self.log.open("ab") as out:
            return subprocess.Popen([sys.executable, *command], env=env, stdout=out, stderr=out)

    def look_after(self) -> None:
        """What a supervisor does: what ended is started again."""
        if self.api is None or self.api.poll() is not None:
            self.api = self.start_api()
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.workers[number] = self.start_worker()
        self.undo = [timer for timer in self.undo if timer.is_alive()]

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
            self.freeze_redis,
            self.forget_messages,
            self.deliver_twice,
            self.cancel_a_job,
            self.kill_api,
            self.freeze_api,
            self.step_a_clock,
            self.have_the_store_fail,
            self.have_the_store_be_slow,
        ]
        if self.postmaster is not None:
            some += [self.kill_postgres_backend, self.freeze_postgres]
        if self.s3 is not None:
            some.append(self.freeze_s3)
        if os.path.ismount(self.settings.home):
            some.append(self.fill_the_disk)
        return some

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
        self._later(process.resume)

    def _later(self, undo: Callable[[], object]) -> None:
        """Runs in a thread: fault injection also calls Redis and the database, and blocks."""

        def run() -> None:
            with contextlib.suppress(psutil.Error, OSError):
                undo()

        self.undo.append(threading.Timer(_FROZEN_S, run))
        self.undo[-1].start()

    def kill_api(self) -> None:
        assert self.api is not None
        self.api.kill()

    def freeze_api(self) -> None:
        assert self.api is not None
        self._freeze(psutil.Process(self.api.pid))

    def freeze_s3(self) -> None:
        assert self.s3 is not None
        self._freeze(psutil.Process(self.s3.process.pid))

    def freeze_redis(self) -> None:
        self._freeze(psutil.Process(self.redis.pid))

    def freeze_postgres(self) -> None:
        assert self.postmaster is not None
        for process in (self.postmaster, *self.postmaster.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                self._freeze(process)

    def step_a_clock(self) -> None:
        """Of one worker's machine, for as long as the worker lives."""
        worker = self.random.choice(self.workers)
        step = self.random.choice(_STEPS_S)
        (self.faulty / f"clock-{worker.pid}").write_text(str(step))

    def have_the_store_fail(self) -> None:
        self._have_the_store("fail")

    def have_the_store_be_slow(self) -> None:
        self._have_the_store("slow")

    def _have_the_store(self, what: str) -> None:
        (self.faulty / "store").write_text(what)
        self._later(lambda: (self.faulty / "store").unlink(missing_ok=True))

    def fill_the_disk(self) -> None:
        """Database, artifacts, builds and Redis's log are on it."""
        filler = self.settings.home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
            while True:
                out.write(b"0" * (1 << 20))
        self._later(lambda: filler.unlink(missing_ok=True))

    def kill_redis(self) -> None:
        if (self.settings.home / "filler").exists():
            raise IndexError("it does not start on a full disk")
        os.kill(self.redis.pid, signal.SIGKILL)
        time.sleep(0.2)
        self.redis.stop()
        self.redis = RedisServer.start(self.settings.home / "redis")
        assert self.redis.url == self.settings.redis_url

    def forget_messages(self) -> None:
        import redis

        if (self.settings.home / "filler").exists():
            raise IndexError("it writes nothing while the disk is full")
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
    home: Path,
    srs: Path,
    *,
    database_url: str | None,
    workers: int,
    seed: int,
    bucket: S3 | None = None,
    **settings: Any,
) -> Iterator[Deployment]:
    """Starts it, and ends all of it with the block, in order if it can."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_disk(home))
        redis = RedisServer.start(home / "redis")
        url = {} if database_url is None else {"database_url": database_url}
        values = Settings.load(
            home=home, srs_dir=srs, redis_url=redis.url, plan_effort="fast", **url, **settings
        )
        if bucket is not None:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in bucket.environment.items():
                patch.setenv(name, value)
            values = values.model_copy(update={"artifacts_url": f"s3://{BUCKET}"})
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
            s3=bucket,
            workers=[],
            port=_free_port(),
            log=home.with_name("chaos.log"),
            random=random.Random(seed),
        )
        made.faulty.mkdir()
        made.workers = [made.start_worker() for _ in range(workers)]
        made.api = made.start_api()
        try:
            yield made
        finally:
            for timer in made.undo:
                timer.join()
            for process in (*made.workers, made.api):
                process.terminate()
            for process in (*made.workers, made.api):
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            app.close()
            made.redis.stop()


@contextlib.contextmanager
def _disk(home: Path) -> Iterator[None]:
    """A separate file system for the service, if one can be mounted."""
    home.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "none", str(home)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(home)], check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def finished(job: Job) -> bool:
    return job.state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED)
