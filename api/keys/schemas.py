"""A published key set."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from prover.statement.keys import KeyState


class KeyOut(BaseModel):
    """A public key and its state; times are RFC 3339, UTC."""

    keyid: str = Field(description="SHA-256 of the canonical key, 64 hex digits.")
    keytype: str
    scheme: str
    public: str = Field(description="Hex for Ed25519, PEM for other types.")
    state: KeyState
    created_at: str
    retired_at: str | None = Field(description="Receipts issued until then are valid.")
    revoked_at: str | None = Field(description="If set, all its receipts are invalid.")
    reason: str | None


class KeySetOut(BaseModel):
    """Newest key first."""

    model_config = ConfigDict(serialize_by_alias=True)

    keys: list[KeyOut]
    schema_: Literal[1] = Field(alias="schema")
