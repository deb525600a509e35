"""Resumable uploads: a large file sent in parts.

The parts are private artifacts under random names; the store lists them. The parts are assembled
and compared with the announced digest.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from circuits.format.digests import PREFIX
from prover.artifacts import Artifacts
from prover.errors import UploadDigestMismatch, UploadIncomplete, UploadNotFound
from prover.records.job import PartialUpload, UploadPart
from prover.store import Store


def add_part(
    store: Store, artifacts: Artifacts, digest: str, start: int, path: Path
) -> PartialUpload:
    """Stores the file at ``path`` as the bytes from ``start`` on. Raises ``UploadNotFound``,
    ``UploadOverlaps``."""
    key = artifacts.new_private_key()
    artifacts.put_private_file(key, path)
    try:
        upload, older = store.add_part(
            digest, UploadPart(start=start, size=path.stat().st_size, key=key)
        )
    except BaseException:
        artifacts.delete_private(key)
        raise
    if older is not None:
        artifacts.delete_private(older)
    return upload


def put_together(artifacts: Artifacts, upload: PartialUpload, path: Path) -> None:
    """Assembles the file at ``path``. Raises ``UploadIncomplete``, and ``UploadDigestMismatch``
    if the bytes do not match the announced digest."""
    if upload.missing is not None:
        raise UploadIncomplete(
            f"The bytes from {upload.missing} on are missing.", missing=upload.missing
        )
    hasher = hashlib.sha256()
    with path.open("wb") as out:
        for part in upload.parts:
            for chunk in artifacts.private_chunks(part.key):
                hasher.update(chunk)
                out.write(chunk)
    found = PREFIX + hasher.hexdigest()
    if found != upload.digest:
        raise UploadDigestMismatch(f"The received bytes have the digest {found}.", found=found)


def forget(store: Store, artifacts: Artifacts, digest: str) -> None:
    """Deletes an upload with its parts. Raises ``UploadNotFound``."""
    for key in store.forget_upload(digest):
        artifacts.delete_private(key)


def forget_stale(store: Store, artifacts: Artifacts) -> None:
    """Deletes idle uploads of all tenants."""
    for tenant, digest in store.stale_uploads():
        with suppress(UploadNotFound):  # another process was faster
            forget(store.for_tenant(tenant), artifacts, digest)
