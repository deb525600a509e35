"""The results file: a header with options and machine, then one JSON line per sample.

A refused, failed or skipped sample is a row with its reason.
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

    OK = "ok"  # succeeded, and verified if there was a proof
    WRONG = "wrong"  # the proof was rejected, or the output is not the model's
    REFUSED = "refused"  # the system cannot prove this model, with its reason
    SKIPPED = "skipped"  # not tried for lack of memory, time or a program
    FAILED = "failed"  # an error


class Step(enum.StrEnum):
    """The kind of a sample."""

    SETUP = "setup"  # from the model to keys, once per model
    PROVE = "prove"  # one input: witness, proof, verification
    ACCURACY = "accuracy"  # the held-out inputs, without proofs
    PREPARE = "prepare"  # preparation of a suite without systems
    MEASURE = "measure"  # measurement of such a suite


@dataclass(frozen=True, kw_only=True)
class Key:
    """Identifies a sample. ``side`` is the measured system, or the variant a suite measures."""

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

    ``metrics`` maps names of ``benchmarks.harness.metrics`` to numbers; ``facts`` are chosen, not
    measured (k, columns, scales); ``reason`` is a problem (``ZkmlError.problem``). ``at`` is the
    sample's start, ``seconds`` its duration including the harness.
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
    """The run: ``options`` decide the samples, ``machine`` which results are comparable.

    A run is resumed only if ``differs_in`` is empty.
    """

    options: dict[str, Any]
    machine: dict[str, Any]
    started: str
    schema: int = SCHEMA

    def differs_in(self, other: Header) -> list[str]:
        """Names of the differing options and properties of the machine."""
        return sorted(
            name
            for mine, theirs in ((self.options, other.options), (self.machine, other.machine))
            for name in mine.keys() | theirs.keys()
            if mine.get(name) != theirs.get(name)
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """A parsed results file."""

    header: Header
    rows: tuple[Row, ...]

    @property
    def counted(self) -> Iterator[Row]:
        """The good samples without warm-ups."""
        return (row for row in self.rows if row.status is Status.OK and not row.warm_up)


def locate(path: Path) -> Path:
    """The results file of a folder, or the file itself."""
    return path / FILE_NAME if path.is_dir() else path


def read(path: Path) -> Results:
    """Reads a results file, or that of a folder.

    Ignores an incomplete last line of an interrupted run. Raises ``ResultsInvalid``, or
    ``ResultsVersion`` if another version of the harness wrote it.
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
    """Appends rows to a file; each is on disk before the next sample starts."""

    def __init__(self, path: Path, header: Header, done: tuple[Row, ...] = ()):
        """Rewrites the file with the header and the kept rows."""
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
