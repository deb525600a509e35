"""What a client sends to have something proved."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.circuits.schemas import ProfileIn
from api.deadlines import DeadlineIn
from api.ids import Id
from api.metadata import Metadata


class ContextIn(BaseModel):
    """What the proof is bound to, so that it serves nobody else. Each field may be left out."""

    model_config = ConfigDict(extra="forbid")

    nonce: str | None = Field(
        None, max_length=256, pattern=r"^[^\x00]*$", description="Any text of the requester's."
    )
    chain_id: int | None = Field(None, strict=True, ge=0)
    consumer: str | None = Field(
        None, description="The contract's address.", examples=["0x" + "00" * 20]
    )
    expires_at: Annotated[int, Field(strict=True, ge=0)] | str | None = Field(
        None, description="Seconds since 1970, or an RFC 3339 time with its offset."
    )

    def context(self) -> dict[str, Any]:
        """The fields that were given."""
        return self.model_dump(exclude_none=True)


class ProofIn(DeadlineIn):
    """One input to prove, by model (the circuit is built when there is none) or by circuit."""

    model: Id | None = Field(None, description="A model's id.")
    circuit: Id | None = Field(None, description="A circuit's id; it has its own profile.")
    inputs: dict[str, Any] | None = Field(
        None, description="Nested lists of numbers by input name."
    )
    input_data: list[Any] | None = Field(
        None, description="EZKL's form: one flat or nested list for each input, in order."
    )
    profile: ProfileIn | None = None
    context: ContextIn | None = None
    isolate: bool = Field(
        False, strict=True, description="A proof of its own, also where jobs may share one."
    )
    metadata: Metadata = Field(default_factory=dict)
    deduplicate: bool = Field(
        False,
        strict=True,
        description="Where the same input was proved in the same circuit and context, or is being"
        " proved, that job is the answer.",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> ProofIn:
        if (self.model is None) == (self.circuit is None):
            raise ValueError("give either model or circuit")
        if (self.inputs is None) == (self.input_data is None):
            raise ValueError("give either inputs or input_data")
        if self.circuit is not None and self.profile is not None:
            raise ValueError("a circuit has its own profile: leave profile out")
        return self

    def payload(self) -> dict[str, Any]:
        """The input document, as the command line reads it from a file."""
        if self.inputs is not None:
            return {"inputs": self.inputs}
        return {"input_data": self.input_data}
