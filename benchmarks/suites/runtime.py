"""The cost of the runtime and its recovery, in the suite ``service``: workers against the engine in
a bare loop, a cancellation at each stage, a kill of each part, a long queue.

The service uses a copy of the home of ``serving``, which has model and circuit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from api.client import Client, Job, ServerProblem, UnexpectedAnswer
from benchmarks.errors import SampleFailed, SampleTimeout
from benchmarks.harness.home import environment
from benchmarks.harness.metrics import counted
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture

WORKERS = (1, 2, 4)
#: Proofs of each process of the bare loop, and of each worker.
PROOFS, QUICK_PROOFS = 30, 3
QUEUED, QUICK_QUEUED = 100_000, 500
_LEASE_S = 5
_HANGS_S, _STOPS_IN_S = 300, 60


class Runtime:
    """One service at a time, with a sample's number of workers, each with one thread."""

    def __init__(
        self, suite: str, entry: Entry, run_size: RunSize, cache: Path, home: Path
    ) -> None:
        self._suite, self._entry, self._run_size = suite, entry, run_size
        self._models, self._srs, self._source = cache / "models", cache / "srs", home
        self._home = home.with_name(f"{home.name}-runtime")
        self._proofs = QUICK_PROOFS if run_size.quick else PROOFS
        self._up = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self._circuit = ""

    def tasks(self) -> Iterator[Task]:
        cores = os.cpu_count() or 1
        for processes, threads in ((cores, 1), (1, cores)):  # the rule for threads rests on these
            yield from self._each(
                f"{counted(processes, 'bare loop')} of {counted(threads, 'thread')}",
                partial(self._bare, processes, threads),
            )
        for workers in WORKERS:
            name = f"{counted(workers, 'worker')} of 1 thread"
            measured = [("throughput", partial(self._throughput, workers))]
            yield from self._with(name, workers, measured)
        stages = [
            (f"cancel at {stage}", partial(self._cancel, stage))
            for stage in ("compile", "witness", "prove", "verify")  # signing takes milliseconds
        ]
        kills = [
            (f"recovery from a killed {part}", partial(self._recovery, kill))
            for part, kill in (
                ("worker", partial(self._kill, "-m workers")),
                ("engine child", self._kill_child),
                ("fork server", lambda: self._fork_server().kill()),
                ("API", partial(self._kill, "-m api")),
                ("redis", partial(self._kill, "redis-server")),
            )
        ]
        yield from self._with("one worker", 1, [*stages, *kills])
        count = QUICK_QUEUED if self._run_size.quick else QUEUED
        yield Task(  # once: it is many samples in one
            key=self._key(f"queue of {count} jobs", Step.MEASURE),
            action=lambda: _with_project_errors(lambda: self._queue(count)),
        )

    def stop(self) -> None:
        """Ends every process of this service."""
        self._up.close()
        self._process = None

    def _with(
        self, name: str, workers: int, measured: Sequence[tuple[str, Callable[[], Outcome]]]
    ) -> Iterator[Task]:
        first = self._key(f"start, {name}", Step.PREPARE)
        yield Task(
            key=first,
            action=lambda: _with_project_errors(lambda: self._start(workers)),
            ready=lambda: self._process is not None,
        )
        for side, action in measured:
            yield from self._each(f"{side}, {name}", action, first)

    def _each(
        self, side: str, action: Callable[[], Outcome], needs: Key | None = None
    ) -> Iterator[Task]:
        for turn in range(self._run_size.warm_ups + self._run_size.samples):
            yield Task(
                key=self._key(side, Step.MEASURE, turn),
                action=lambda: _with_project_errors(action),
                warm_up=turn < self._run_size.warm_ups,
                needs=needs,
            )

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=self._suite, model=self._entry.name, side=side, step=step, sample=sample)

    # --- samples ------------------------------------------------------------------------------

    def _bare(self, processes: int, threads: int) -> Outcome:
        """Witness and proof repeatedly, in parallel processes."""
        self._copy()
        sample = self._home / "sample.npz"
        inputs: dict[str, Any] = self._fixture().samples(1)[0]
        np.savez(sample, **inputs)
        command = [sys.executable, "-m", "benchmarks.steps.bare_loop", str(sample)]
        loops = [
            subprocess.Popen(
                [*command, str(self._proofs), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(self._home, self._srs),
            )
            for _ in range(processes)
        ]
        with ExitStack() as stack:
            for loop in loops:
                stack.callback(_end, loop)
            for loop in loops:
                assert loop.stdout is not None
                if loop.stdout.readline().strip() != "ready":
                    raise SampleFailed("a bare loop did not begin")
            begin = time.perf_counter()
            for loop in loops:
                assert loop.stdin is not None
                loop.stdin.write("\n")
                loop.stdin.flush()
            for loop in loops:
                loop.communicate()
            seconds = time.perf_counter() - begin
        return Outcome(metrics={"throughput_per_s": processes * self._proofs / seconds})

    def _throughput(self, workers: int) -> Outcome:
        """Jobs per second, from the first request to the end of the last."""
        begin = time.perf_counter()
        jobs = [self._post() for _ in range(max(2, workers) * self._proofs)]
        for job in jobs:
            self._ended(job)
        seconds = time.perf_counter() - begin
        return Outcome(metrics={"throughput_per_s": len(jobs) / seconds})

    def _cancel(self, stage: str) -> Outcome:
        """The time from a cancellation during a stage to the job's end."""
        job = self._order() if stage == "compile" else self._post()
        with ExitStack() as stack:
            if stage == "verify":  # so short that it has to be held up
                self._reaches(job, "prove")
                stack.enter_context(self._no_new_child())
            self._reaches(job, stage)
            begin = time.perf_counter()
            self._open().cancel(job.id)
            for _ in self._open().events(job.id):
                pass
            latency_s = time.perf_counter() - begin
        state = self._open().proof(job.id).state
        if state != "canceled":
            raise SampleFailed(f"the job is {state}")
        return Outcome(metrics={"latency_s": latency_s})

    def _recovery(self, kill: Callable[[], None]) -> Outcome:
        """The time from a kill during a proof to the job's success, minus a whole proof."""
        begin = time.perf_counter()
        self._ended(self._post())
        alone_s = time.perf_counter() - begin
        job = self._post()
        self._reaches(job, "prove")
        begin = time.perf_counter()
        kill()
        done = self._ended(job)
        latency_s = time.perf_counter() - begin
        return Outcome(
            metrics={"latency_s": max(0.0, latency_s - alone_s)}, facts={"attempts": done.attempt}
        )

    def _queue(self, count: int) -> Outcome:
        """Jobs written directly to the store: one process, one transaction each."""
        self._home.mkdir(parents=True, exist_ok=True)
        database = self._home / "queue.db"
        database.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.steps.queue_flow"),
                *(f"sqlite:///{database}", str(count)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SampleFailed(done.stderr[-500:])
        found = json.loads(done.stdout)
        latency_s = found.pop("list_s")
        return Outcome(
            metrics={"latency_s": latency_s} | {k: v for k, v in found.items() if k != "turn_s"},
            facts={"turn_s": found["turn_s"]},
        )

    # --- means --------------------------------------------------------------------------------

    def _copy(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._source, self._home, ignore=shutil.ignore_patterns("redis", "tmp"))

    def _start(self, workers: int) -> Outcome:
        self.stop()
        self._copy()
        begin = time.perf_counter()
        zkml = str(Path(sys.executable).with_name("zkml"))
        with (self._home / "service.log").open("wb") as log:
            process = subprocess.Popen(
                [zkml, "up", "--port", "0", "--workers", str(workers), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(self._home, self._srs)
                | {"ZKML_ENGINE_THREADS": "1", "ZKML_LEASE_S": str(_LEASE_S)},
                start_new_session=True,
            )
        self._up = ExitStack()
        self._up.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SampleFailed("zkml up did not start", log=str(self._home / "service.log"))
        self._client = self._up.enter_context(Client(json.loads(line)["url"]))
        self._process = process
        found = self._client.circuits(limit=100).items  # with those of several lanes
        self._circuit = next(c.id for c in found if "lanes" not in (c.manifest or {}))
        self._ended(self._post())
        return Outcome(metrics={"latency_s": time.perf_counter() - begin})

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._models)

    def _open(self) -> Client:
        assert self._client is not None, "the task that starts the service comes first"
        return self._client

    def _inputs(self) -> dict[str, Any]:
        return {name: v.tolist() for name, v in self._fixture().samples(1)[0].items()}

    def _post(self) -> Job:
        return self._open().create_proof(circuit=self._circuit, inputs=self._inputs())

    def _order(self) -> Job:
        """A proof whose circuit has to be built."""
        profile = {"range_margin": 0.5 + time.time() % 1}
        model = self._open().circuit(self._circuit).model
        return self._open().create_proof(model=model, inputs=self._inputs(), profile=profile)

    def _reaches(self, job: Job, stage: str) -> None:
        for event in self._open().events(job.id):
            if event.type == "stage" and event.data.get("stage") == stage:
                return
        raise SampleFailed(f"job {job.id} ended before its stage `{stage}` was seen")

    def _ended(self, job: Job) -> Job:
        until, done = time.monotonic() + _HANGS_S, job
        while not done.terminal:
            if time.monotonic() > until:
                raise SampleTimeout(f"job {job.id} does not end")
            with suppress(httpx.TransportError, UnexpectedAnswer):  # the API may have been killed
                for _ in self._open().events(job.id):
                    pass
                done = self._open().proof(job.id)
        if done.state != "succeeded":
            raise SampleFailed(f"job {job.id} {done.state}: {done.problem}")
        return done

    def _below(self, word: str) -> list[psutil.Process]:
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        return [child for child in children if word in " ".join(child.cmdline())]

    def _kill(self, word: str) -> None:
        self._below(word)[0].kill()

    @contextmanager
    def _no_new_child(self) -> Iterator[None]:
        """Suspends the fork server. The next engine call waits for its child; running ones
        continue."""
        server = self._fork_server()
        server.suspend()
        try:
            yield
        finally:
            server.resume()

    def _kill_child(self) -> None:
        self._fork_server().children()[0].kill()

    def _fork_server(self) -> psutil.Process:
        """The worker's; the API may have one too."""
        (worker,) = self._below("-m workers")
        return next(p for p in worker.children() if "forkserver" in " ".join(p.cmdline()))


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOPS_IN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _with_project_errors(action: Callable[[], Outcome]) -> Outcome:
    try:
        return action()
    except (ServerProblem, UnexpectedAnswer, httpx.TransportError, StopIteration) as error:
        raise SampleFailed(str(error) or type(error).__name__) from error
