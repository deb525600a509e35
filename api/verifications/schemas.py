"""The answer to "does this bundle hold?"."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class CheckOut(BaseModel):
    """One item of the checklist."""

    model_config = ConfigDict(extra="allow")

    number: int
    name: str
    layer: str = Field(description="Where a failure belongs: schema, signature, proof, ….")
    status: str = Field(description="`pass`, `fail`, `warn` or `skip`.")
    detail: str


class VerificationOut(BaseModel):
    """The numbered checklist."""

    model_config = ConfigDict(extra="allow")

    ok: bool = Field(description="Whether no check failed.")
    checks: list[CheckOut]
    statement: dict[str, Any] | None = Field(None, description="What the receipt says.")
