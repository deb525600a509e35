"""The machinery of a verification: the evidence, and checks that cannot crash the caller.

``prover.verify.bundle`` has the checks in their numbered order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from numpy.typing import NDArray

from circuits.engine.port import Engine, Limits
from circuits.engine.proof_json import EzklProof
from circuits.errors import (
    Canceled,
    EngineError,
    EngineKilled,
    StorageFull,
    ZkmlError,
    is_of_full_disk,
)
from circuits.format.manifest import CircuitManifest, SrsRef
from prover.errors import VerificationUnfinished
from prover.memo import Memo
from prover.statement.bundle import Bundle
from prover.statement.envelope import Receipt
from prover.statement.keys import PublicKey
from prover.statement.predicate import Predicate
from prover.statement.render import printable
from prover.statement.statement import Statement
from prover.verify.checks.engine_parts import VERIFY_LIMITS
from prover.verify.policy import Policy
from prover.verify.report import Check, Layer, Status

T = TypeVar("T")


class Rebuilt(Protocol):
    """The result of a rebuild (``circuits.rebuild``). The verifier does not load a compiler."""

    @property
    def vk(self) -> bytes:
        """The verifying key."""
        ...

    @property
    def srs_part(self) -> bytes:
        """What verification needs of the reference string that the key was made over."""
        ...

    @property
    def answer(
        self,
    ) -> Callable[[Mapping[str, NDArray[Any]]], Sequence[tuple[NDArray[Any], float]]] | None:
        """onnxruntime's outputs of the model for an input, and their widths on random inputs."""
        ...


#: Rebuilds a circuit: ``rebuild(model, manifest, settings, srs)``, from the uploaded ONNX, with
#: the frozen settings and the reference string that ``srs`` names.
Rebuild = Callable[[bytes, CircuitManifest, bytes, SrsRef], Rebuilt]

#: Derives graph and weights from the ONNX, and raises a ``ZkmlError`` where they are not those that
#: a manifest names.
Derive = Callable[[bytes, CircuitManifest], None]

#: Seconds before a check whose child was killed runs again.
_PAUSES_S = (0.1, 0.5)


class Unmet(Exception):
    """A check failed."""


class Skipped(Exception):
    """A check does not apply or was not requested."""


class Blocked(Skipped):
    """A check needs a part that an earlier check could not read."""


class Noted(Exception):
    """A check passed with a warning."""


def refuse(detail: str) -> NoReturn:
    """Ends a check as failed."""
    raise Unmet(detail)


def skip(detail: str) -> NoReturn:
    """Ends a check that does not apply."""
    raise Skipped(detail)


def warn(detail: str) -> NoReturn:
    """Ends a check as passed with a warning."""
    raise Noted(detail)


class Slot(Generic[T]):
    """A part of the evidence that an earlier check fills in, if it can."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value: T | None = None

    @property
    def value(self) -> T:
        """The part. Ends the calling check if the part could not be read."""
        if self._value is None:
            raise Blocked(f"needs the {self._name}, which could not be read")
        return self._value

    @property
    def known(self) -> T | None:
        return self._value

    def fill(self, value: T) -> None:
        self._value = value


@dataclass(kw_only=True)
class Evidence:
    """All data under verification. The checks that read the parts fill the slots.

    ``own``: this process's own new proof. Another's file fails a check if the engine crashes or
    exceeds its limits, since a file may be made to cause that. For an own proof such a check has no
    result.
    """

    policy: Policy
    engine: Engine
    now: datetime
    limits: Limits = VERIFY_LIMITS
    model: bytes | None = None
    inputs: Mapping[str, NDArray[Any]] | None = None
    input_salt: bytes | None = None
    rebuild: Rebuild | None = None
    derive: Derive | None = None
    own: bool = False
    memo: Memo = field(default_factory=Memo)
    bundle: Slot[Bundle] = field(default_factory=lambda: Slot("bundle"))
    receipt: Slot[Receipt] = field(default_factory=lambda: Slot("receipt"))
    statement: Slot[Statement] = field(default_factory=lambda: Slot("statement"))
    manifest: Slot[CircuitManifest] = field(default_factory=lambda: Slot("manifest"))
    proof: Slot[EzklProof] = field(default_factory=lambda: Slot("proof"))
    signer: Slot[PublicKey] = field(default_factory=lambda: Slot("signer's key"))

    @property
    def predicate(self) -> Predicate:
        return self.statement.value.predicate


@dataclass(frozen=True)
class Step:
    """A numbered check: ``run`` returns what it found, or ends by refuse, warn or skip."""

    number: int
    name: str
    layer: Layer
    run: Callable[[Evidence], str]


def perform(steps: Sequence[Step], evidence: Evidence) -> tuple[Check, ...]:
    """Runs every check, whatever the earlier ones found. A crash counts as a failure.

    Raises ``EngineKilled`` when a check's process is killed from outside repeatedly,
    ``StorageFull`` when the disk is full, ``Canceled`` when the engine had to stop, and
    ``VerificationUnfinished`` when it fails on an own proof: such a check has no result.
    """
    checks: list[Check] = []
    for step in steps:
        checks.append(_perform(step, evidence, failed=any(c.failed for c in checks)))
    return tuple(checks)


def _run(step: Step, evidence: Evidence) -> str:
    """Runs a check, again if its child process was killed from outside."""
    for pause_s in _PAUSES_S:
        try:
            return step.run(evidence)
        except EngineKilled:
            time.sleep(pause_s)
    return step.run(evidence)


def _perform(step: Step, evidence: Evidence, failed: bool) -> Check:
    try:
        status, detail = Status.PASS, _run(step, evidence)
    except Blocked as answer:
        # Skipped only after an earlier failure: no check may be missing without a reason.
        status, detail = Status.SKIP if failed else Status.FAIL, str(answer)
    except Skipped as answer:
        status, detail = Status.SKIP, str(answer)
    except Noted as answer:
        status, detail = Status.FAIL if evidence.policy.strict else Status.WARN, str(answer)
    except Unmet as answer:
        status, detail = Status.FAIL, str(answer)
    except (EngineKilled, StorageFull, Canceled):
        raise  # it did not run, so that it says nothing about the evidence
    except ZkmlError as error:
        if evidence.own and isinstance(error, EngineError):
            raise VerificationUnfinished(
                f"the new proof could not be verified: {error.detail}"
            ) from error
        status, detail = Status.FAIL, error.detail
    except Exception as error:
        if is_of_full_disk(error):
            raise StorageFull from error
        # Hostile bytes may crash any of the code below. That is a failed check, not a crash.
        status, detail = Status.FAIL, f"cannot be checked: {type(error).__name__}: {error}"
    return Check(
        number=step.number,
        name=step.name,
        layer=step.layer,
        status=status,
        detail=printable(detail[:500]),
    )
