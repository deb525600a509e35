"""Uploads in parts as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from prover.records.job import PartialUpload

#: The longest part, in bytes.
MAX_PART = 64 << 20

Digest = Annotated[
    str,
    Field(pattern=r"^sha256:[0-9a-f]{64}$", description="`sha256:` and the digest of the file."),
]


class UploadIn(BaseModel):
    """An announced upload in parts."""

    model_config = ConfigDict(extra="forbid")

    digest: Digest
    size_bytes: int = Field(strict=True, ge=1, description="Of the whole file.")


class RangeOut(BaseModel):
    """A received range."""

    start: int = Field(description="Offset of the first byte, from 0.")
    end: int = Field(description="After the last byte.")


class UploadOut(BaseModel):
    """An upload in parts, with its received ranges."""

    digest: str
    size_bytes: int
    received: list[RangeOut] = Field(description="In order; adjacent ranges are merged.")
    missing: int | None = Field(description="The first missing byte; null: complete.")
    max_part_bytes: int = Field(description="The longest accepted part.")
    created_at: datetime
    expires_at: datetime = Field(description="Deleted then, unless another part arrives.")
    links: dict[str, str]


def upload_out(upload: PartialUpload) -> UploadOut:
    """The JSON of an upload."""
    own = f"/v1/uploads/{upload.digest}"
    return UploadOut(
        digest=upload.digest,
        size_bytes=upload.size_bytes,
        received=[RangeOut(start=start, end=end) for start, end in upload.ranges],
        missing=upload.missing,
        max_part_bytes=MAX_PART,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
        links={"self": own, "finish": f"{own}/finish"},
    )
