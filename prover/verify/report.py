"""The result of a verification: one entry per check, for people and for programs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Layer(enum.StrEnum):
    """What a check is about. Tests compare where a tampered bundle is rejected."""

    SCHEMA = "schema"  # the files are malformed
    SIGNATURE = "signature"  # no trusted signer
    POLICY = "policy"  # perhaps true, but not what the verifier expects
    ARTIFACT = "artifact"  # a file does not match the statement's digest
    INSTANCES = "instances"  # input or output differ from the proof
    RANGE = "range"  # the input is outside the circuit's accepted range
    CONTEXT = "context"  # made for another purpose
    PROOF = "proof"  # the proof is invalid
    FRESHNESS = "freshness"  # too old, expired, or from the future
    SETUP = "setup"  # key or reference string are not as claimed


class Status(enum.StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"  # passed with a reservation
    SKIP = "skip"  # does not apply, was not requested, or needs a missing part


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
    """``ok`` when no check failed. ``statement`` summarizes the claim, or is None if it could not
    be read. ``words`` is the claim in sentences, ``not_claimed`` lists what it does not cover."""

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
