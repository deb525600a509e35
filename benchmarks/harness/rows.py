"""The raw record: a header that says what ran where, then one JSON line per sample.

A sample that was refused, failed or skipped is a row with its reason, never a gap.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.errors import ResultsInvalid, ResultsVersion

SCHEMA = 1
FILE_NAME = "results.jsonl"


class Status(enum.StrEnum):
    """How a sample ended."""

    OK = "ok"  # done, and verified where there was something to verify
    WRONG = "wrong"  # the proof was refused, or the answer is not the model's
    REFUSED = "refused"  # the side cannot do this model, and says why
    SKIPPED = "skipped"  # not tried: memory, time or a program was wanting
    FAILED = "failed"  # it broke


class Step(enum.StrEnum):
    """What one sample does."""

    SETUP = "setup"  # from the model to keys, once per model
    PROVE = "prove"  # one input: witness, proof, verification
    ACCURACY = "accuracy"  # the held-out inputs, without proofs
    PREPARE = "prepare"  # what a suite without sides needs first
    MEASURE = "measure"  # what it measures


@dataclass(frozen=True, kw_only=True)
class Key:
    """Names a sample: no two rows of a run have the same key."""

    suite: str
    model: str
    side: str
    step: Step
    sample: int = 0

    def __str__(self) -> str:
        return f"{self.suite}/{self.model}/{self.side}/{self.step}/{self.sample}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One sample.

    ``metrics`` maps names of ``benchmarks.harness.metrics`` to numbers; ``facts`` holds what is not
    measured but chosen (k, columns, scales); ``reason`` is a problem (``ZkmlError.problem``).
    ``at`` is when the sample began, ``seconds`` what it took of the run, the harness included.
    """

    key: Key
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: dict[str, Any] | None = None
    warm_up: bool = False
    at: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.key), **{k: v for k, v in asdict(self).items() if k != "key"}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(
            key=Key(
                suite=data["suite"],
                model=data["model"],
                side=data["side"],
                step=Step(data["step"]),
                sample=data["sample"],
            ),
            status=Status(data["status"]),
            metrics=data["metrics"],
            facts=data["facts"],
            reason=data["reason"],
            warm_up=data["warm_up"],
            at=data["at"],
            seconds=data.get("seconds", 0.0),
        )


@dataclass(frozen=True, kw_only=True)
class Header:
    """What ran: ``options`` decide which samples there are, ``machine`` what compares with them.

    A run is resumed only where ``differs_in`` finds nothing.
    """

    options: dict[str, Any]
    machine: dict[str, Any]
    started: str
    schema: int = SCHEMA

    def differs_in(self, other: Header) -> list[str]:
        """Names of what makes another run of it: options, and what there is to a machine."""
        return sorted(
            name
            for mine, theirs in ((self.options, other.options), (self.machine, other.machine))
            for name in mine.keys() | theirs.keys()
            if mine.get(name) != theirs.get(name)
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """A whole file, as read."""

    header: Header
    rows: tuple[Row, ...]

    @property
    def counted(self) -> Iterator[Row]:
        """The good samples that are no warm-ups."""
        return (row for row in self.rows if row.status is Status.OK and not row.warm_up)


def locate(path: Path) -> Path:
    """The results file of a folder, or the file itself."""
    return path / FILE_NAME if path.is_dir() else path


def read(path: Path) -> Results:
    """Reads a file or the folder it lies in.

    A last line without its end (the run was interrupted while writing) is left out. Raises
    ``ResultsInvalid``, or ``ResultsVersion`` when another version of the harness wrote it.
    """
    path = locate(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ResultsInvalid(f"{path}: {why}") from error
    first, *others = text[: text.rfind("\n") + 1].splitlines() or [""]
    try:
        header = json.loads(first)["header"]
        schema = header["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsInvalid(f"{path} does not begin with a results header") from error
    if schema != SCHEMA:
        raise ResultsVersion(
            f"{path} has schema {schema}; this version reads {SCHEMA}", found=schema, reads=SCHEMA
        )
    rows = []
    for number, line in enumerate(others, start=2):
        try:
            rows.append(Row.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsInvalid(f"{path}, line {number}: not a sample ({error!r})") from error
    return Results(header=Header(**header), rows=tuple(rows))


class Journal:
    """Appends rows to a file; each is on disk before the next sample begins."""

    def __init__(self, path: Path, header: Header, done: tuple[Row, ...] = ()):
        """Begins the file again with the header and the rows that are kept."""
        self._path = path
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as handle:
            handle.write(_line({"header": asdict(header)}))
            handle.writelines(_line(row.to_json()) for row in done)
        partial.replace(path)

    def append(self, row: Row) -> None:
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(_line(row.to_json()))


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False) + "\n"
