"""An estimate as JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class EstimateOut(BaseModel):
    """Predicted costs of the cheapest typical circuit for a model and a profile."""

    argument: Literal["committed", "plain"] = Field(description="With or without committed hints.")
    logrows: int = Field(description="k: the circuit has 2^k rows.")
    columns: int
    setup_s: float = Field(description="Seconds of the key set-up, once.")
    prove_s: float = Field(description="Seconds a proof.")
    peak_bytes: int = Field(description="Memory of a proof.")
    pk_bytes: int = Field(description="Size of the proving key.")
    proof_bytes: int
    fits: bool = Field(description="Whether the workers' memory limit allows it.")
    advice: str = Field(description="What would make it fit; empty if it fits.")
    limit_bytes: int
    cost_model: dict[str, Any] = Field(description="The proofs it was fitted to, and its error.")
