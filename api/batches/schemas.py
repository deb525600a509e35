"""Batches as JSON."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.ids import Id
from api.metadata import MetadataPairs
from api.problem import Problem, problem_of_job
from circuits.format.commitments import Weights
from circuits.format.manifest import MAX_LANES
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility
from prover.batch.options import BatchOptions, OnInexact
from prover.batch.progress import progress_of
from prover.records.batch import Batch, BatchState, Item, ItemState
from prover.records.metadata import read_pairs


class BatchIn(BaseModel):
    """The query of `POST /v1/batches`; the body is the file of inputs."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Id | None = Field(None, description="A model's id.")
    circuit: Id | None = Field(
        None, description="The id of a single-lane circuit, e.g. one built with calibration data."
    )
    isolate: bool = Field(False, description="One proof per input: no proof reveals another input.")
    lanes: int | None = Field(
        None, ge=1, le=MAX_LANES, description="Inputs per proof; absent: the cheapest number."
    )
    deadline_s: float | None = Field(
        None, gt=0, le=1e9, description="Seconds after which unproved items are canceled."
    )
    on_inexact: OnInexact = Field(
        OnInexact.REPORT,
        description="Rows whose output misses the tolerance: `fail`, `report`, or `isolate` (proved"
        " again in a finer circuit).",
    )
    metadata: MetadataPairs = Field(default_factory=list)
    nonce: str | None = Field(None, max_length=256, description="Nonce bound into the proofs.")
    chain_id: int | None = Field(None, ge=0)
    consumer: str | None = Field(None, description="The consumer contract's address.")
    expires_at: int | None = Field(None, ge=0, description="Seconds since 1970.")
    visibility: Visibility | None = None
    soundness: Literal[Soundness.STANDARD, Soundness.CONSERVATIVE] | None = None
    target: Target | None = None
    argument: Argument | None = None
    weights: Weights | None = None
    max_error: float | None = Field(None, gt=0, le=1)
    agreement: float | None = Field(None, ge=0, le=1)
    range_margin: float | None = Field(None, ge=0, le=1000)
    input_scale: int | None = Field(None, ge=-32, le=32)

    @model_validator(mode="after")
    def _one_of_each(self) -> BatchIn:
        if (self.model is None) == (self.circuit is None):
            raise ValueError("give either model or circuit")
        if self.circuit is not None and self._profile_fields():
            raise ValueError("a circuit has its own profile: omit these fields")
        return self

    def profile(self) -> Profile:
        """The requested profile."""
        return Profile(**self._profile_fields())

    def options(self) -> BatchOptions:
        """The domain's value. Raises ``BatchFormat`` if options contradict each other."""
        names = {"nonce", "chain_id", "consumer", "expires_at"}
        return BatchOptions(
            isolate=self.isolate,
            lanes=self.lanes,
            deadline_s=self.deadline_s,
            on_inexact=self.on_inexact,
            context=self.model_dump(include=names, exclude_none=True) or None,
            metadata=read_pairs(self.metadata),
        )

    def _profile_fields(self) -> dict[str, Any]:
        return self.model_dump(include={f.name for f in fields(Profile)}, exclude_none=True)


class Progress(BaseModel):
    """Progress of a batch."""

    total: int
    done: int = Field(description="Items that are proved.")
    failed: int = Field(description="Items that ended without a proof.")
    inexact: int = Field(
        description="Proved items whose error exceeds the tolerance, or whose top class is not"
        " the model's."
    )
    remaining: int
    rate_per_s: float | None = Field(description="Items proved per second, since proving began.")
    left_s: float | None = Field(description="Seconds left at that rate.")


class BatchOut(BaseModel):
    """A batch."""

    id: str
    state: BatchState
    terminal: bool
    model: str
    circuit: str | None = Field(
        description="The single-lane circuit; `plan` has those of the proofs."
    )
    profile: dict[str, Any]
    context: dict[str, Any] | None
    isolate: bool
    unused_inputs: list[str] = Field(
        description="Ignored values of the rows: not inputs of the model."
    )
    progress: Progress
    plan: dict[str, Any] | None = Field(description="Lanes of its proofs, with reasons.")
    problem: Problem | None
    metadata: dict[str, str] = Field(description="As it was sent.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    links: dict[str, str]


class BatchPage(BaseModel):
    """Batches, newest first."""

    items: list[BatchOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


class ItemOut(BaseModel):
    """One row of a batch's file."""

    number: int = Field(description="Counts all rows, from 1.")
    id: str | None = Field(description="The row's id; null if it could not be read.")
    line: int = Field(description="Line number in the file, from 1.")
    state: ItemState
    terminal: bool = Field(description="Whether the state is final.")
    lane: int | None = Field(description="Its lane in the proof.")
    proof: str | None = Field(description="Its proof's id; items with the same id share it.")
    inexact: bool = Field(description="Proved, with an output that misses the profile.")
    result: dict[str, Any] | None = Field(
        description="`outputs` by name, the measured `error`, and digests."
    )
    problem: Problem | None
    links: dict[str, str]


class ItemPage(BaseModel):
    """Items in the order of the file."""

    items: list[ItemOut]
    next_after: int | None = Field(description="`after` of the next page; null: the last page.")


def batch_out(batch: Batch) -> BatchOut:
    """The JSON of a batch."""
    own = f"/v1/batches/{batch.id}"
    links = {name: f"{own}/{name}" for name in ("items", "events", "results")}
    links |= {"self": own, "proofs": f"/v1/proofs?batch={batch.id}"}
    links |= {"bundle": f"{own}/bundle"} if batch.state.terminal else {"cancel": f"{own}/cancel"}
    return BatchOut(
        id=batch.id,
        state=batch.state,
        terminal=batch.state.terminal,
        model=batch.model_id,
        circuit=batch.circuit_id,
        profile=batch.request["profile"],
        context=batch.request["context"],
        isolate=batch.request["isolate"],
        unused_inputs=batch.request.get("unused_inputs", []),
        progress=Progress(**progress_of(batch)),
        plan=batch.plan,
        problem=problem_of_job(batch.problem) if batch.problem else None,
        metadata=batch.metadata,
        created_at=batch.created_at,
        started_at=batch.started_at,
        finished_at=batch.finished_at,
        expires_at=batch.expires_at,
        links=links,
    )


def item_out(item: Item) -> ItemOut:
    """The JSON of an item."""
    own = f"/v1/batches/{item.batch_id}/items/{item.number}"
    proved = item.state is ItemState.PROVED
    return ItemOut(
        number=item.number,
        id=item.id,
        line=item.line,
        state=item.state,
        terminal=item.state.terminal,
        lane=item.lane,
        proof=item.pack_id,
        inexact=item.inexact,
        result=item.result,
        problem=problem_of_job(item.problem) if item.problem else None,
        links={"bundle": f"{own}/bundle", "receipt": f"{own}/receipt"} if proved else {},
    )
