"""Inference with a proof: a request of the Open Inference Protocol becomes a proof job."""

from __future__ import annotations

from typing import Any

from api.inference.schemas import InferIn, version_of
from api.inference.tensors import inputs_of
from api.problem import RequestInvalid
from api.queue import JobSender
from circuits.errors import Fault, InputNames, ZkmlError
from circuits.format.profile import Profile
from prover.app import App
from prover.errors import ModelNotFound
from prover.records.idempotency import KeyedRequest
from prover.records.job import Job, JobOptions, JobState, ModelRecord

#: This service's parameters, and those that generic clients send.
_OWN = frozenset({"nonce", "circuit", "wait_s"})
_IGNORED = frozenset({"binary_data_output", "timeout", "priority"})
#: Default and maximum wait of an inference for its proof, in seconds.
MAX_WAIT_S = 600.0


class ProofNotReady(ZkmlError):
    """The proof is not ready yet."""

    code = "proof_not_ready"
    fault = Fault.BUSY
    retryable = True
    default_advice = "The job continues: look at /v1/proofs/{proof}, whose id is in the context."


class ProofFailed(ZkmlError):
    """The inference ended without a proof."""

    code = "proof_failed"
    fault = Fault.CONFLICT
    default_advice = "The proof's job, whose id is in the context, says why."


def models_of(app: App, name: str, version: str | None = None) -> list[ModelRecord]:
    """The models of a name, newest first: one by its id, or all of that name.

    Raises ``ModelNotFound``.
    """
    found = [app.store.model(name)] if name.startswith("sha256:") else app.store.models_named(name)
    found = [r for r in found if version is None or version == version_of(r)]
    if not found:
        what = name if version is None else f"{name} of version {version}"
        raise ModelNotFound(f"There is no model {what!r}.")
    return found


def infer(
    app: App,
    sender: JobSender,
    model: ModelRecord,
    request: InferIn,
    rest: bytes,
    keyed: KeyedRequest | None = None,
) -> Job:
    """Checks the inference, creates its job and queues it."""
    strange = sorted(set(request.parameters) - _OWN - _IGNORED)
    if strange:
        raise RequestInvalid(f"There is no parameter {strange[0][:100]!r}.")
    names = {spec["name"] for spec in model.signature["outputs"]}
    if not {output.name for output in request.outputs} <= names:
        raise InputNames(f"The model's outputs are {sorted(names)}.")
    inputs = inputs_of(request, rest, model)
    circuit = _text(request, "circuit")
    if circuit is not None and app.store.circuit(circuit).model_id != model.id:
        raise RequestInvalid("The parameter 'circuit' names a circuit of another model.")
    nonce = _text(request, "nonce")
    job = app.request_proof(
        model_id=None if circuit else model.id,
        circuit_id=circuit,
        payload={"inputs": inputs},
        profile=Profile(),
        context=None if nonce is None else {"nonce": nonce},
        options=JobOptions(keyed=keyed),
    )
    sender.announce(job)
    return job


def wait_s(request: InferIn) -> float:
    """The time to wait. Raises ``RequestInvalid``."""
    value: Any = request.parameters.get("wait_s", MAX_WAIT_S)
    if type(value) not in (int, float) or not 0 <= value <= MAX_WAIT_S:
        raise RequestInvalid(f"The parameter 'wait_s' is not between 0 and {MAX_WAIT_S:.0f}.")
    return float(value)


def check_succeeded(job: Job) -> None:
    """Raises ``ProofNotReady``, or ``ProofFailed`` with the job's reason."""
    if not job.state.terminal:
        raise ProofNotReady(f"Proof {job.id} is {job.state.value}.", proof=job.id)
    if job.state is not JobState.SUCCEEDED:
        problem = job.problem or {}
        raise ProofFailed(
            problem.get("detail") or f"Proof {job.id} is {job.state.value}.",
            advice=problem.get("advice"),
            proof=job.id,
            code=problem.get("code"),
        )


def _text(request: InferIn, name: str) -> str | None:
    value = request.parameters.get(name)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= 256):
        raise RequestInvalid(f"The parameter {name!r} is not a string of 1 to 256 characters.")
    if value is not None and "\x00" in value:
        raise RequestInvalid(f"The parameter {name!r} contains a NUL.")
    return value
