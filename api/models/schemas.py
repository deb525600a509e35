"""Models as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from prover.records.job import ModelRecord, ModelVisibility
from prover.statement.ownership import MAX_LICENCE, Scheme


class TensorOut(BaseModel):
    """A named tensor."""

    name: str
    dtype: str = Field(description="A numpy name, e.g. `float32`.")
    shape: list[int]


class SignatureOut(BaseModel):
    """Who signed a model's manifest."""

    scheme: Scheme
    signer: str
    signature: str


class ModelOut(BaseModel):
    """An uploaded model."""

    id: str = Field(description="`sha256:` and the digest of the ONNX file as uploaded.")
    name: str
    size_bytes: int
    inputs: list[TensorOut]
    outputs: list[TensorOut]
    summary: dict[str, Any] = Field(description="What inspection found.")
    metadata: dict[str, str] = Field(description="As it was sent.")
    created_at: datetime
    owner: str = Field(description="The tenant whose model it is.")
    visibility: ModelVisibility
    others_may_prove: bool = Field(
        description="Whether who sees it may have it proved. Its bytes are shown to nobody."
    )
    licence: str = Field(description="The licence's text; empty: none is given.")
    signature: SignatureOut | None = Field(
        description="The owner's, of the model's manifest; receipts carry it."
    )
    links: dict[str, str]


class ModelChange(BaseModel):
    """What others may do with a model; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    visibility: ModelVisibility | None = Field(
        None, description="`unlisted`: who knows its id sees it. `public`: it is listed."
    )
    others_may_prove: bool | None = Field(None, strict=True)
    licence: str | None = Field(
        None,
        max_length=MAX_LICENCE,
        pattern=r"^[^\x00]*$",
        description="Another licence takes the owner's signature off.",
    )


class SignatureIn(BaseModel):
    """The owner's signature of the model's manifest."""

    model_config = ConfigDict(extra="forbid")

    scheme: Scheme
    signer: str = Field(
        max_length=80, description="An Ed25519 key (64 hex digits), or an Ethereum address."
    )
    signature: str = Field(max_length=140, description="Hex: 64 bytes, or 65 (r, s, v).")


class ModelPage(BaseModel):
    """Models, newest first."""

    items: list[ModelOut]
    next_cursor: str | None = Field(description="`cursor` of the next page; null: none.")


class LayerCostsOut(BaseModel):
    """What one layer costs, in assignments."""

    layer: str = Field(description="The node's name in the uploaded model.")
    op: str
    as_exported: int | None = Field(description="null: the engine refuses it as it is.")
    rewritten: int | None = Field(description="In the engine's fixed point.")
    integers: int | None = Field(description="null: the model has no form in integers.")


class ModelCostsOut(BaseModel):
    """What a model costs, in assignments (cells that a proof fills), before anything is planned."""

    as_exported: int | None = Field(description="null: the engine refuses the model as it is.")
    rewritten: int | None
    integers: int | None
    committed: int | None = Field(
        None, description="With committed hints; null: there is no such form, or not counted."
    )
    integer_unsupported: str = Field(
        description="Why there is no form in integers; empty where there is."
    )
    layers: list[LayerCostsOut]
    counted: str = Field(description="By the `engine` or, for a graph of many nodes, by `formula`.")
    links: dict[str, str]


def model_out(record: ModelRecord) -> ModelOut:
    """The JSON of a model row."""
    return ModelOut(
        id=record.id,
        name=record.name,
        size_bytes=record.size_bytes,
        inputs=[TensorOut(**t) for t in record.signature["inputs"]],
        outputs=[TensorOut(**t) for t in record.signature["outputs"]],
        summary={k: v for k, v in record.summary.items() if k != "signature"},
        metadata=record.metadata,
        created_at=record.created_at,
        owner=record.owner,
        visibility=record.visibility,
        others_may_prove=record.others_may_prove,
        licence=record.licence,
        signature=SignatureOut(**record.owner_signature) if record.owner_signature else None,
        links={
            "self": f"/v1/models/{record.id}",
            "costs": f"/v1/models/{record.id}/costs",
            "manifest": f"/v1/models/{record.id}/manifest",
        },
    )
