"""The cost of a request, in the suite ``service``: against a bare FastAPI route, with and without a
key, quotas and an ``Idempotency-Key``, with a thousand open event streams, over many requests.

Each service uses a copy of the home of ``serving``, which has model and circuit.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from api.client import Client, ServerProblem, UnexpectedAnswer
from benchmarks.errors import SampleFailed, SampleTimeout
from benchmarks.harness.home import environment
from benchmarks.harness.load import Load, connect, load, request, until
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import build_fixture
from prover.host.redis_server import RedisServer

CONNECTIONS, SUBMITTERS = 64, 16
#: Waiting proofs, so that both provers have work during the requests.
QUEUED, QUICK_QUEUED = 120, 12
_STARTS_IN_S, _STOPS_IN_S, _STREAMS_IN_S = 60, 30, 120
#: Takes many minutes, and is many samples in one.
_LONG = "memory over"
_JSON = {"Content-Type": "application/json"}


class Requests:
    """A service, first with two workers, then without."""

    def __init__(
        self, suite: str, entry: Entry, run_size: RunSize, cache: Path, home: Path
    ) -> None:
        self._suite, self._entry, self._run_size = suite, entry, run_size
        self._models, self._srs, self._source = cache / "models", cache / "srs", home
        self._home = home.with_name(f"{home.name}-requests")
        self._up = ExitStack()
        self._url = ""
        self._bare = ""
        self._pid = 0
        self._redis: dict[str, str] = {}
        self._body = b""
        self._token = ""

    def tasks(self) -> Iterator[Task]:
        """GETs and a bare route while two workers prove; then, without workers, the rest."""
        total = 500 if self._run_size.quick else 10_000
        yield from self._with(
            "two provers at work",
            lambda: self._start(workers=2),
            [
                ("GET proofs, 64 connections", lambda: self._get(self._url, total)),
                ("bare FastAPI route, 64 connections", lambda: self._get(self._bare, total)),
            ],
        )
        submissions = 60 if self._run_size.quick else 2_000
        streams = 50 if self._run_size.quick else 1_000
        many = 1_000 if self._run_size.quick else 100_000
        yield from self._with(
            "no prover",
            lambda: self._start(workers=0),
            [
                ("POST a proof", lambda: self._post(submissions, guarded=False)),
                (f"{streams} event streams", lambda: self._streams(streams)),
                (f"memory over {many} requests", lambda: self._memory(many)),
            ],
        )
        yield from self._with(
            "no prover, key and quotas",
            lambda: self._start(workers=0, guarded=True),
            [("POST with key, quota, idempotency", lambda: self._post(submissions, guarded=True))],
        )

    def stop(self) -> None:
        """Ends every process of this service."""
        self._up.close()

    def _with(
        self,
        name: str,
        start: Callable[[], Outcome],
        measured: list[tuple[str, Callable[[], Outcome]]],
    ) -> Iterator[Task]:
        first = self._key(f"start, {name}", Step.PREPARE)
        yield Task(
            key=first, action=lambda: _with_project_errors(start), ready=lambda: self._pid != 0
        )
        for turn in range(self._run_size.warm_ups + self._run_size.samples):
            for side, action in measured:
                if turn and side.startswith(_LONG):
                    continue
                yield Task(
                    key=self._key(side, Step.MEASURE, turn),
                    action=lambda a=action: _with_project_errors(a),  # type: ignore[misc]
                    warm_up=turn < self._run_size.warm_ups and not side.startswith(_LONG),
                    needs=first,
                )

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=self._suite, model=self._entry.name, side=side, step=step, sample=sample)

    # --- samples ------------------------------------------------------------------------------

    def _get(self, base_url: str, total: int) -> Outcome:
        """Reads the documents of many jobs in turn, while proofs are made."""
        with Client(self._url) as zkml:
            waiting = self._fill(zkml)
            sent = [request(base_url, "GET", f"/v1/proofs/{job}") for job in waiting]
            made = asyncio.run(
                load(base_url, lambda n: sent[n % len(sent)], total=total, connections=CONNECTIONS)
            )
            idle = zkml.proof(waiting[-1]).terminal
        return _outcome(made, wrong="the provers had no work left" if idle else None)

    def _fill(self, zkml: Client) -> list[str]:
        """Queues proofs; their ids, in the order in which they are made."""
        body = json.loads(self._body)
        count = QUICK_QUEUED if self._run_size.quick else QUEUED
        return [
            zkml.create_proof(circuit=body["circuit"], inputs=body["inputs"]).id
            for _ in range(count)
        ]

    def _post(self, total: int, *, guarded: bool) -> Outcome:
        def make(_: int) -> bytes:
            headers = dict(_JSON)
            if guarded:
                headers |= {
                    "Authorization": f"Bearer {self._token}",
                    "Idempotency-Key": uuid.uuid4().hex,
                }
            return request(self._url, "POST", "/v1/proofs", headers, self._body)

        return _outcome(asyncio.run(load(self._url, make, total=total, connections=SUBMITTERS)))

    def _streams(self, count: int) -> Outcome:
        """``count`` streams of one job: the time until all have its first event, and its last."""
        with Client(self._url) as zkml:
            body = json.loads(self._body)
            job = zkml.create_proof(circuit=body["circuit"], inputs=body["inputs"]).id
        opened_s, ended_s, whole = asyncio.run(self._follow(job, count))
        return Outcome(
            metrics={"open_s": opened_s, "latency_s": ended_s},
            facts={"streams": count, "server_rss_bytes": self._rss()},
            wrong=None
            if whole == count
            else f"{count - whole} streams ended without the last event",
        )

    async def _follow(self, job: str, count: int) -> tuple[float, float, int]:
        sent = request(self._url, "GET", f"/v1/proofs/{job}/events")
        begin = time.perf_counter()
        async with asyncio.timeout(_STREAMS_IN_S):
            pairs = await asyncio.gather(*(connect(self._url) for _ in range(count)))
            try:
                for _, writer in pairs:
                    writer.write(sent)
                await asyncio.gather(*(until(reader, b'"queued"') for reader, _ in pairs))
                opened = time.perf_counter()
                cancel = request(self._url, "POST", f"/v1/proofs/{job}/cancel")
                await load(self._url, lambda _: cancel, total=1, connections=1)
                seen = await asyncio.gather(*(until(reader, b'"canceled"') for reader, _ in pairs))
            finally:
                for _, writer in pairs:
                    writer.close()
        return opened - begin, time.perf_counter() - opened, sum(seen)

    def _memory(self, total: int) -> Outcome:
        """The growth of the server's memory over many requests, after a tenth of them."""
        sent = request(self._url, "GET", "/v1/proofs?limit=1")
        for share in (total // 10, total):
            before = self._rss()
            made = asyncio.run(
                load(self._url, lambda _: sent, total=share, connections=CONNECTIONS)
            )
        return Outcome(metrics={"growth_bytes": self._rss() - before, **made.metrics()})

    def _rss(self) -> int:
        """Resident memory of the API process."""
        return int(psutil.Process(self._pid).memory_info().rss)

    # --- processes ----------------------------------------------------------------------------

    def _start(self, *, workers: int, guarded: bool = False) -> Outcome:
        """Starts the API, workers, and the bare route, on a new copy of the home."""
        self._up.close()
        self._pid = 0
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._source, self._home, ignore=shutil.ignore_patterns("redis*", "tmp"))
        begin = time.perf_counter()
        self._redis = {}
        if not workers:  # `zkml up` has one of its own
            redis = self._up.enter_context(RedisServer.start(self._home / "redis"))
            self._redis = {"ZKML_REDIS_URL": redis.url}
        if guarded:
            made = subprocess.run(
                [_zkml(), "api-keys", "create", "--name", "bench", "--rate", "1000000", "--json"],
                env=self._environment(guarded),
                capture_output=True,
                check=True,
            )
            self._token = json.loads(made.stdout)["token"]
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        served = ["up", "--workers", str(workers)] if workers else ["api"]
        self._pid = self._spawn(*served, "--port", str(port), guarded=guarded)
        with Client(self._url, api_key=self._token if guarded else None) as zkml:
            self._wait_until_ready(zkml)
            self._body = self._submission(zkml)
            if workers:
                self._bare = self._serve_bare(zkml)
        return Outcome(metrics={"latency_s": time.perf_counter() - begin})

    def _submission(self, zkml: Client) -> bytes:
        # Coalesced jobs have left a batched circuit, too.
        found = zkml.circuits().items
        circuits = [c for c in found if (c.manifest or {}).get("lanes", 1) == 1]
        if not circuits:
            raise SampleFailed("the home has no circuit: `start` of the suite failed")
        sample = build_fixture(self._entry, self._models).samples(1)[0]
        inputs = {name: values.tolist() for name, values in sample.items()}
        return json.dumps({"circuit": circuits[0].id, "inputs": inputs}).encode()

    def _serve_bare(self, zkml: Client) -> str:
        body = json.loads(self._body)
        job = zkml.create_proof(circuit=body["circuit"], inputs=body["inputs"]).id
        document = self._home / "job.json"
        document.write_bytes(httpx.get(f"{self._url}/v1/proofs/{job}").content)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.suites.bare_route", str(document)],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._up.callback(_end, process)
        assert process.stdout is not None
        return process.stdout.readline().decode().strip()

    def _spawn(self, *command: str, guarded: bool) -> int:
        with (self._home / "service.log").open("wb") as log:
            process = subprocess.Popen(
                [_zkml(), *command],
                stdout=log,
                stderr=log,
                env=self._environment(guarded),
                start_new_session=True,
            )
        self._up.callback(_end, process)
        return process.pid

    def _environment(self, guarded: bool) -> dict[str, str]:
        limits = {"ZKML_MAX_QUEUED_JOBS": "1000000", "ZKML_REQUESTS_PER_MINUTE": "1000000"}
        return environment(self._home, self._srs) | self._redis | (limits if guarded else {})

    def _wait_until_ready(self, zkml: Client) -> None:
        until_s = time.monotonic() + _STARTS_IN_S
        while time.monotonic() < until_s:
            with suppress(ServerProblem, UnexpectedAnswer, httpx.TransportError):
                if zkml.ready().ready:
                    return
            time.sleep(0.05)
        raise SampleTimeout(f"the API was not ready after {_STARTS_IN_S} s")


def _outcome(made: Load, wrong: str | None = None) -> Outcome:
    refused = f"{made.refused} requests were refused" if made.refused else None
    return Outcome(metrics=made.metrics(), wrong=refused or wrong)


def _with_project_errors(action: Callable[[], Outcome]) -> Outcome:
    """Runs an action; errors of processes and of the network become a ``ZkmlError``."""
    try:
        return action()
    except TimeoutError as error:
        raise SampleTimeout(str(error) or "no answer in time") from error
    except (ServerProblem, UnexpectedAnswer, httpx.TransportError, OSError) as error:
        raise SampleFailed(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise SampleFailed(f"{error.cmd[1]} failed", stderr=error.stderr.decode()[-500:]) from error
    except BaseExceptionGroup as group:
        raise SampleFailed(str(group.exceptions[0])) from group


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_STOPS_IN_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _zkml() -> str:
    return str(Path(sys.executable).with_name("zkml"))
