"""Requests for proofs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.circuits.schemas import ProfileIn
from api.deadlines import DeadlineIn
from api.ids import Id
from api.metadata import Metadata


class ContextIn(BaseModel):
    """What the proof is bound to, against replay. Every field is optional."""

    model_config = ConfigDict(extra="forbid")

    nonce: str | None = Field(
        None, max_length=256, pattern=r"^[^\x00]*$", description="Any string of the requester."
    )
    chain_id: int | None = Field(None, strict=True, ge=0)
    consumer: str | None = Field(
        None, description="The consumer contract's address.", examples=["0x" + "00" * 20]
    )
    expires_at: Annotated[int, Field(strict=True, ge=0)] | str | None = Field(
        None, description="Seconds since 1970, or an RFC 3339 time with UTC offset."
    )

    def context(self) -> dict[str, Any]:
        """The given fields."""
        return self.model_dump(exclude_none=True)


class ProofIn(DeadlineIn):
    """One input to prove, by model (whose circuit is built if needed) or by circuit."""

    model: Id | None = Field(None, description="A model's id.")
    circuit: Id | None = Field(None, description="A circuit's id; it has its own profile.")
    inputs: dict[str, Any] | None = Field(
        None, description="Nested lists of numbers by input name."
    )
    input_data: list[Any] | None = Field(
        None, description="EZKL's format: one flat or nested list for each input, in order."
    )
    profile: ProfileIn | None = None
    context: ContextIn | None = None
    isolate: bool = Field(False, strict=True, description="Never share the proof with other jobs.")
    input_salt: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="Of the identity of the input, with visibility `committed-input`; absent: a new"
        " one, and so a new identity. The job's result has both.",
    )
    metadata: Metadata = Field(default_factory=dict)
    deduplicate: bool = Field(
        False,
        strict=True,
        description="Return an existing job for the same input, circuit and context, if it"
        " succeeded or is in progress.",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> ProofIn:
        if (self.model is None) == (self.circuit is None):
            raise ValueError("give either model or circuit")
        if (self.inputs is None) == (self.input_data is None):
            raise ValueError("give either inputs or input_data")
        if self.circuit is not None and self.profile is not None:
            raise ValueError("a circuit has its own profile: omit profile")
        return self

    def payload(self) -> dict[str, Any]:
        """The input document, in the format of an input file."""
        if self.inputs is not None:
            return {"inputs": self.inputs}
        return {"input_data": self.input_data}
