"""Responses that are files: immutable and content-addressed."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from circuits.format.digests import sha256


def file_response(request: Request, data: bytes, *, media_type: str, filename: str) -> Response:
    """``data`` as a download with its SHA-256 as ETag; 304 for a client that has it."""
    etag = f'"{sha256(data)}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    known = request.headers.get("if-none-match", "")
    if etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)


def file_body(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of such a response."""
    schema = {"type": "string", "format": "binary"}
    if media_type == "application/json":
        schema = {"type": "object"}
    return {
        200: {"description": description, "content": {media_type: {"schema": schema}}},
        304: {"description": "The client already has it (If-None-Match)."},
    }
