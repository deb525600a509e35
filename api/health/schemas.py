"""The health of the service."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process responds."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the parts that the service needs are available."""

    ready: bool
    parts: dict[str, Any] = Field(description="The parts: database, artifacts, queue.")
