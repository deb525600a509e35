"""The suite ``service``: the overhead of HTTP, queue and store over the engine's steps.

Each number of workers has its own service (``zkml up``), which runs during its samples. The first
starts cold, in an empty home, the others warm, with the circuit. The last coalesces jobs that
arrive together (``ZKML_COALESCE_MS``).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from api.client import Client, Job, ServerProblem, UnexpectedAnswer
from benchmarks.errors import SampleFailed, SampleTimeout
from benchmarks.harness.home import environment
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.suites.hosts import Hosts
from benchmarks.suites.requests import Requests
from benchmarks.suites.runtime import Runtime
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture

SUITE = "service"
WORKERS = (1, 2)
JOBS_AT_ONCE, QUICK_JOBS_AT_ONCE = 8, 4
#: The coalescing window, in milliseconds.
COALESCE_MS = 300
_STARTS_IN_S = 60
#: How long to send jobs until some share a proof: the batched circuit is built meanwhile.
_SHARES_IN_S = 300
_STOPS_IN_S = 60


def tasks(
    entries: Sequence[Entry], run_size: RunSize, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """Latency and overhead with one worker; throughput with each number of workers, and with
    coalescing."""
    for entry in entries:
        for workers, wait_ms in (*((count, 0) for count in WORKERS), (1, COALESCE_MS)):
            service = _Service(entry, workers, run_size, cache, coalesce_ms=wait_ms)
            stack.callback(service.stop)
            yield from service.tasks()
        requests = Requests(SUITE, entry, run_size, cache, home_of(cache, entry))
        stack.callback(requests.stop)
        yield from requests.tasks()
        runtime = Runtime(SUITE, entry, run_size, cache, home_of(cache, entry))
        stack.callback(runtime.stop)
        yield from runtime.tasks()
        hosts = Hosts(SUITE, entry, run_size, cache, home_of(cache, entry))
        stack.callback(hosts.stop)
        yield from hosts.tasks()


def home_of(cache: Path, entry: Entry) -> Path:
    """The home of this suite's services."""
    return cache / "service" / entry.name


