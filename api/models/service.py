"""Models: content-addressed uploads."""

from __future__ import annotations

import unicodedata

from api.models.schemas import (
    ModelChange,
    ModelCostsOut,
    ModelOut,
    ModelPage,
    SignatureIn,
    model_out,
)
from api.uploads import FileUpload
from prover.app import App
from prover.statement.ownership import OwnerSignature, model_manifest
from prover.store.filters import Filter

_MAX_NAME = 200


def add(
    app: App,
    upload: FileUpload,
    name: str | None,
    metadata: dict[str, str],
    shapes: dict[str, list[int]],
) -> tuple[ModelOut, bool]:
    """Stores a model; returns whether it is new. Raises the ``ModelError`` family."""
    record, created = app.add_model(
        upload.path, plain_name(name or upload.name), metadata=metadata, shapes=shapes
    )
    return model_out(record), created


def get(app: App, model_id: str) -> ModelOut:
    """One model; raises ``ModelNotFound``."""
    return model_out(app.store.model(model_id))


def costs(app: App, model_id: str) -> ModelCostsOut:
    """Each layer's cost; raises ``ModelNotFound`` and the ``ModelError`` family."""
    links = {"self": f"/v1/models/{model_id}/costs", "model": f"/v1/models/{model_id}"}
    return ModelCostsOut(**app.model_costs(model_id), links=links)


def change(app: App, model_id: str, body: ModelChange) -> ModelOut:
    """Changes what others may do with the caller's model; raises ``ModelNotFound``."""
    return model_out(app.store.change_model(model_id, **body.model_dump(exclude_none=True)))


def manifest(app: App, model_id: str) -> bytes:
    """The bytes that a model's owner signs; raises ``ModelNotFound``."""
    return model_manifest(model_id, app.store.model(model_id).licence)


def sign(app: App, model_id: str, body: SignatureIn) -> ModelOut:
    """Stores the owner's signature; raises ``ModelNotFound``, ``OwnerSignatureInvalid``."""
    model = app.store.own_model(model_id)
    signature = OwnerSignature.read(body.scheme, body.signer, body.signature)
    signature.check(model_id, model.licence)
    return model_out(app.store.sign_model(model_id, signature.to_json(), model.licence))


def page(app: App, limit: int, cursor: str | None, where: Filter, *, public: bool) -> ModelPage:
    """A page of the caller's models, or of all public ones, newest first."""
    lists = app.store.public_models if public else app.store.models
    found = lists(limit=limit, cursor=cursor, where=where)
    return ModelPage(items=[model_out(m) for m in found.items], next_cursor=found.next_cursor)


def plain_name(name: str | None) -> str:
    """A client's file name as a label: its last part, printable, limited in length."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return shown[:_MAX_NAME] or "model.onnx"
