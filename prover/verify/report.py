"""The answer of a verification: one line per check, for people and for programs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Layer(enum.StrEnum):
    """Where a check stands, and where a tampered bundle is turned away."""

    SCHEMA = "schema"  # the files are not what they should be
    SIGNATURE = "signature"  # nobody trusted says this
    POLICY = "policy"  # true perhaps, but not what the verifier wants
    ARTIFACT = "artifact"  # a file is not the one that the statement names
    INSTANCES = "instances"  # input or output are not those in the proof
    RANGE = "range"  # the input lies outside what the circuit was built for
    CONTEXT = "context"  # made for another purpose
    PROOF = "proof"  # the proof does not hold
    FRESHNESS = "freshness"  # too old, expired, or from the future
    SETUP = "setup"  # keys or reference string are not what they are said to be


class Status(enum.StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"  # holds, but the reader should know
    SKIP = "skip"  # does not apply, was not asked for, or needs what is missing


@dataclass(frozen=True, kw_only=True)
class Check:
    """One numbered check."""

    number: int
    name: str
    layer: Layer
    status: Status
    detail: str

    @property
    def failed(self) -> bool:
        return self.status is Status.FAIL

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "name": self.name,
            "layer": self.layer.value,
            "status": self.status.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """``ok`` when no check failed. ``statement`` is a summary of what was claimed, or None where it
    could not be read; ``words`` says it in sentences, ``not_claimed`` what it leaves open."""

    ok: bool
    checks: tuple[Check, ...]
    statement: dict[str, Any] | None
    words: tuple[str, ...] = ()
    not_claimed: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.failed)

    @property
    def warnings(self) -> tuple[Check, ...]:
        return tuple(c for c in self.checks if c.status is Status.WARN)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "checks": [c.to_json() for c in self.checks],
            "statement": self.statement,
            "words": list(self.words),
            "not_claimed": list(self.not_claimed),
        }
