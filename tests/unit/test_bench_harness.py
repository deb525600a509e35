"""The harness itself, checked with sides whose behaviour is known because it is planted."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from benchmarks.errors import (
    BudgetSpent,
    NotEnoughMemory,
    PeerMissing,
    ResultsOfAnotherRun,
    SampleFailed,
    SampleOutOfMemory,
    SampleTimeout,
    SystemRefused,
)
from benchmarks.harness import process
from benchmarks.harness.eta import Budget, Durations
from benchmarks.harness.rows import FILE_NAME, Header, Key, Results, Row, Status, Step
from benchmarks.harness.runner import run
from benchmarks.harness.system import Outcome, Workdir
from benchmarks.harness.tasks import RunSize, SuiteSystem, by_round, system_tasks
from benchmarks.report import page as report
from benchmarks.report.compare import Verdict, compare
from benchmarks.report.run_summary import RunSummary
from benchmarks.suites import registry as suites
from benchmarks.systems import circom
from benchmarks.zoo.fixtures import Fixture
from benchmarks.zoo.zoo import ENTRIES, ZOO

HEADER = Header(
    options={"samples": 5, "warm_ups": 1},
    machine={
        "processor": "p", "cores": 2, "memory_bytes": 1 << 30, "system": "s", "python": "3",
        "versions": {}, "environment": {}, "commit": "c",
    },
    started="2026-01-01T00:00:00",
)  # fmt: skip
AMOUNT = RunSize(samples=5, warm_ups=1, held_out=20, deadline_s=20)
#: A child that works for as long as it is told, and says how long that took.
WORK = (
    "import json, sys, time; t = time.perf_counter(); time.sleep(float(sys.argv[1]));"
    "print(json.dumps({'seconds': time.perf_counter() - t}))"
)


@dataclass
class Planted:
    """Returns onnxruntime's outputs, in real processes, unless configured otherwise."""

    name: str = "ours"
    title: str = "planted"
    sleep_s: float = 0.02
    offset: float = 0.0
    verified: bool = True
    error: Exception | None = None
    calls: list[str] = field(default_factory=list)

    def setup(self, fixture: Fixture, workdir: Workdir) -> Outcome:
        self.calls.append("setup")
        if self.error:
            raise self.error
        return Outcome()

    def is_set_up(self, fixture: Fixture, workdir: Workdir) -> bool:
        return True

    def prove(self, fixture: Fixture, workdir: Workdir, sample: int) -> Outcome:
        self.calls.append(f"prove {sample}")
        measured = process.run([sys.executable, "-c", WORK, str(self.sleep_s)], deadline_s=20)
        answer = fixture.reference[sample] + self.offset
        return Outcome(
            metrics={"prove_s": measured.output["seconds"]},
            verified=self.verified,
            outputs=[answer.tolist()],
        )

    def accuracy(self, fixture: Fixture, workdir: Workdir, count: int) -> Outcome:
        return Outcome(outputs=(fixture.reference[:count] + self.offset).tolist())


def measure(folder: Path, *planted: Planted, header: Header = HEADER) -> Results:
    systems = [SuiteSystem(suite="models", system=system) for system in planted]
    cache = folder.parent / "cache"
    return run(list(system_tasks([ZOO["digits"]], systems, AMOUNT, cache)), header, folder)


@pytest.mark.long
@pytest.mark.slow
def test_a_planted_slow_down_of_two_is_seen(tmp_path: Path) -> None:
    before = measure(tmp_path / "old", Planted(sleep_s=0.2))
    after = measure(tmp_path / "new", Planted(sleep_s=0.4))
    verdicts = {c.cell[-1]: c.verdict for c in compare(before, after)}
    assert verdicts["prove_s"] is Verdict.WORSE


def test_a_wrong_output_is_detected_and_its_time_is_not_compared(tmp_path: Path) -> None:
    results = measure(tmp_path / "run", Planted(offset=9.0), Planted(name="ezkl-default"))
    proofs = [r for r in results.rows if r.key.step is Step.PROVE and r.key.side == "ours"]
    assert all(row.status is Status.WRONG for row in proofs)
    assert RunSummary.of(results).speed_up("digits") is None


def test_a_proof_that_does_not_verify_is_caught(tmp_path: Path) -> None:
    results = measure(tmp_path / "run", Planted(verified=False))
    proofs = [row for row in results.rows if row.key.step is Step.PROVE]
    assert {row.status for row in proofs} == {Status.WRONG}
    assert RunSummary.of(results).system_results["digits", "ours"].verified == "0/6"


