"""Models as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from prover.jobs import ModelRecord


class TensorOut(BaseModel):
    """A named tensor."""

    name: str
    dtype: str = Field(description="A numpy name, e.g. `float32`.")
    shape: list[int]


class ModelOut(BaseModel):
    """An uploaded model."""

    id: str = Field(description="`sha256:` and the digest of the ONNX file as uploaded.")
    name: str
    size_bytes: int
    inputs: list[TensorOut]
    outputs: list[TensorOut]
    summary: dict[str, Any] = Field(description="What inspection found.")
    created_at: datetime
    links: dict[str, str]


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
    freivalds: int = Field(description="Of those in integers, in Freivalds' columns.")


class ModelCostsOut(BaseModel):
    """What a model costs, in assignments (cells that a proof fills), before anything is planned."""

    as_exported: int | None = Field(description="null: the engine refuses the model as it is.")
    rewritten: int | None
    integers: int | None
    no_integers: str = Field(description="Why there is no form in integers; empty where there is.")
    layers: list[LayerCostsOut]
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
        created_at=record.created_at,
        links={"self": f"/v1/models/{record.id}", "costs": f"/v1/models/{record.id}/costs"},
    )
