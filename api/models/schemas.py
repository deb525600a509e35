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
    missing_of: str | None = Field(
        default=None,
        exclude_if=lambda of: of is None,
        description="It is the mask of that input, whose values may be null, and is not sent.",
    )
    categories: list[str] | None = Field(
        default=None,
        exclude_if=lambda texts: texts is None,
        description="Texts are sent, and these are known: a number is a place among them.",
    )
    other: bool | None = Field(
        default=None,
        exclude_if=lambda other: other is None,
        description="Whether other texts are taken too, all as the place after the last.",
    )
    column_of: str | None = Field(
        default=None,
        exclude_if=lambda of: of is None,
        description="It holds the places of the numbers in that input's `column`, and is not sent.",
    )
    column: int | None = Field(default=None, exclude_if=lambda column: column is None)


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
    owner: str = Field(description="The owner's tenant.")
    visibility: ModelVisibility
    others_may_prove: bool = Field(
        description="Whether tenants that see it may prove it. No one can download it."
    )
    licence: str = Field(description="The licence's text; empty: none.")
    signature: SignatureOut | None = Field(
        description="The owner's signature of the manifest; receipts carry it."
    )
    links: dict[str, str]


class ModelChange(BaseModel):
    """What others may do with a model; absent fields stay unchanged."""

    model_config = ConfigDict(extra="forbid")

    visibility: ModelVisibility | None = Field(
        None, description="`unlisted`: visible by id. `public`: also listed."
    )
    others_may_prove: bool | None = Field(None, strict=True)
    licence: str | None = Field(
        None,
        max_length=MAX_LICENCE,
        pattern=r"^[^\x00]*$",
        description="A new licence removes the owner's signature.",
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
    next_cursor: str | None = Field(description="`cursor` of the next page; null: the last page.")


class LayerCostsOut(BaseModel):
    """A layer's cost, in assignments."""

    layer: str = Field(description="The node's name in the uploaded model.")
    op: str
    fixed_point: int = Field(description="In the engine's fixed-point arithmetic.")
    integers: int | None = Field(description="null: the model cannot be lowered to integers.")


class ModelCostsOut(BaseModel):
    """A model's cost in assignments (cells that a proof fills), by formula, before planning."""

    fixed_point: int
    integers: int | None
    committed: int | None = Field(
        None, description="With committed hints; null: not possible, or not counted."
    )
    integer_unsupported: str = Field(
        description="Why the model cannot be lowered to integers; empty if it can."
    )
    layers: list[LayerCostsOut]
    links: dict[str, str]


def model_out(record: ModelRecord) -> ModelOut:
    """The JSON of a model."""
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
