"""Models, their upload, and their circuits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from api.client.calls import (
    BINARY,
    Call,
    CircuitFilters,
    ModelFilters,
    as_model,
    file_at,
    get,
    given,
    idempotency,
    page,
    pairs,
)
from api.client.models import Circuit, Model, Page, Upload

#: Bytes per part of a large upload: small enough to send again.
PART_BYTES = 8 << 20


def digest_of(path: Path) -> tuple[str, int]:
    """The file's id as a model, and its size. Raises ``OSError``."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"sha256:{digest}", file.tell()


def upload_model(
    model: Path | bytes, name: str | None = None, *, metadata: Mapping[str, str] | None = None
) -> Call[Model]:
    """Uploads an ONNX file; the same bytes give the same model."""
    if name is None and isinstance(model, Path):
        name = model.name
    return Call(
        method="POST",
        path="/v1/models",
        read=as_model(Model),
        params=given(name=name, metadata=pairs(metadata)),
        headers=BINARY,
        body=lambda: model.read_bytes() if isinstance(model, Path) else model,
    )


def begin_upload(digest: str, size_bytes: int) -> Call[Upload]:
    """Begins an upload in parts, or resumes one."""
    body = {"digest": digest, "size_bytes": size_bytes}
    return Call(method="POST", path="/v1/uploads", read=as_model(Upload), json=body)


def upload_part(upload: Upload, start: int, data: bytes) -> Call[Upload]:
    """Sends the bytes from ``start`` on."""
    end = start + len(data) - 1
    return Call(
        method="PUT",
        path=f"/v1/uploads/{upload.digest}",
        read=as_model(Upload),
        headers={**BINARY, "Content-Range": f"bytes {start}-{end}/{upload.size_bytes}"},
        body=lambda: data,
    )


def finish_upload(digest: str, name: str, metadata: Mapping[str, str] | None) -> Call[Model]:
    """Creates the model of a complete upload."""
    return Call(
        method="POST",
        path=f"/v1/uploads/{digest}/finish",
        read=as_model(Model),
        params=given(name=name, metadata=pairs(metadata)),
    )


def model(model_id: str) -> Call[Model]:
    """A model's signature and the result of inspection."""
    return get(f"/v1/models/{model_id}", Model)


def models(**where: Unpack[ModelFilters]) -> Call[Page[Model]]:
    """A page of your own models, or of all public ones, newest first."""
    return page("/v1/models", Page[Model], where)


def change_model(
    model_id: str,
    *,
    visibility: str | None = None,
    others_may_prove: bool | None = None,
    licence: str | None = None,
) -> Call[Model]:
    """Changes what others may do with your model; absent fields stay unchanged."""
    body = given(visibility=visibility, others_may_prove=others_may_prove, licence=licence)
    return Call(method="PATCH", path=f"/v1/models/{model_id}", read=as_model(Model), json=body)


def model_manifest(model_id: str) -> Call[bytes]:
    """The bytes that a model's owner signs."""
    return file_at(f"/v1/models/{model_id}/manifest")


def sign_model(model_id: str, *, scheme: str, signer: str, signature: str) -> Call[Model]:
    """Submits the owner's signature of the manifest (``ed25519``, ``eip191``), in hex."""
    return Call(
        method="PUT",
        path=f"/v1/models/{model_id}/signature",
        read=as_model(Model),
        json={"scheme": scheme, "signer": signer, "signature": signature},
    )


def create_circuit(
    model: str,
    *,
    profile: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    wait_s: int = 0,
    idempotency_key: str | None = None,
) -> Call[Circuit]:
    """Builds a circuit; returns at once, or after at most ``wait_s`` (60) seconds."""
    return Call(
        method="POST",
        path="/v1/circuits",
        read=as_model(Circuit),
        headers=idempotency(idempotency_key),
        json=given(model=model, profile=profile, calibration=calibration),
        wait_s=wait_s,
    )


def circuit(circuit_id: str) -> Call[Circuit]:
    """A ready circuit, or the job that builds it."""
    return get(f"/v1/circuits/{circuit_id}", Circuit)


def circuits(**where: Unpack[CircuitFilters]) -> Call[Page[Circuit]]:
    """A page of ready circuits, newest first."""
    return page("/v1/circuits", Page[Circuit], where)


def circuit_file(circuit_id: str, name: str) -> Call[bytes]:
    """``settings``, ``vk`` or ``plan``."""
    return file_at(f"/v1/circuits/{circuit_id}/{name}")