@pytest.mark.long
def test_sides_alternate_and_take_turns_to_begin(tmp_path: Path) -> None:
    results = measure(tmp_path / "run", Planted(), Planted(name="ezkl-default"))
    order = [r.key.side[0] for r in results.rows if r.key.step is Step.PROVE]
    assert "".join(order) == "oeeooeeooeeo"


def test_warm_ups_are_recorded_and_not_counted(tmp_path: Path) -> None:
    results = measure(tmp_path / "run", Planted())
    assert sum(row.warm_up for row in results.rows) == AMOUNT.warm_ups
    assert (
        len(RunSummary.of(results).system_results["digits", "ours"].values("prove_s"))
        == AMOUNT.samples
    )


def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = measure(folder, Planted())
    lines = (folder / FILE_NAME).read_text().splitlines(keepends=True)
    (folder / FILE_NAME).write_text("".join(lines[:5]) + lines[5][:20])
    side = Planted()
    again = measure(folder, side)
    assert [row.key for row in again.rows] == [row.key for row in whole.rows]
    assert side.calls == ["prove 3", "prove 4", "prove 5"]


def test_first_samples_of_everything_come_before_second_samples_of_anything(tmp_path: Path) -> None:
    systems = [SuiteSystem(suite="models", system=Planted())]
    entries = [ZOO["digits"], ZOO["autoencoder"]]
    tasks = by_round(system_tasks(entries, systems, AMOUNT, tmp_path))
    turns = [(t.key.model, t.key.sample) for t in tasks if t.key.step is Step.PROVE]
    first = [("digits", 0), ("digits", 1), ("autoencoder", 0), ("autoencoder", 1)]
    assert turns[:6] == [*first, ("digits", 2), ("autoencoder", 2)]
    steps = [t.key.step for t in tasks[:4]]
    assert steps == [Step.SETUP, Step.PROVE, Step.PROVE, Step.ACCURACY]


def test_a_peer_is_compared_on_the_models_it_supports(tmp_path: Path) -> None:
    def contended(*names: str) -> dict[str, set[str]]:
        chosen = suites.choose(names)
        selection = suites.Selection(entries=ENTRIES, named=False)
        with ExitStack() as stack:
            tasks = suites.tasks_of(chosen, selection, AMOUNT, tmp_path, stack)
        assert len({task.key for task in tasks}) == len(tasks)
        sides: dict[str, set[str]] = {}
        for task in tasks:
            sides.setdefault(task.key.model, set()).add(task.key.side)
        return sides

    both, three = {"ours", "ezkl-default"}, {"ours", "ezkl-default", "circom"}
    assert contended("peers") == dict.fromkeys(circom.MODELS, three)
    assert contended("models", "baseline", "peers") == {
        entry.name: three if entry.name in circom.MODELS else both for entry in ENTRIES
    }


def test_a_spent_budget_leaves_rows_that_the_next_run_fills(tmp_path: Path) -> None:
    folder, systems = tmp_path / "run", [SuiteSystem(suite="models", system=Planted())]
    tasks = list(system_tasks([ZOO["digits"]], systems, AMOUNT, tmp_path / "cache"))
    cut = run(tasks, HEADER, folder, budget=Budget(0.0))
    assert {row.status for row in cut.rows} == {Status.SKIPPED}
    assert "is spent" in report.write(cut, folder).read_text()
    assert {row.status for row in run(tasks, HEADER, folder).rows} == {Status.OK}


def test_a_budget_holds_no_sample_that_is_expected_to_outlast_it() -> None:
    budget = Budget(60)
    budget.require(None)
    budget.require(1)
    with pytest.raises(BudgetSpent, match="exceed the rest of the 1 min"):
        budget.require(90)


def test_a_program_may_run_no_longer_than_its_surroundings_allow() -> None:
    with (
        process.within(0.2),
        pytest.raises(SampleTimeout, match="the rest of the run's time limit"),
    ):
        process.run([sys.executable, "-c", WORK, "60"], deadline_s=100)


