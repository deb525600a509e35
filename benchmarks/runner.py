"""Carries out tasks one by one, and writes a row for each, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.errors import NotEnoughMemory, ResultsOfAnotherRun, SampleTimeout
from benchmarks.rows import FILE_NAME, Header, Journal, Key, Results, Row, Status, read
from benchmarks.sides.side import Outcome
from benchmarks.tasks import Task
from circuits.errors import Fault, ZkmlError

#: Called before each task, with its key and whether it was already done.
OnTask = Callable[[Key, bool], None]


def run(
    tasks: Sequence[Task],
    header: Header,
    folder: Path,
    on_task: OnTask = lambda key, done: None,
) -> Results:
    """Runs the tasks that ``folder`` has no row of, and returns all rows.

    May be interrupted at any point: called again with the same header, it goes on. Raises
    ``ResultsOfAnotherRun`` when the folder holds results under another header.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    done, header = _earlier(path, header)
    journal = Journal(path, header, tuple(done.values()))
    from_before = {task.key: task for task in tasks if task.key in done}
    for task in tasks:
        # What falls away has its reason in the row of what it needs.
        falls_away = task.needs is not None and not _went_well(done.get(task.needs))
        on_task(task.key, task.key in done or falls_away)
        if task.key in done or falls_away:
            continue
        if task.needs is not None:
            earlier = from_before.pop(task.needs, None)
            if earlier is not None and not earlier.ready():
                attempt(earlier)  # an earlier run made it, and it is gone: no second row
        done[task.key] = attempt(task)
        journal.append(done[task.key])
    return Results(header=header, rows=tuple(done.values()))


def attempt(task: Task) -> Row:
    """One sample as a row. Errors of the project become rows; anything else is a bug and raised."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        outcome = task.action()
    except ZkmlError as error:
        return Row(
            key=task.key,
            status=_status(error),
            reason=error.problem(),
            warm_up=task.warm_up,
            at=at,
        )
    return Row(
        key=task.key,
        status=Status.OK if outcome.wrong is None else Status.WRONG,
        metrics={name: float(value) for name, value in outcome.metrics.items()},
        facts=dict(outcome.facts),
        reason=_reason(outcome),
        warm_up=task.warm_up,
        at=at,
    )


def _earlier(path: Path, header: Header) -> tuple[dict[Key, Row], Header]:
    if not path.exists():
        return {}, header
    earlier = read(path)
    if earlier.header.identity != header.identity:
        old, new = earlier.header.identity, header.identity
        differs = [name for name in new if new[name] != old.get(name)]
        raise ResultsOfAnotherRun(
            f"{path} holds results with other {' and '.join(differs)}", differs=differs
        )
    return {row.key: row for row in _kept(earlier.rows)}, earlier.header


def _kept(rows: Iterable[Row]) -> Iterable[Row]:
    """All but what may go better now."""
    return (row for row in rows if row.status not in (Status.FAILED, Status.SKIPPED))


def _went_well(row: Row | None) -> bool:
    return row is not None and row.status is Status.OK


def _status(error: ZkmlError) -> Status:
    if isinstance(error, NotEnoughMemory | SampleTimeout):
        return Status.SKIPPED
    return Status.FAILED if error.fault in (Fault.OURS, Fault.BUSY) else Status.REFUSED


def _reason(outcome: Outcome) -> dict[str, str] | None:
    if outcome.wrong is None:
        return None
    return {"code": "bench_wrong_answer", "detail": outcome.wrong}
