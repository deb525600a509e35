"""Files in HTTP requests: raw bodies and multipart forms, with size limits."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from api.problem import MediaTypeUnsupported, MultipartInvalid, RequestInvalid
from api.requests import BoundedRequest
from circuits.errors import StorageFull, is_of_full_disk

#: Allowance for a multipart body's headers and small fields besides the file.
_FORM_OVERHEAD = 64 << 10
#: Prefix of the folders of bodies; the longest time to receive a body.
_BODY, _OLD_S = "body-", 86_400.0
_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A received file. ``name`` is the client's, ``fields`` are the form's text fields."""

    data: bytes
    name: str | None
    fields: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a form by field, and its text fields."""

    files: dict[str, bytes]
    fields: dict[str, str]


async def read_upload(
    request: Request, *, field: str, limit: int, media_types: tuple[str, ...]
) -> Upload:
    """The file of a request: a raw body of one of ``media_types``, or the form field ``field``.

    Raises ``UploadTooLarge`` without reading beyond ``limit`` bytes, ``MediaTypeUnsupported``,
    ``MultipartInvalid``, or ``RequestInvalid`` when there is no file.
    """
    bounded = BoundedRequest(request, limit)
    if bounded.media_type == "multipart/form-data":
        return await _read_form(BoundedRequest(request, limit + _FORM_OVERHEAD), field)
    if bounded.media_type not in media_types:
        raise MediaTypeUnsupported(
            f"Content-Type is {bounded.media_type or 'missing'!r}.",
            advice=f"Send multipart/form-data with the file in {field!r}, or the bare file as"
            f" {media_types[0]}.",
        )
    data = await bounded.body()
    if not data:
        raise RequestInvalid("The body is empty.", advice="Send the file as the body.")
    return Upload(data=data, name=None, fields={})


@dataclass(frozen=True, kw_only=True)
class FileUpload:
    """A received file on disk. ``name`` is the client's."""

    path: Path
    name: str | None


@asynccontextmanager
async def body_on_disk(
    request: Request, home: Path, limit: int, media_types: tuple[str, ...]
) -> AsyncIterator[Path]:
    """The request's body in a temporary file.

    Raises ``UploadTooLarge`` without reading beyond ``limit`` bytes, ``MediaTypeUnsupported``.
    """
    bounded = BoundedRequest(request, limit)
    if bounded.media_type not in media_types:
        raise MediaTypeUnsupported(
            f"Content-Type is {bounded.media_type or 'missing'!r}.",
            advice=f"Send the bare file as {' or '.join(media_types)}.",
        )
    with _scratch(home) as folder:
        path = folder / "body"
        with _needing_room():
            async with await anyio.open_file(path, "wb") as out:
                async for chunk in bounded.stream():
                    await out.write(chunk)
        yield path


@asynccontextmanager
async def file_on_disk(
    request: Request, *, field: str, home: Path, limit: int, media_types: tuple[str, ...]
) -> AsyncIterator[FileUpload]:
    """As ``read_upload``, but on disk instead of in memory."""
    if BoundedRequest(request, limit).media_type != "multipart/form-data":
        async with body_on_disk(request, home, limit, media_types) as path:
            if not path.stat().st_size:
                raise RequestInvalid("The body is empty.", advice="Send the file as the body.")
            yield FileUpload(path=path, name=None)
        return
    form = await _form(BoundedRequest(request, limit + _FORM_OVERHEAD), files=1)
    try:
        file = _file_of(form, field)
        with _scratch(home) as folder:
            path = folder / "body"
            with _needing_room():
                async with await anyio.open_file(path, "wb") as out:
                    while chunk := await file.read(1 << 20):
                        await out.write(chunk)
            yield FileUpload(path=path, name=file.filename or None)
    finally:
        await form.close()


@contextmanager
def _needing_room() -> Iterator[None]:
    """Raises ``StorageFull`` if the disk is full."""
    try:
        yield
    except OSError as error:
        if not is_of_full_disk(error):
            raise
        raise StorageFull from error


def forget_leftovers(home: Path) -> None:
    """Deletes bodies that killed processes left: those older than a day."""
    for folder in (home / "tmp").glob(f"{_BODY}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _OLD_S:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    folder = home / "tmp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=_BODY) as scratch:
        yield Path(scratch)


def _file_of(form: FormData, field: str) -> UploadFile:
    file = form.get(field)
    if not isinstance(file, UploadFile):
        raise RequestInvalid(
            f"The form has no file {field!r}.", advice=f"Send the file in the field {field!r}."
        )
    return file


async def read_files(request: Request, *, limit: int, fields: frozenset[str]) -> Files:
    """The files of a multipart form, ``limit`` bytes in total. Errors as of ``read_upload``."""
    form = await _form(BoundedRequest(request, limit + _FORM_OVERHEAD), len(fields))
    try:
        files = {k: await v.read() for k, v in form.items() if isinstance(v, UploadFile)}
        texts = {key: value for key, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()
    if strange := sorted(set(files) - fields):
        raise RequestInvalid(f"The form has an unknown file {strange[0][:100]!r}.")
    return Files(files=files, fields=texts)


async def _form(request: BoundedRequest, files: int) -> FormData:
    try:
        return await request.form(max_files=files, max_fields=4, max_part_size=_FORM_OVERHEAD)
    except HTTPException as exc:
        raise MultipartInvalid(str(exc.detail)) from None


async def _read_form(request: BoundedRequest, field: str) -> Upload:
    form = await _form(request, files=1)
    try:
        file = _file_of(form, field)
        texts = {key: value for key, value in form.items() if isinstance(value, str)}
        return Upload(data=await file.read(), name=file.filename or None, fields=texts)
    finally:
        await form.close()


def upload_body(field: str, *media_types: str, texts: tuple[str, ...] = ()) -> dict[str, Any]:
    """The OpenAPI entry of a body for ``read_upload``; ``texts`` are optional text fields."""
    form = form_of(field, texts=texts)
    content: dict[str, Any] = {media: {"schema": _BINARY} for media in media_types}
    content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def form_of(
    *needed: str, files: tuple[str, ...] = (), texts: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The schema of a form: required files, optional files and text fields."""
    fields = dict.fromkeys((*needed, *files), _BINARY) | {t: {"type": "string"} for t in texts}
    return {"type": "object", "properties": fields, "required": list(needed)}
