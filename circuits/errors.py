"""The one error type of the project, and those that the circuits package raises.

Every error that a user can meet has a stable ``code``, a sentence that says what was wrong
(``detail``), a sentence that says what to do (``advice``), whose fault it is, and whether trying
again may help. A class's docstring is its default ``detail``.
"""

from __future__ import annotations

import enum
import errno
import inspect
import re
from typing import Any, ClassVar


class Fault(enum.StrEnum):
    """Whose mistake an error is: it decides exit codes and HTTP status classes."""

    INPUT = "input"  # the caller sent something that cannot be used: exit 2, HTTP 4xx
    NOT_FOUND = "not-found"  # the caller named something that is not here: exit 2, HTTP 404
    CONFLICT = "conflict"  # right request, wrong moment: exit 2, HTTP 409
    TOO_LARGE = "too-large"  # over a stated limit: exit 2, HTTP 413
    INTERNAL = "internal"  # exit 3, HTTP 5xx
    BUSY = "busy"  # not now, for a reason that passes: exit 3, HTTP 503


class ZkmlError(Exception):
    """Something failed that should not have."""

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = Fault.INTERNAL
    retryable: ClassVar[bool] = False
    default_advice: ClassVar[str] = ""

    def __init__(self, detail: str | None = None, *, advice: str | None = None, **context: Any):
        """``context`` holds plain JSON values that name the culprit (node, input, value…)."""
        self.detail = detail or inspect.getdoc(type(self)) or self.code
        self.advice = self.default_advice if advice is None else advice
        self.context = context
        super().__init__(self.detail)

    def problem(self) -> dict[str, Any]:
        """The error as a plain dict: what job rows, ``--json`` and RFC 9457 bodies are made of."""
        out: dict[str, Any] = {
            "code": self.code,
            "detail": self.detail,
            "fault": self.fault.value,
            "retryable": self.retryable,
        }
        if self.advice:
            out["advice"] = self.advice
        if self.context:
            out["context"] = self.context
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; keyword arguments would be lost by the default.
        return (_rebuild, (type(self), self.detail, self.advice, self.context))


def _rebuild(cls: type[ZkmlError], detail: str, advice: str, context: dict[str, Any]) -> ZkmlError:
    return cls(detail, advice=advice, **context)


# --- the machine -----------------------------------------------------------------------------


class StorageFull(ZkmlError):
    """The disk is full."""

    code = "storage_full"
    fault = Fault.BUSY
    retryable = True
    default_advice = "Free some space on the disk of ZKML_HOME; no partial file was left."


#: The system's numbers for a disk or a quota that is full.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_of_full_disk(error: BaseException) -> bool:
    """Whether an error, of Python or as Rust prints it, says that there is no room to write."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    code = re.search(r"\(os error (\d+)\)", str(error))
    return code is not None and int(code[1]) in _FULL


# --- models ----------------------------------------------------------------------------------


class ModelError(ZkmlError):
    """The model is invalid."""

    code = "model_invalid"
    fault = Fault.INPUT


class NotOnnx(ModelError):
    """The file is not an ONNX model."""

    code = "model_not_onnx"
    default_advice = "Export the model to ONNX (opset 9 or newer) and send that file."


class ExternalData(ModelError):
    """The model keeps weights outside its own file."""

    code = "model_external_data"
    default_advice = (
        "Export one file: torch.onnx.export(…, external_data=False), or onnx.save(model, path,"
        " save_as_external_data=False); or send a zip archive of the model and its data file."
        " Commands also take a model with its data file beside it."
    )


class UnsupportedOperator(ModelError):
    """The model uses an operator that cannot be proved faithfully."""

    code = "model_unsupported_operator"

    @classmethod
    def at(
        cls, op: str, node: str, why: str, *, advice: str, **context: Any
    ) -> UnsupportedOperator:
        """That the operator ``op`` at the node named ``node`` cannot be proved, and why."""
        detail = f"{op} at node {node!r} cannot be proved: {why}"
        return cls(detail, advice=advice, op=op, node=node, **context)


class ModelTooLarge(ModelError):
    """The model exceeds a limit of this machine or of the format."""

    code = "model_too_large"
    fault = Fault.TOO_LARGE


class DynamicShape(ModelError):
    """An input or output has a dimension that is not fixed."""

    code = "model_dynamic_shape"
    default_advice = (
        "A circuit has one shape. Give calibration data or an input that names its inputs, say"
        " --shape input=1,12,3 or --shape axis=12 (over HTTP POST /v1/models?shape=…), or export"
        " the model with fixed dimensions."
    )


# --- inputs ----------------------------------------------------------------------------------


class InputError(ZkmlError):
    """The input does not fit the model."""

    code = "input_invalid"
    fault = Fault.INPUT


class InputNames(InputError):
    """The input's names are not those of the model."""

    code = "input_names"


