"""The samples of a run as a list of tasks, in an order that is fair to every system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import WRONG_ERROR, Outcome, System, Workdir, judge, misses
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture
from circuits.compiler.inspect import inspect_model


@dataclass(frozen=True, kw_only=True)
class RunSize:
    """How much is measured: proofs per model and system after ``warm_ups``, and held-out inputs.

    ``quick``: suites with their own sizes or candidates use few and small ones.
    """

    samples: int = 7
    warm_ups: int = 1
    held_out: int = 100
    deadline_s: float = 900.0
    quick: bool = False

    @classmethod
    def for_quick(cls) -> RunSize:
        return cls(samples=2, warm_ups=0, held_out=30, deadline_s=120.0, quick=True)

    def round_of(self, turn: int) -> int:
        """The round of a sample; warm-ups run in the round of the first counted sample."""
        return max(0, turn - self.warm_ups)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One sample. It is dropped unless the task ``needs`` succeeded in this run.

    ``round``: all first samples run before any second sample (``by_round``). ``ready``: whether the
    results of an earlier run of the task still exist. If not, a resumed run repeats the task
    without writing a second row.
    """

    key: Key
    action: Callable[[], Outcome]
    warm_up: bool = False
    needs: Key | None = None
    round: int = 0
    ready: Callable[[], bool] = lambda: True


def by_round(tasks: Iterable[Task]) -> list[Task]:
    """The tasks sorted by round (stable), so that a run that ends early has measured everything
    once, and systems and models alternate."""
    return sorted(tasks, key=lambda task: task.round)


@dataclass(frozen=True, kw_only=True)
class SuiteSystem:
    """A system, measured for a suite."""

    suite: str
    system: System


def system_tasks(
    entries: Sequence[Entry], systems: Sequence[SuiteSystem], run_size: RunSize, cache: Path
) -> Iterator[Task]:
    """All systems on all models: for each model the set-ups, then proofs in turn, then accuracy.

    Systems alternate proof by proof with a rotating order, so that a machine that becomes slower
    during the run affects all of them alike.
    """
    for entry in entries:
        yield from _one_model(entry, systems, run_size, cache)


def _one_model(
    entry: Entry, systems: Sequence[SuiteSystem], run_size: RunSize, cache: Path
) -> Iterator[Task]:
    held: list[Fixture] = []

    def fixture() -> Fixture:
        if not held:
            held.append(build_fixture(entry, cache / "models"))
        return held[0]

    def setup_key(member: SuiteSystem) -> Key:
        return Key(suite=member.suite, model=entry.name, side=member.system.name, step=Step.SETUP)

    def workdir(member: SuiteSystem) -> Workdir:
        return workdir_of(member.system, fixture(), run_size, cache)

    for c in systems:
        yield Task(
            key=setup_key(c),
            action=lambda c=c: _set_up(c.system, fixture(), workdir(c)),  # type: ignore[misc]
            ready=lambda c=c: c.system.is_set_up(fixture(), workdir(c)),  # type: ignore[misc]
        )
    for turn in range(run_size.warm_ups + run_size.samples):
        first = turn % max(len(systems), 1)
        for c in [*systems[first:], *systems[:first]]:
            yield Task(
                key=replace(setup_key(c), step=Step.PROVE, sample=turn),
                action=lambda c=c, t=turn: proved(c.system, fixture(), workdir(c), t),  # type: ignore[misc]
                warm_up=turn < run_size.warm_ups,
                round=run_size.round_of(turn),
                needs=setup_key(c),
            )
    for c in systems:
        yield Task(
            key=replace(setup_key(c), step=Step.ACCURACY),
            action=lambda c=c: _accuracy(c.system, fixture(), workdir(c), run_size.held_out),  # type: ignore[misc]
            needs=setup_key(c),
        )


def workdir_of(system: System, fixture: Fixture, run_size: RunSize, cache: Path) -> Workdir:
    """A system's files for a model: the same folder in every suite."""
    return Workdir(
        work=cache / "work" / system.name / fixture.sha256[-16:],
        srs=cache / "srs",
        deadline_s=run_size.deadline_s,
    )


def _set_up(system: System, fixture: Fixture, workdir: Workdir) -> Outcome:
    """The set-up, with the model's operation counts."""
    outcome = system.setup(fixture, workdir)
    multiplications = fixture.entry.multiplications
    if multiplications is None:
        model = fixture.onnx.read_bytes()
        multiplications = inspect_model(model, allow_refused=True).multiplications
    counted = {"multiplications": multiplications, "activations": fixture.entry.activations}
    return replace(outcome, facts={**counted, **outcome.facts})


def proved(system: System, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
    """A proof whose output is compared with onnxruntime's on the same input."""
    outcome = system.prove(fixture, workdir, sample)
    at = sample % len(fixture.reference)
    wanted = fixture.reference[at]
    if not outcome.verified:
        return replace(outcome, wrong="the proof was not verified")
    if outcome.outputs is None or len(outcome.outputs) != 1:
        return replace(outcome, wrong="the proof shows no output")
    answer = np.asarray(outcome.outputs[0], dtype=np.float64)
    if answer.shape != wanted.shape:
        return replace(outcome, wrong=f"{answer.size} output values instead of {wanted.size}")
    span = float(np.ptp(fixture.reference)) or 1.0
    error = float(np.abs(answer - wanted).max()) / span
    if not error <= WRONG_ERROR:
        return replace(
            outcome, wrong=f"the proved output is {error:.0%} of its range away from the model's"
        )
    return replace(outcome, metrics={**outcome.metrics, "max_error": error})


def _accuracy(system: System, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
    """Outputs for held-out inputs; ``facts["misses"]`` if they miss the accuracy constraint."""
    outcome = system.accuracy(fixture, workdir, count)
    if outcome.outputs is None:
        return replace(outcome, wrong="the system returned no outputs")
    metrics = judge(outcome.outputs, fixture)
    facts = {**outcome.facts, "held_out": len(outcome.outputs), "misses": misses(metrics)}
    return replace(outcome, metrics={**outcome.metrics, **metrics}, facts=facts)
