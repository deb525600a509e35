"""The results of proving a folder of models: a JSON line per model, and a report.

The report depends only on the lines, so it can be regenerated, and a run can be resumed.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS, REPORT = "results.jsonl", "report.md"
_DETAIL_SHOWN = 300


class Outcome(enum.StrEnum):
    """How a model ended."""

    PROVED = "proved"  # the proof is valid, its outputs are onnxruntime's within the tolerance
    REFUSED = "refused"  # the estimate exceeds the limits
    LATE = "late"  # not proved within the time given; ``logrows`` is an estimate
    WRONG = "wrong"  # the proof is invalid, or its outputs exceed the tolerance
    FAILED = "failed"  # anything else


@dataclass(frozen=True, kw_only=True)
class Off:
    """The errors of a circuit's outputs against onnxruntime on some inputs.

    ``absolute``: the largest difference; ``relative``: the same as a share of the output's range,
    which is that of onnxruntime's outputs on random inputs from the accepted range. ``top``: on how
    many of ``inputs`` the largest element is at the same index. ``out``: on how many more the
    circuit's values left its tables, so that it could not prove them.
    """

    inputs: int
    absolute: float
    relative: float
    top: int
    out: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: outcome, the circuit's lowering and size, seconds and bytes, errors on the model's
    own input (``given``) and on random ones (``drawn``); or the problem's code and detail.

    ``inspected``: why other files of the model are refused at inspection (empty: they are not).
    ``repaired``: compared with a model that differs from the file, whose outputs are not numeric
    tensors or which onnxruntime refuses."""

    name: str
    outcome: Outcome
    commit: str
    lowering: str = ""
    repaired: bool = False
    logrows: int | None = None
    build_s: float | None = None
    prove_s: float | None = None
    peak_bytes: int | None = None
    given: Off | None = None
    drawn: Off | None = None
    code: str = ""
    detail: str = ""
    inspected: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Row:
        offs = {k: Off(**data[k]) if data[k] else None for k in ("given", "drawn")}
        return cls(**{**data, **offs, "outcome": Outcome(data["outcome"])})


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is common to all rows: limits, tolerance, the planner's effort, the machine."""

    tolerance: float
    memory_gib: float
    deadline_s: float
    effort: str
    machine: str


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of an earlier run by model; empty without one."""
    path = folder / RESULTS
    if not path.exists():
        return {}
    found = [Row.from_json(json.loads(line)) for line in path.read_text().splitlines()]
    return {row.name: row for row in found}


def write(folder: Path, rows: Iterable[Row], run: Run) -> None:
    """Writes both files, models in order of names."""
    ordered = sorted(rows, key=lambda row: row.name)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row.to_json(), sort_keys=True) + "\n" for row in ordered]
    (folder / RESULTS).write_text("".join(lines))
    (folder / REPORT).write_text(markdown(ordered, run))


_HEAD = """| model | | lowering | k | build, s | prove, s | memory, MB | error | random inputs |
|---|---|---|--:|--:|--:|--:|--:|--:|
"""


def markdown(rows: Sequence[Row], run: Run) -> str:
    """The report: counts by outcome, the table, the reasons of failures."""
    counts = Counter(row.outcome for row in rows)
    total = ", ".join(f"{counts[o]} {o.value}" for o in Outcome)
    inexact = [r.name for r in rows if r.drawn and r.drawn.relative > run.tolerance]
    commits = sorted({_short(row.commit) for row in rows})
    parts = [
        "# Every model of a folder, proved\n",
        f"{len(rows)} models: {total}.\n",
        f"Tolerance {run.tolerance:.0%} of an output's range; limits {run.memory_gib:g} GiB and"
        f" {run.deadline_s:.0f} s a model; planner's effort {run.effort}. {run.machine}."
        f" Commits {', '.join(commits)}.\n",
        "Errors compare the outputs of the verified receipt with onnxruntime's on the uploaded"
        " file, as shares of the range of onnxruntime's outputs on random inputs from the accepted"
        " range. Random inputs were run through the circuit's arithmetic (the witness), not"
        " proved. Seconds come from a shared machine and are upper bounds.\n",
        _HEAD + "".join(_line(row) for row in rows),
    ]
    if inexact:
        parts.append(f"Beyond the tolerance on a random input: {', '.join(inexact)}.\n")
    if bad := [row for row in rows if row.outcome is not Outcome.PROVED]:
        text = "".join(f"* {r.name}: `{r.code}`: {r.detail[:_DETAIL_SHOWN]}\n" for r in bad)
        parts.append("## Not proved\n\n" + text)
    return "\n".join(parts)


def _short(commit: str) -> str:
    """The first digits, and ``+`` if files differed from the commit."""
    return commit[:12] + ("+" if commit.endswith("+") else "")


def _line(row: Row) -> str:
    drawn = _share(row.drawn)
    if row.drawn and row.drawn.out:
        drawn += f" ({row.drawn.out} out of range)"
    cells = [
        row.name,
        row.outcome.value,
        row.lowering,
        "" if row.logrows is None else str(row.logrows),
        "" if row.build_s is None else f"{row.build_s:.1f}",
        "" if row.prove_s is None else f"{row.prove_s:.2f}",
        "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}",
        _share(row.given),
        drawn,
    ]
    return "| " + " | ".join(cells) + " |\n"


def _share(off: Off | None) -> str:
    return "" if off is None else f"{off.relative:.3%}"
