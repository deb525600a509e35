"""Answers that are files: immutable, named by their content."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from circuits.format.digests import sha256


def file_response(request: Request, data: bytes, *, media_type: str, filename: str) -> Response:
    """``data`` as a download; its ETag is its SHA-256, and a client that has it gets 304."""
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
    """What OpenAPI says of such an answer."""
    schema = {"type": "string", "format": "binary"}
    if media_type == "application/json":
        schema = {"type": "object"}
    return {
        200: {"description": description, "content": {media_type: {"schema": schema}}},
        304: {"description": "The client has it (If-None-Match)."},
    }