class InputShape(InputError):
    """An input has the wrong shape."""

    code = "input_shape"


class InputType(InputError):
    """An input holds a value of the wrong type."""

    code = "input_dtype"


class InputCategory(InputError):
    """An input holds a text, or a number, that is none of the model's categories."""

    code = "input_category"


class InputNotFinite(InputError):
    """An input holds NaN or an infinity."""

    code = "input_not_finite"
    default_advice = "Every value must be a finite number."


class InputOutOfRange(InputError):
    """An input value lies outside the range that the circuit accepts."""

    code = "input_out_of_range"
    default_advice = "Rebuild the circuit with calibration data that covers such values."


# --- planning and building -------------------------------------------------------------------


class CalibrationError(ZkmlError):
    """The calibration data is invalid."""

    code = "calibration_invalid"
    fault = Fault.INPUT


class NoPlan(ZkmlError):
    """No candidate circuit meets the requested accuracy."""

    code = "plan_no_candidate"
    fault = Fault.INPUT


class ProfileContradiction(ZkmlError):
    """Two fields of the profile exclude each other."""

    code = "profile_contradiction"
    fault = Fault.INPUT


class CircuitNotFaithful(ZkmlError):
    """The compiled circuit's results differ from the model's."""

    code = "circuit_not_faithful"
    fault = Fault.INPUT
    default_advice = "Run `zkml inspect` on the model to see which operator is the cause."


# --- engine ----------------------------------------------------------------------------------


class EngineError(ZkmlError):
    """The proof engine reported a failure."""

    code = "engine_failed"


class EnginePanic(EngineError):
    """The proof engine panicked."""

    code = "engine_panic"


class EngineKilled(ZkmlError):
    """The proof engine's process was killed from outside."""

    # No ``EngineError``: it says nothing about what the engine was asked.
    code = "engine_killed"
    retryable = True
    default_advice = "Often the kernel's out-of-memory killer; see `zkml doctor`."


class EngineOutOfMemory(EngineError):
    """The proof engine needed more memory than its limit."""

    code = "engine_out_of_memory"
    default_advice = "Raise ZKML_ENGINE_MEMORY_MB, or prove a smaller model."


class EngineTimeout(EngineError):
    """The proof engine did not finish before its deadline."""

    code = "engine_timeout"
    retryable = True
    default_advice = "Raise ZKML_ENGINE_DEADLINE_S, or prove a smaller model."


class EngineStalled(EngineError):
    """The proof engine is deadlocked."""

    code = "engine_stalled"
    default_advice = (
        "The input probably leads to an intermediate value that this circuit cannot handle, such as"
        " two equal indices. Try another input, and report the model."
    )


class Canceled(ZkmlError):
    """The work was canceled."""

    code = "canceled"
    fault = Fault.CONFLICT


# --- structured reference string -------------------------------------------------------------


class SrsError(ZkmlError):
    """The structured reference string is invalid."""

    code = "srs_invalid"
    fault = Fault.INPUT


class SrsMissing(SrsError):
    """There is no structured reference string of this size here."""

    code = "srs_missing"
    default_advice = "Fetch it with `zkml srs fetch K`, or import a file with `zkml srs import`."


class SrsMismatch(SrsError):
    """The file's SHA-256 is not that of the public ceremony."""

    code = "srs_mismatch"


# --- proofs ----------------------------------------------------------------------------------


class ProofMalformed(ZkmlError):
    """The file is not a proof in the engine's format."""

    code = "proof_malformed"
    fault = Fault.INPUT
