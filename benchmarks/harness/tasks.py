"""The samples of a run as a list of tasks, in an order that is fair to every side."""

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
    """How much is measured: proofs per model and side after ``warm_ups``, and held-out inputs.

    ``quick``: suites that go through sizes or candidates of their own take few and small ones.
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
        """Warm-ups go before the first sample that counts, in its round."""
        return max(0, turn - self.warm_ups)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One sample. ``needs`` must have gone well in this run, else this task falls away.

    ``round``: first samples of everything come before second samples of anything (``by_round``).
    ``ready`` tells whether what the task once made is still there: a task that a resumed run
    already has a row of is done again, without a second row, when it is not.
    """

    key: Key
    action: Callable[[], Outcome]
    warm_up: bool = False
    needs: Key | None = None
    round: int = 0
    ready: Callable[[], bool] = lambda: True


def by_round(tasks: Iterable[Task]) -> list[Task]:
    """The tasks round by round, else in their order: so a run that ends early has measured
    everything once, and sides and models alternate."""
    return sorted(tasks, key=lambda task: task.round)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A side, under the suite that brought it in."""

    suite: str
    side: System


def contest(
    entries: Sequence[Entry], contenders: Sequence[Contender], amount: RunSize, cache: Path
) -> Iterator[Task]:
    """All contenders on all models: per model the set-ups, then proofs in turn, then accuracy.

    Sides alternate proof by proof, and who begins changes each time, so that a machine that grows
    slower during the run slows all of them alike.
    """
    for entry in entries:
        yield from _one_model(entry, contenders, amount, cache)


def _one_model(
    entry: Entry, contenders: Sequence[Contender], amount: RunSize, cache: Path
) -> Iterator[Task]:
    held: list[Fixture] = []

    def material() -> Fixture:
        if not held:
            held.append(build_fixture(entry, cache / "models"))
        return held[0]

    def setup_key(contender: Contender) -> Key:
        return Key(
            suite=contender.suite, model=entry.name, side=contender.side.name, step=Step.SETUP
        )

    def place(contender: Contender) -> Workdir:
        return place_of(contender.side, material(), amount, cache)

    for c in contenders:
        yield Task(
            key=setup_key(c),
            action=lambda c=c: _set_up(c.side, material(), place(c)),  # type: ignore[misc]
            ready=lambda c=c: c.side.is_set_up(material(), place(c)),  # type: ignore[misc]
        )
    for turn in range(amount.warm_ups + amount.samples):
        first = turn % max(len(contenders), 1)
        for c in [*contenders[first:], *contenders[:first]]:
            yield Task(
                key=replace(setup_key(c), step=Step.PROVE, sample=turn),
                action=lambda c=c, t=turn: proved(c.side, material(), place(c), t),  # type: ignore[misc]
                warm_up=turn < amount.warm_ups,
                round=amount.round_of(turn),
                needs=setup_key(c),
            )
    for c in contenders:
        yield Task(
            key=replace(setup_key(c), step=Step.ACCURACY),
            action=lambda c=c: _accuracy(c.side, material(), place(c), amount.held_out),  # type: ignore[misc]
            needs=setup_key(c),
        )


def place_of(side: System, material: Fixture, amount: RunSize, cache: Path) -> Workdir:
    """Where a side keeps what it made for a model: the same place in every suite."""
    return Workdir(
        work=cache / "work" / side.name / material.sha256[-16:],
        srs=cache / "srs",
        deadline_s=amount.deadline_s,
    )


def _set_up(side: System, material: Fixture, place: Workdir) -> Outcome:
    """The set-up, with what the model's own arithmetic comes to."""
    outcome = side.setup(material, place)
    multiplications = material.entry.multiplications
    if multiplications is None:
        model = material.onnx.read_bytes()
        multiplications = inspect_model(model, allow_refused=True).multiplications
    counted = {"multiplications": multiplications, "activations": material.entry.activations}
    return replace(outcome, facts={**counted, **outcome.facts})


def proved(side: System, material: Fixture, place: Workdir, sample: int) -> Outcome:
    """A proof whose answer is compared with onnxruntime's on the same input."""
    outcome = side.prove(material, place, sample)
    at = sample % len(material.reference)
    wanted = material.reference[at]
    if not outcome.verified:
        return replace(outcome, wrong="the proof was not verified")
    if outcome.outputs is None or len(outcome.outputs) != 1:
        return replace(outcome, wrong="the proof shows no output")
    answer = np.asarray(outcome.outputs[0], dtype=np.float64)
    if answer.shape != wanted.shape:
        return replace(outcome, wrong=f"{answer.size} output values instead of {wanted.size}")
    span = float(np.ptp(material.reference)) or 1.0
    error = float(np.abs(answer - wanted).max()) / span
    if not error <= WRONG_ERROR:
        return replace(
            outcome, wrong=f"the proved output is {error:.0%} of its range away from the model's"
        )
    return replace(outcome, metrics={**outcome.metrics, "max_error": error})


def _accuracy(side: System, material: Fixture, place: Workdir, count: int) -> Outcome:
    """Answers for held-out inputs; ``facts["misses"]`` when they miss the constraint."""
    outcome = side.accuracy(material, place, count)
    if outcome.outputs is None:
        return replace(outcome, wrong="the side gave no answers")
    metrics = judge(outcome.outputs, material)
    facts = {**outcome.facts, "held_out": len(outcome.outputs), "misses": misses(metrics)}
    return replace(outcome, metrics={**outcome.metrics, **metrics}, facts=facts)
