"""A published key set."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from prover.statement.keys import KeyState


class KeyOut(BaseModel):
    """A public key and its standing; times are RFC 3339, UTC."""

    keyid: str = Field(description="SHA-256 of the key's own description, 64 hex digits.")
    keytype: str
    scheme: str
    public: str = Field(description="Hex for Ed25519, PEM for other types.")
    state: KeyState
    created_at: str
    retired_at: str | None = Field(description="Receipts issued until then hold.")
    revoked_at: str | None = Field(description="If set, none of its receipts holds.")
    reason: str | None


class KeySetOut(BaseModel):
    """Newest key first."""

    model_config = ConfigDict(serialize_by_alias=True)

    keys: list[KeyOut]
    schema_: Literal[1] = Field(alias="schema")
