"""The suite ``verify``: the command line as whole processes.

``zkml prove`` with the circuit built, ``zkml verify`` of its bundle, and ``verify_bundle`` alone.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import process
from benchmarks.harness.home import environment
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import RunSize, Task
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture

SUITE = "verify"
MODELS = ("digits", "gradient-boosting", "mlp-784-128-10")
_ROOT = Path(__file__).parents[2]


def tasks(
    entries: Sequence[Entry], run_size: RunSize, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """Per model: building the circuit, then the three commands in turn."""
    for entry in entries:
        yield from _OneModel(entry, run_size, cache).tasks()


class _OneModel:
    """The commands on one model, in a separate home folder."""

    def __init__(self, entry: Entry, run_size: RunSize, cache: Path):
        self._entry, self._run_size = entry, run_size
        self._models = cache / "models"
        self._home = cache / "home" / entry.name
        self._srs = cache / "srs"
        self._bundle = self._home / "proof.zkml"

    def tasks(self) -> Iterator[Task]:
        build = self._key("zkml prove, new circuit", Step.PREPARE)
        yield Task(key=build, action=self._build, ready=self._bundle.exists)
        for turn in range(self._run_size.warm_ups + self._run_size.samples):
            for side, action in (
                ("zkml prove", self._prove),
                ("zkml verify", self._verify),
                ("verify_bundle", self._verify_in_process),
            ):
                yield Task(
                    key=self._key(side, Step.MEASURE, turn),
                    action=action,
                    warm_up=turn < self._run_size.warm_ups,
                    round=self._run_size.round_of(turn),
                    needs=build,
                )

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=SUITE, model=self._entry.name, side=side, step=step, sample=sample)

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._models)

    def _build(self) -> Outcome:
        shutil.rmtree(self._home, ignore_errors=True)  # no circuit of an earlier run
        self._home.mkdir(parents=True)
        measured = self._prove_once()
        timings = measured.output["timings"]
        return Outcome(metrics={"build_s": timings["compile"], "total_s": measured.seconds})

    def _prove(self) -> Outcome:
        measured = self._prove_once()
        timings = measured.output["timings"]
        return Outcome(
            metrics={
                "total_s": measured.seconds,
                "prove_s": timings["prove"],
                "overhead_s": measured.seconds - sum(timings.values()),
                "peak_rss_bytes": float(measured.peak_rss_bytes),
            },
            wrong="the circuit was built again" if "compile" in timings else None,
        )

    def _verify(self) -> Outcome:
        measured = self._run([_zkml(), "verify", str(self._bundle), "--json"], accept=(0, 1))
        return Outcome(
            metrics={
                "total_s": measured.seconds,
                "peak_rss_bytes": float(measured.peak_rss_bytes),
            },
            wrong=None if measured.output["ok"] else "the bundle does not verify",
        )

    def _verify_in_process(self) -> Outcome:
        measured = self._run(
            [sys.executable, "-m", "benchmarks.steps.verify_flow", str(self._bundle)], accept=(0,)
        )
        return Outcome(
            metrics={"verify_s": measured.output["seconds"]},
            facts={"checks": measured.output["checks"]},
            wrong=None if measured.output["ok"] else "the bundle does not verify",
        )

    def _prove_once(self) -> process.Measured:
        fixture = self._fixture()
        files = [str(fixture.onnx), str(fixture.input)]
        options = ["--calibration", str(fixture.calibration), "-o", str(self._bundle), "--json"]
        return self._run([_zkml(), "prove", *files, *options], accept=(0,))

    def _run(self, command: list[str], *, accept: tuple[int, ...]) -> process.Measured:
        return process.run(
            command,
            deadline_s=self._run_size.deadline_s,
            cwd=_ROOT,
            env=environment(self._home, self._srs),
            accept=accept,
        )


def _zkml() -> str:
    """The command beside this interpreter."""
    return str(Path(sys.executable).with_name("zkml"))
