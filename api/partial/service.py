"""Uploads in parts: begin, add, finish."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from api.models.schemas import ModelOut, model_out
from api.problem import UploadCut
from circuits.errors import ModelTooLarge
from prover.app import App
from prover.errors import ModelNotFound, UploadDigestMismatch, UploadNotFound
from prover.jobs import uploads
from prover.records.job import PartialUpload


def begin(app: App, digest: str, size_bytes: int) -> tuple[PartialUpload, bool]:
    """An upload, and whether it is new."""
    limit = app.settings.max_model_bytes
    if size_bytes > limit:
        raise ModelTooLarge(
            f"the model has {size_bytes} bytes, the limit is {limit}",
            advice="Raise ZKML_MAX_MODEL_BYTES.",
        )
    app.store.check_room(size_bytes)
    uploads.forget_stale(app.store, app.artifacts)
    return app.store.open_upload(digest, size_bytes)


def add_part(app: App, digest: str, start: int, size: int, path: Path) -> PartialUpload:
    """Stores one part; raises ``UploadCut`` if it is shorter than announced."""
    came = path.stat().st_size
    if came != size:
        raise UploadCut(f"{came} bytes arrived, Content-Range says {size}.")
    return uploads.add_part(app.store, app.artifacts, digest, start, path)


def finish(app: App, digest: str, name: str, metadata: dict[str, str]) -> tuple[ModelOut, bool]:
    """The model of a complete upload, and whether it is new. Idempotent: the first response may
    have been lost."""
    try:
        upload = app.store.upload(digest)
    except UploadNotFound:
        with suppress(ModelNotFound):
            return model_out(app.store.own_model(digest)), False
        raise
    folder = app.settings.home / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="body-") as scratch:
        path = Path(scratch) / "model"
        try:
            uploads.put_together(app.artifacts, upload, path)
        except UploadDigestMismatch:
            forget(app, digest)  # it is unknown which part is wrong
            raise
        record, created = app.add_model(path, name, metadata=metadata)
    with suppress(UploadNotFound):  # a concurrent request finished it
        forget(app, digest)
    return model_out(record), created


def forget(app: App, digest: str) -> None:
    """Deletes an upload; raises ``UploadNotFound``."""
    uploads.forget(app.store, app.artifacts, digest)
