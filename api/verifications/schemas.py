"""The answer to "does this bundle hold?"."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from prover.verify.report import Layer, Status


class CheckOut(BaseModel):
    """One item of the checklist."""

    number: int
    name: str
    layer: Layer = Field(description="Where a failure of this check belongs.")
    status: Status
    detail: str


class VerificationOut(BaseModel):
    """The numbered checklist."""

    ok: bool = Field(description="Whether no check failed.")
    checks: list[CheckOut]
    statement: dict[str, Any] | None = Field(description="What the receipt says, if it is legible.")
    words: list[str] = Field(description="The same in sentences.")
    not_claimed: list[str] = Field(description="What a valid proof leaves open.")