def test_the_time_left_is_learned_from_samples_of_the_same_kind() -> None:
    def key(model: str, step: Step, sample: int = 0) -> Key:
        return Key(suite="models", model=model, side="ours", step=step, sample=sample)

    durations = Durations()
    assert durations.left_s([key("a", Step.PROVE)]) is None
    durations.note(Row(key=key("a", Step.SETUP), status=Status.OK, seconds=10))
    durations.note(Row(key=key("a", Step.PROVE), status=Status.OK, seconds=2))
    durations.note(Row(key=key("b", Step.PROVE), status=Status.OK, seconds=4))
    durations.note(Row(key=key("b", Step.PROVE, 1), status=Status.SKIPPED, seconds=99))
    assert durations.expected_s(key("b", Step.PROVE, 1)) == 4
    assert durations.expected_s(key("c", Step.PROVE)) == 3
    assert durations.left_s([key("c", Step.SETUP), key("c", Step.PROVE)]) == 13


def test_results_of_other_options_are_not_mixed(tmp_path: Path) -> None:
    measure(tmp_path / "run", Planted())
    other = replace(HEADER, options={"samples": 9})
    with pytest.raises(ResultsOfAnotherRun, match="options"):
        measure(tmp_path / "run", Planted(), header=other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(SystemRefused("no Softmax here"), Status.REFUSED, marks=pytest.mark.long),
        pytest.param(NotEnoughMemory("needs 9 GB"), Status.SKIPPED, marks=pytest.mark.long),
        pytest.param(PeerMissing("no such program"), Status.SKIPPED, marks=pytest.mark.long),
        (SampleFailed("it broke"), Status.FAILED),
    ],
)
def test_what_cannot_be_measured_is_a_row_with_its_reason(
    tmp_path: Path, error: Exception, status: Status
) -> None:
    results = measure(tmp_path / "run", Planted(error=error), Planted(name="ezkl-default"))
    (row,) = [row for row in results.rows if row.key.side == "ours"]
    assert row.status is status
    text = report.write(results, tmp_path / "run").read_text()
    assert str(error) in text


@pytest.mark.long
def test_a_readme_shows_what_the_results_say(tmp_path: Path) -> None:
    results = measure(tmp_path / "run", Planted(), Planted(name="ezkl-default", sleep_s=0.1))
    readme = f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n"
    shown = report.inserted(readme, report.excerpt(results))
    assert "stale" not in shown
    assert "| model | ours | EZKL |" in shown
    assert report.inserted(shown, report.excerpt(results)) == shown


# --- the process that measures ----------------------------------------------------------------


def test_peak_memory_is_the_childs_own_and_not_that_of_the_harness() -> None:
    ballast = bytearray(300 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])  # resident, not only promised
    small = process.run([sys.executable, "-S", "-c", "print('{}')"], deadline_s=20)
    assert small.peak_rss_bytes < 100 << 20
    grown = "x = bytearray(200 << 20); x[::4096] = b'x' * len(x[::4096]); print('{}')"
    large = process.run([sys.executable, "-S", "-c", grown], deadline_s=20)
    assert large.peak_rss_bytes > 200 << 20


def test_a_process_past_its_deadline_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    spawn = (
        "import pathlib, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']);"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)"
    )
    with pytest.raises(SampleTimeout):
        process.run([sys.executable, "-c", spawn, str(pid_file)], deadline_s=1)
    _wait_until_dead(int(pid_file.read_text()))


def test_an_interrupted_harness_leaves_no_process_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    sleeper = (
        "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
        "time.sleep(60)"
    )
    harness = (
        "import sys; from benchmarks.harness import process;"
        f"process.run([sys.executable, '-c', {sleeper!r}, sys.argv[1]], deadline_s=60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", harness, str(pid_file)], stderr=subprocess.DEVNULL
    ) as running:
        while not pid_file.exists() or not pid_file.read_text():  # pytest's own limit ends these
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        running.wait()
    _wait_until_dead(int(pid_file.read_text()))


def test_a_killed_process_and_a_failing_one_are_distinguished() -> None:
    with pytest.raises(SampleOutOfMemory):
        process.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], deadline_s=20)
    with pytest.raises(SampleFailed, match="ZeroDivisionError"):
        process.run([sys.executable, "-c", "1 / 0"], deadline_s=20)
    with pytest.raises(SampleFailed, match="could not start /nowhere"):
        process.run(["/nowhere"], deadline_s=20)
    with pytest.raises(SampleFailed, match="no JSON"):
        process.run([sys.executable, "-c", "print('hello')"], deadline_s=20)


def _wait_until_dead(pid: int) -> None:
    """Ended, or a zombie; the test's own deadline ends the wait."""
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        while child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
