"""How the service is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether what the service needs is there."""

    ready: bool
    parts: dict[str, Any] = Field(description="Each part: the database, artifacts, the queue.")
