"""Workers on one host and on three, in the suite ``service``: network namespaces with loopback,
name and disk of their own, which share PostgreSQL, S3 and Redis over a bridge.

Needs root, and the packages that the tests have their servers from; is skipped without them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg

from api.client import Client, Job, ServerProblem, UnexpectedAnswer
from benchmarks.errors import PeerMissing, SampleFailed, SampleTimeout
from benchmarks.harness.home import environment
from benchmarks.harness.metrics import counted
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.servers.hosts import Host, may_make_hosts, network, shared_redis
from benchmarks.servers.postgres import is_installed, postgres
from benchmarks.servers.s3 import BUCKET, WEED, s3
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import build_fixture

COUNTS = (1, 3)
#: Proofs for each host.
PROOFS, QUICK_PROOFS = 30, 3
_STARTS_IN_S, _HANGS_S = 60, 300


class Hosts:
    """Three hosts and what they share, up from the first sample to the last."""

    def __init__(
        self, suite: str, entry: Entry, run_size: RunSize, cache: Path, home: Path
    ) -> None:
        self._suite, self._entry, self._run_size = suite, entry, run_size
        self._models, self._srs = cache / "models", cache / "srs"
        self._home = home.with_name(f"{home.name}-hosts")
        self._proofs = QUICK_PROOFS if run_size.quick else PROOFS
        self._up = ExitStack()
        self._hosts: list[Host] = []
        self._environment: dict[str, str] = {}
        self._client: Client | None = None
        self._circuit = ""

    def tasks(self) -> Iterator[Task]:
        first = self._key("start, three hosts", Step.PREPARE)
        yield Task(
            key=first,
            action=lambda: _safely(self._start),
            ready=lambda: self._client is not None,
        )
        sides: list[tuple[str, Callable[[], Outcome]]] = [
            (
                f"throughput, a worker of 1 thread on {counted(n, 'host')}",
                partial(self._throughput, n),
            )
            for n in COUNTS
        ]
        sides.append(("recovery from a killed PostgreSQL, 3 hosts", self._recovery))
        for side, action in sides:
            for turn in range(self._run_size.warm_ups + self._run_size.samples):
                yield Task(
                    key=self._key(side, Step.MEASURE, turn),
                    action=partial(_safely, action),
                    warm_up=turn < self._run_size.warm_ups,
                    needs=first,
                )

    def stop(self) -> None:
        """Ends every process and takes the network away."""
        self._up.close()
        self._client = None

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=self._suite, model=self._entry.name, side=side, step=step, sample=sample)

    # --- samples ------------------------------------------------------------------------------

    def _start(self) -> Outcome:
        """To a service on three hosts that has the circuit."""
        if not (may_make_hosts() and is_installed() and WEED.exists()):
            raise PeerMissing(
                "there are no hosts, or no servers for them",
                advice="Be root, and install the extra `dev`.",
            )
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True)
        begin = time.perf_counter()
        self._up = stack = ExitStack()
        bridge = stack.enter_context(network(self._home))
        self._hosts = bridge.hosts
        database_url = stack.enter_context(postgres(bridge.services))
        bucket = stack.enter_context(s3(bridge.services))
        redis_url = stack.enter_context(shared_redis(self._home / "redis", bridge.services))
        self._environment = environment(self._home / "home", self._srs) | {
            **bucket.environment,
            "ZKML_DATABASE_URL": database_url,
            "ZKML_ARTIFACTS_URL": f"s3://{BUCKET}",
            "ZKML_REDIS_URL": redis_url,
            "ZKML_KEY_PATH": str(self._home / "keys"),
            "ZKML_ENGINE_THREADS": "1",
        }
        self._client = stack.enter_context(Client(self._serve(stack)))
        self._only(1)
        material = build_fixture(self._entry, self._models)
        model = self._client.upload_model(material.onnx)
        circuit = self._client.create_circuit(model.id)
        for _ in self._client.circuit_events(circuit.id):
            pass
        self._circuit = circuit.id
        self._ended(self._post())
        return Outcome(metrics={"latency_s": time.perf_counter() - begin})

    def _throughput(self, count: int) -> Outcome:
        """Jobs a second with a worker on each of ``count`` hosts, each of which has proved one."""
        self._only(count)
        for job in [self._post() for _ in range(2 * count)]:
            self._ended(job)
        begin = time.perf_counter()
        jobs = [self._post() for _ in range(count * self._proofs)]
        for job in jobs:
            self._ended(job)
        seconds = time.perf_counter() - begin
        return Outcome(metrics={"throughput_per_s": len(jobs) / seconds})

    def _recovery(self) -> Outcome:
        """From the kill of a backend while a proof is made, after which PostgreSQL ends all others
        and recovers, to the success of the proof's job, less a whole proof."""
        begin = time.perf_counter()
        self._ended(self._post())
        alone_s = time.perf_counter() - begin
        job = self._post()
        while self._open().proof(job.id).state == "queued":
            time.sleep(0.01)
        begin = time.perf_counter()
        with psycopg.connect(self._environment["ZKML_DATABASE_URL"]) as database:
            query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            pids = database.execute(f"{query} AND pid <> pg_backend_pid()").fetchall()
        os.kill(pids[0][0], signal.SIGKILL)
        self._ended(job)
        return Outcome(metrics={"latency_s": max(0.0, time.perf_counter() - begin - alone_s)})

    # --- means --------------------------------------------------------------------------------

    def _serve(self, stack: ExitStack) -> str:
        """The API's URL, on this host's loopback."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with (self._home / "api.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "api", "--port", str(port)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + _STARTS_IN_S
        while time.monotonic() < until:
            with Client(url) as client, contextlib.suppress(*_AWAY):
                if client.ready().ready:
                    return url
            time.sleep(0.05)
        raise SampleTimeout(f"the API was not ready after {_STARTS_IN_S} s")

    def _only(self, count: int) -> None:
        """Workers on the first hosts, and on no other."""
        for number, host in enumerate(self._hosts):
            if number >= count:
                host.stop()
            elif host.process is None:
                host.start_worker(self._environment | {"PYTHONPATH": os.getcwd()})
                until = time.monotonic() + _STARTS_IN_S
                while host.log.read_text().count("worker_ready") <= host.log.read_text().count(
                    "worker_stopped"
                ):
                    if time.monotonic() > until:
                        raise SampleTimeout(f"no worker on {host.name}", log=str(host.log))
                    time.sleep(0.05)

    def _post(self) -> Job:
        sample: dict[str, Any] = build_fixture(self._entry, self._models).samples(1)[0]
        inputs = {name: values.tolist() for name, values in sample.items()}
        return self._open().create_proof(circuit=self._circuit, inputs=inputs)

    def _open(self) -> Client:
        assert self._client is not None, "the task that starts the hosts comes first"
        return self._client

    def _ended(self, job: Job) -> None:
        until, done = time.monotonic() + _HANGS_S, job
        while not done.terminal:
            if time.monotonic() > until:
                raise SampleTimeout(f"job {job.id} does not end")
            with contextlib.suppress(*_AWAY):  # the database may have been killed
                for _ in self._open().events(job.id):
                    pass
                done = self._open().proof(job.id)
        if done.state != "succeeded":
            raise SampleFailed(f"job {job.id} {done.state}: {done.problem}")


_AWAY = (ServerProblem, UnexpectedAnswer, httpx.TransportError)


def _safely(action: Any) -> Outcome:
    try:
        outcome: Outcome = action()
    except (*_AWAY, subprocess.CalledProcessError, RuntimeError) as error:
        raise SampleFailed(str(error)) from error
    return outcome
