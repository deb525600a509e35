"""What the service can do, as JSON."""

from __future__ import annotations

import enum

from pydantic import BaseModel, Field

from api.keys.schemas import KeyOut


class EngineTakes(enum.StrEnum):
    """What the engine makes of an operator that no pass has taken away."""

    FAITHFUL = "faithful"  # what ONNX means
    CONDITIONAL = "conditional"  # that, for some attributes and constants
    WRONG = "wrong"  # something else: refused
    UNKNOWN = "unknown"  # nothing: refused


class OperatorOut(BaseModel):
    """An ONNX operator."""

    op: str
    engine: EngineTakes = Field(
        description="What the engine makes of one that no pass has taken away; `wrong` and"
        " `unknown` ones are refused."
    )
    reason: str
    instead: str = Field(description="What to export in its place.")


class PassOut(BaseModel):
    """A rewriting of models; they run in this order."""

    name: str
    version: int
    purpose: str


class SrsOut(BaseModel):
    """A structured reference string that is here."""

    logrows: int = Field(description="k: it serves circuits of 2^k rows.")
    origin: str = Field(description="`public-ceremony`, `imported` or `insecure-development`.")
    sha256: str


class LimitsOut(BaseModel):
    """What one request and this caller's tenant may use; 0: any amount."""

    max_model_bytes: int
    max_input_bytes: int
    max_batch_bytes: int
    max_bundle_bytes: int
    requests_per_minute: int
    running: int = Field(description="Jobs of the tenant that are worked on at a time.")
    queued: int = Field(description="Jobs of the tenant that may wait.")
    stored_bytes: int
    proving_s_per_day: int


class UsedOut(BaseModel):
    """What of that the tenant uses now."""

    running: int
    queued: int
    stored_bytes: int
    proving_s_today: float


class CapabilitiesOut(BaseModel):
    """What this service can prove, over what, how much of it, and who signs."""

    engine: str
    operators: list[OperatorOut]
    passes: list[PassOut]
    srs_policy: str = Field(description="`ceremony`: nothing is built over another SRS.")
    srs: list[SrsOut]
    max_logrows: int = Field(description="The largest k for which there is, or may be made, one.")
    limits: LimitsOut
    used: UsedOut
    signing_keys: list[KeyOut] = Field(description="As in /.well-known/zkml-keys.json.")
