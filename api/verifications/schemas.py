"""The result of a verification as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from prover.verify.report import Layer, Status


class CheckOut(BaseModel):
    """One check."""

    number: int
    name: str
    layer: Layer = Field(description="The category of the check.")
    status: Status
    detail: str


class VerificationOut(BaseModel):
    """The numbered checks."""

    ok: bool = Field(description="Whether no check failed.")
    checks: list[CheckOut]
    statement: dict[str, Any] | None = Field(
        description="What the receipt claims, if it is readable."
    )
    words: list[str] = Field(description="The same in sentences.")
    not_claimed: list[str] = Field(description="What even a valid proof does not claim.")