class _Service:
    """One service, started by the first sample and stopped after the last."""

    def __init__(
        self, entry: Entry, workers: int, run_size: RunSize, cache: Path, *, coalesce_ms: int
    ):
        self._entry, self._workers, self._run_size = entry, workers, run_size
        self._coalesce_ms = coalesce_ms
        #: The first service starts cold and measures single jobs.
        self._first = workers == WORKERS[0] and not coalesce_ms
        self._models = cache / "models"
        self._srs = cache / "srs"
        self._home = home_of(cache, entry)
        self._jobs = QUICK_JOBS_AT_ONCE if run_size.quick else JOBS_AT_ONCE
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self._circuit = ""

    def tasks(self) -> Iterator[Task]:
        start = self._key("start", Step.PREPARE)
        yield Task(
            key=start,
            action=lambda: self._with_project_errors(self._start),
            ready=lambda: self._process is not None,
        )
        measured = [("throughput", self._throughput)]
        if self._first:
            measured = [
                ("job", self._job),
                ("POST while proving", self._post_while_proving),
                ("GET while proving", self._get_while_proving),
                *measured,
            ]
        if self._coalesce_ms:
            shared = self._key("proofs shared", Step.PREPARE)
            yield Task(
                key=shared,
                action=lambda: self._with_project_errors(self._until_shared),
                needs=start,
            )
        turns = self._run_size.warm_ups + self._run_size.samples
        for side, action in measured:
            for turn in range(turns):
                yield Task(
                    key=self._key(side, Step.MEASURE, turn),
                    action=lambda a=action: self._with_project_errors(a),  # type: ignore[misc]
                    warm_up=turn < self._run_size.warm_ups,
                    needs=start,
                )
        yield Task(key=self._key("stop", Step.MEASURE), action=self._stopped, needs=start)

    def stop(self) -> None:
        """Ends the service if it runs."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOPS_IN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    # --- samples ------------------------------------------------------------------------------

    def _start(self) -> Outcome:
        """Starts the service; the first one builds the circuit."""
        self.stop()
        if self._first:
            shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        client = self._up()
        started_s = time.perf_counter() - begin
        fixture = self._fixture()
        model = client.upload_model(fixture.onnx)
        with np.load(fixture.calibration) as archive:
            calibration = {name: archive[name].tolist() for name in archive.files}
        circuit = client.create_circuit(model.id, calibration={"inputs": calibration})
        for _ in client.circuit_events(circuit.id):
            pass
        state = client.circuit(circuit.id).state
        if state != "ready":
            raise SampleFailed(f"the circuit is {state}")
        self._circuit = circuit.id
        return Outcome(
            metrics={"latency_s": started_s, "build_s": time.perf_counter() - begin - started_s}
        )

    def _stopped(self) -> Outcome:
        begin = time.perf_counter()
        self.stop()
        return Outcome(metrics={"latency_s": time.perf_counter() - begin})

    def _job(self) -> Outcome:
        """One warm job, from the request to its last event."""
        begin = time.perf_counter()
        job = self._post()
        done = self._ended(job)
        latency_s = time.perf_counter() - begin
        engine_s = sum(done.timings[step] for step in ("witness", "prove", "verify"))
        return Outcome(
            metrics={
                "latency_s": latency_s,
                "overhead_s": latency_s - engine_s,
                "prove_s": done.timings["prove"],
            },
            wrong="the circuit was built again" if "compile" in done.timings else None,
        )

    def _post_while_proving(self) -> Outcome:
        """The response time of ``POST /v1/proofs`` while another proof is made."""
        busy = self._proving()
        begin = time.perf_counter()
        second = self._post()
        latency_s = time.perf_counter() - begin
        self._ended(busy)
        self._ended(second)
        return Outcome(metrics={"latency_s": latency_s})

    def _get_while_proving(self) -> Outcome:
        busy = self._proving()
        begin = time.perf_counter()
        self._open().proof(busy.id)
        latency_s = time.perf_counter() - begin
        self._ended(busy)
        return Outcome(metrics={"latency_s": latency_s})

    def _throughput(self) -> Outcome:
        """Warm jobs per second when several are sent at once."""
        begin = time.perf_counter()
        done = self._all_at_once()
        seconds = time.perf_counter() - begin
        return Outcome(
            metrics={"throughput_per_s": self._jobs / seconds},
            facts={"lanes": [_lanes(job) for job in done]},
        )

    def _until_shared(self) -> Outcome:
        """Sends jobs at once until most share a proof: a missing batched circuit is built first."""
        begin = time.perf_counter()
        while (passed_s := time.perf_counter() - begin) < _SHARES_IN_S:
            if sum(_lanes(job) > 1 for job in self._all_at_once()) > self._jobs // 2:
                return Outcome(metrics={"build_s": passed_s})
        raise SampleTimeout(f"no proof was shared within {_SHARES_IN_S} s")

    def _all_at_once(self) -> list[Job]:
        return [self._ended(job) for job in [self._post() for _ in range(self._jobs)]]

    # --- means --------------------------------------------------------------------------------

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        name = f"{side}, {self._workers} worker{'s' if self._workers > 1 else ''}"
        name += ", coalescing" if self._coalesce_ms else ""
        return Key(suite=SUITE, model=self._entry.name, side=name, step=step, sample=sample)

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._models)

    def _with_project_errors(self, action: Any) -> Outcome:
        """Runs an action; errors of the service and of the network become a ``ZkmlError``."""
        try:
            outcome: Outcome = action()
        except TimeoutError as error:
            raise SampleTimeout(str(error)) from error
        except (ServerProblem, UnexpectedAnswer, httpx.TransportError) as error:
            raise SampleFailed(str(error)) from error
        return outcome

    def _up(self) -> Client:
        zkml = str(Path(sys.executable).with_name("zkml"))
        with (self._home / "service.log").open("wb") as log:
            self._process = subprocess.Popen(
                [zkml, "up", "--port", "0", "--workers", str(self._workers), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self._home, self._srs)
                | {"ZKML_COALESCE_MS": str(self._coalesce_ms)},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SampleFailed("zkml up did not start", log=str(self._home / "service.log"))
        self._client = Client(json.loads(line)["url"])
        until = time.monotonic() + _STARTS_IN_S
        while time.monotonic() < until:
            with contextlib.suppress(ServerProblem, UnexpectedAnswer, httpx.TransportError):
                if self._client.ready().ready:
                    return self._client
            time.sleep(0.02)
        raise SampleTimeout(f"the service was not ready after {_STARTS_IN_S} s")

    def _open(self) -> Client:
        assert self._client is not None, "the task that starts the service comes first"
        return self._client

    def _post(self) -> Job:
        sample = self._fixture().samples(1)[0]
        inputs = {name: values.tolist() for name, values in sample.items()}
        return self._open().create_proof(circuit=self._circuit, inputs=inputs)

    def _proving(self) -> Job:
        """A job whose proof is being made."""
        job = self._post()
        for event in self._open().events(job.id):
            if event.type == "stage" and event.data.get("stage") == "prove":
                return job
        raise SampleFailed(f"job {job.id} ended before its stage `prove` was seen")

    def _ended(self, job: Job) -> Job:
        for _ in self._open().events(job.id):
            pass
        done = self._open().proof(job.id)
        if done.state != "succeeded":
            raise SampleFailed(f"job {job.id} {done.state}: {done.problem}")
        return done


def _lanes(job: Job) -> int:
    """The lanes of its proof's circuit."""
    lane = (job.result or {}).get("lane")
    return int(lane["count"]) if lane else 1
