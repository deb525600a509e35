"""Runs tasks one by one and writes a row for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import (
    BudgetSpent,
    FolderUnusable,
    NotEnoughMemory,
    PeerMissing,
    ResultsOfAnotherRun,
    SampleTimeout,
)
from benchmarks.harness import process
from benchmarks.harness.eta import Budget, Durations
from benchmarks.harness.rows import FILE_NAME, Header, Journal, Key, Results, Row, Status, read
from benchmarks.harness.system import Outcome
from benchmarks.harness.tasks import Task
from circuits.errors import Fault, ZkmlError

#: Called before each task, with its key, whether it was already done, and the expected remaining
#: seconds (None if unknown).
OnTask = Callable[[Key, bool, float | None], None]


def run(
    tasks: Sequence[Task],
    header: Header,
    folder: Path,
    on_task: OnTask = lambda key, done, left_s: None,
    budget: Budget | None = None,
) -> Results:
    """Runs the tasks without a row in ``folder``, and returns all rows.

    Tasks that do not fit the ``budget`` become skipped rows, which the next run tries. It may be
    interrupted at any point: called again with the same header, it continues. Raises
    ``ResultsOfAnotherRun`` if the folder has results of another header.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done, header = _earlier(path, header)
        journal = Journal(path, header, tuple(done.values()))
    except OSError as error:
        raise FolderUnusable(f"{folder} cannot be written: {error.strerror}") from error
    from_before = {task.key: task for task in tasks if task.key in done}
    durations = Durations(done.values())
    for at, task in enumerate(tasks):
        # A dropped task has its reason in the row of the task it needs.
        falls_away = task.needs is not None and not _went_well(done.get(task.needs))
        left_s = durations.left_s(later.key for later in tasks[at:] if later.key not in done)
        if budget is not None and left_s is not None:
            left_s = max(0.0, min(left_s, budget.left_s))
        on_task(task.key, task.key in done or falls_away, left_s)
        if task.key in done or falls_away:
            continue
        if task.needs is not None:
            earlier = from_before.pop(task.needs, None)
            if earlier is not None and not earlier.ready():
                attempt(earlier)  # an earlier run has a row, but the files are gone: no second row
        done[task.key] = attempt(task, budget, durations.expected_s(task.key))
        durations.note(done[task.key])
        journal.append(done[task.key])
    return Results(header=header, rows=tuple(done.values()))


def attempt(task: Task, budget: Budget | None = None, expected_s: float | None = None) -> Row:
    """One sample as a row. A ``ZkmlError`` becomes a row; other exceptions are bugs and raised."""
    row = Row(
        key=task.key,
        status=Status.OK,
        warm_up=task.warm_up,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    begin = time.perf_counter()
    try:
        if budget is not None:
            budget.require(expected_s)
        with process.within(None if budget is None else budget.left_s):
            outcome = task.action()
    except ZkmlError as error:
        row = replace(row, status=_status(error), reason=error.problem())
    else:
        row = replace(
            row,
            status=Status.OK if outcome.wrong is None else Status.WRONG,
            metrics={name: float(value) for name, value in outcome.metrics.items()},
            facts=dict(outcome.facts),
            reason=_reason(outcome),
        )
    return replace(row, seconds=round(time.perf_counter() - begin, 3))


def _earlier(path: Path, header: Header) -> tuple[dict[Key, Row], Header]:
    if not path.exists():
        return {}, header
    earlier = read(path)
    differs = header.differs_in(earlier.header)
    if differs:
        raise ResultsOfAnotherRun(
            f"{path} holds results of another run; different: {', '.join(differs)}",
            differs=differs,
        )
    return {row.key: row for row in _kept(earlier.rows)}, earlier.header


def _kept(rows: Iterable[Row]) -> Iterable[Row]:
    """The rows that need no retry."""
    return (row for row in rows if row.status not in (Status.FAILED, Status.SKIPPED))


def _went_well(row: Row | None) -> bool:
    return row is not None and row.status is Status.OK


def _status(error: ZkmlError) -> Status:
    if isinstance(error, NotEnoughMemory | SampleTimeout | BudgetSpent | PeerMissing):
        return Status.SKIPPED
    return Status.FAILED if error.fault in (Fault.INTERNAL, Fault.BUSY) else Status.REFUSED


def _reason(outcome: Outcome) -> dict[str, str] | None:
    if outcome.wrong is None:
        return None
    return {"code": "bench_wrong_answer", "detail": outcome.wrong}
