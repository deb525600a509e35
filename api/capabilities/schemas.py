"""The service's capabilities as JSON."""

from __future__ import annotations

import enum

from pydantic import BaseModel, Field

from api.keys.schemas import KeyOut


class EngineTakes(enum.StrEnum):
    """How the engine treats an operator that no pass has rewritten."""

    FAITHFUL = "faithful"  # as ONNX defines it
    CONDITIONAL = "conditional"  # correct only for some attributes and constants
    WRONG = "wrong"  # wrong results: refused
    UNKNOWN = "unknown"  # unsupported: refused


class OperatorOut(BaseModel):
    """An ONNX operator."""

    op: str
    engine: EngineTakes = Field(
        description="How the engine treats it if no pass has rewritten it; `wrong` and `unknown`"
        " ones are refused."
    )
    reason: str
    instead: str = Field(description="What to export instead.")


class PassOut(BaseModel):
    """A rewriting pass; they run in this order."""

    name: str
    version: int
    purpose: str


class SrsOut(BaseModel):
    """An available structured reference string."""

    logrows: int = Field(description="k: for circuits of 2^k rows.")
    origin: str = Field(description="`public-ceremony`, `imported` or `insecure-development`.")
    sha256: str


class LimitsOut(BaseModel):
    """Limits of one request and of the caller's tenant; 0: unlimited."""

    max_model_bytes: int
    max_input_bytes: int
    max_batch_bytes: int
    max_bundle_bytes: int
    requests_per_minute: int
    running: int = Field(description="Running jobs of the tenant.")
    queued: int = Field(description="Queued jobs of the tenant.")
    stored_bytes: int
    proving_s_per_day: int


class UsedOut(BaseModel):
    """The tenant's current usage."""

    running: int
    queued: int
    stored_bytes: int
    proving_s_today: float


class CapabilitiesOut(BaseModel):
    """What this service can prove, its reference strings, limits and signing keys."""

    engine: str
    operators: list[OperatorOut]
    passes: list[PassOut]
    srs_policy: str = Field(
        description="`ceremony`: circuits are built only with the public ceremony's SRS."
    )
    srs: list[SrsOut]
    max_logrows: int = Field(
        description="The largest k with an SRS that exists or may be generated."
    )
    limits: LimitsOut
    used: UsedOut
    signing_keys: list[KeyOut] = Field(description="As in /.well-known/zkml-keys.json.")
