"""Circuits as JSON: requests and resources."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.deadlines import DeadlineIn
from api.ids import Id
from api.jobs.schemas import JobOut, job_out
from api.metadata import Metadata
from circuits.format.commitments import Weights
from circuits.format.digests import canonical_json
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from prover.records.job import CircuitRecord, Job

_DEFAULT = Profile()


class ProfileIn(BaseModel):
    """What the circuit is built for. Every field is optional."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    visibility: Visibility = Field(_DEFAULT.visibility, description="Who learns what.")
    soundness: Literal[Soundness.STANDARD, Soundness.CONSERVATIVE] = Field(
        Soundness.STANDARD, description="`conservative` keeps every range check of the engine."
    )
    target: Target = Field(_DEFAULT.target, description="Optimisation target.")
    argument: Argument = Field(
        _DEFAULT.argument,
        description="`committed`: private hints, committed to in the proof. `plain`: without"
        " commitments. `auto`: committed if it suits the model and costs little more.",
    )
    weights: Weights = Field(
        _DEFAULT.weights,
        description="Of committed hints: `sealed` in the circuit, `shown` beside the proof, or"
        " `private`: committed to again in each proof, under an identity that receipts name.",
    )
    input_scale: int | None = Field(
        _DEFAULT.input_scale,
        strict=True,
        ge=-32,
        le=32,
        description="Inputs of floats count in steps of 2^-scale, so that one identity of an input"
        " serves several circuits. Absent: as fine as the circuit has room for.",
    )
    max_error: float = Field(
        _DEFAULT.max_error, strict=True, gt=0, le=1, description="Of the output's range."
    )
    agreement: float = Field(
        _DEFAULT.agreement,
        strict=True,
        ge=0,
        le=1,
        description="Required share of samples with the same top class.",
    )
    range_margin: float = Field(
        _DEFAULT.range_margin,
        strict=True,
        ge=0,
        le=1000,
        description="Margin added to the calibrated input range, as a share of its width.",
    )

    def profile(self) -> Profile:
        """The domain's value."""
        return Profile(**self.model_dump())


class CircuitIn(DeadlineIn):
    """A circuit to build."""

    model: Id = Field(description="A model's id.")
    profile: ProfileIn = Field(default_factory=ProfileIn)
    calibration: dict[str, Any] | None = Field(
        None,
        description="Samples like the inputs to be proved, in the format of an input file:"
        ' `{"inputs": {name: [sample, ...]}}`. Random if absent.',
    )

    metadata: Metadata = Field(default_factory=dict)

    def calibration_file(self) -> bytes | None:
        """The samples as the bytes of an input file."""
        return None if self.calibration is None else canonical_json(self.calibration)


class CircuitState(enum.StrEnum):
    """The state of a circuit."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"  # its last build failed; the job says why


class CircuitOut(BaseModel):
    """A circuit: a model compiled for a profile, with its keys."""

    id: str
    state: CircuitState
    terminal: bool = Field(description="Whether the state is final.")
    model: str
    profile: dict[str, Any]
    manifest: dict[str, Any] | None = Field(description="The manifest, once it is ready.")
    created_at: datetime
    job: JobOut | None = Field(description="The job that builds it, until it is ready.")
    links: dict[str, str]


class CircuitPage(BaseModel):
    """Ready circuits, newest first."""

    items: list[CircuitOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


def circuit_out(record: CircuitRecord) -> CircuitOut:
    """The JSON of a built circuit."""
    own = f"/v1/circuits/{record.id}"
    return CircuitOut(
        id=record.id,
        state=CircuitState.READY,
        terminal=True,
        model=record.model_id,
        profile=record.profile,
        manifest=record.manifest,
        created_at=record.created_at,
        job=None,
        links=_links(record.id, record.model_id)
        | {part: f"{own}/{part}" for part in ("settings", "vk", "plan")},
    )


def circuit_of_job(job: Job) -> CircuitOut:
    """The JSON of an unfinished circuit, from the job that builds it."""
    return CircuitOut(
        id=job.circuit_id,
        state=CircuitState.FAILED if job.state.terminal else CircuitState.BUILDING,
        terminal=job.state.terminal,
        model=job.model_id,
        profile=job.request.get("profile", {}),
        manifest=None,
        created_at=job.created_at,
        job=job_out(job),
        links=_links(job.circuit_id, job.model_id),
    )


def _links(circuit_id: str, model_id: str) -> dict[str, str]:
    own = f"/v1/circuits/{circuit_id}"
    return {"self": own, "events": f"{own}/events", "model": f"/v1/models/{model_id}"}
