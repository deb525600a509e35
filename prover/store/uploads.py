"""The tables of uploads in parts, and of received parts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from prover.errors import UploadNotFound, UploadOverlaps, UploadsOpen
from prover.records.job import PartialUpload, UploadPart
from prover.store.database import Repository
from prover.store.insert import insert_if_absent
from prover.store.schema import upload_parts, uploads

#: An idle upload is deleted after this time.
KEPT = timedelta(days=1)
#: Open uploads per tenant.
MOST_OPEN = 32


class Uploads(Repository):
    """Uploads by announced digest, separate for each tenant."""

    def open_upload(self, digest: str, size_bytes: int) -> tuple[PartialUpload, bool]:
        """A new upload, or the tenant's open one; and whether it is new. Raises ``UploadsOpen`` if
        there are too many, ``UploadOverlaps`` if it is open with another size."""
        with self._db.write() as conn:
            mine = uploads.c.tenant == self._owner
            others = sa.select(sa.func.count()).where(mine, uploads.c.digest != digest)
            if int(conn.scalar(others) or 0) >= MOST_OPEN:
                raise UploadsOpen(
                    f"The tenant already has {MOST_OPEN} open uploads.", limit=MOST_OPEN
                )
            new = insert_if_absent(
                conn,
                uploads,
                tenant=self._owner,
                digest=digest,
                size_bytes=size_bytes,
                created_at=self._now(),
                touched_at=self._now(),
            )
            found = self._upload(conn, digest)
        if found.size_bytes != size_bytes:
            raise UploadOverlaps(
                f"The upload of {digest} is open with {found.size_bytes} bytes, not {size_bytes}.",
                advice="Delete it first, or give the same size.",
            )
        return found, new

    def upload(self, digest: str) -> PartialUpload:
        """Raises ``UploadNotFound``."""
        with self._db.read() as conn:
            return self._upload(conn, digest)

    def add_part(self, digest: str, part: UploadPart) -> tuple[PartialUpload, str | None]:
        """Adds a part. A part with the same range replaces the older one, whose key is returned for
        deletion. Raises ``UploadNotFound``, ``UploadOverlaps``."""
        with self._db.write() as conn:
            found = self._upload(conn, digest, lock=True)
            older = None
            for known in found.parts:
                if (known.start, known.size) == (part.start, part.size):
                    older = known.key
                elif known.start < part.start + part.size and part.start < known.start + known.size:
                    raise UploadOverlaps(
                        f"Bytes {known.start} to {known.start + known.size - 1} exist already.",
                        start=known.start,
                        size=known.size,
                    )
            where = (
                upload_parts.c.tenant == self._owner,
                upload_parts.c.digest == digest,
                upload_parts.c.start == part.start,
            )
            if older is None:
                conn.execute(
                    sa.insert(upload_parts).values(
                        tenant=self._owner,
                        digest=digest,
                        start=part.start,
                        size=part.size,
                        key=part.key,
                    )
                )
            else:
                conn.execute(sa.update(upload_parts).where(*where).values(key=part.key))
            conn.execute(
                sa.update(uploads)
                .where(uploads.c.tenant == self._owner, uploads.c.digest == digest)
                .values(touched_at=self._now())
            )
            return self._upload(conn, digest), older

    def forget_upload(self, digest: str) -> list[str]:
        """Deletes an upload; returns its parts' keys for deletion. Raises ``UploadNotFound``."""
        with self._db.write() as conn:
            found = self._upload(conn, digest, lock=True)
            for table in (upload_parts, uploads):
                mine = (table.c.tenant == self._owner, table.c.digest == digest)
                conn.execute(sa.delete(table).where(*mine))
        return [part.key for part in found.parts]

    def stale_uploads(self) -> list[tuple[str, str]]:
        """Tenant and digest of idle uploads, of all tenants in every view."""
        query = sa.select(uploads.c.tenant, uploads.c.digest).where(
            uploads.c.touched_at < self._now() - KEPT
        )
        with self._db.read() as conn:
            return [(row.tenant, row.digest) for row in conn.execute(query)]

    def _upload(self, conn: sa.Connection, digest: str, *, lock: bool = False) -> PartialUpload:
        query = sa.select(uploads).where(uploads.c.digest == digest, *self._mine(uploads))
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise UploadNotFound(f"There is no upload of {digest!r}.")
        parts = (
            sa.select(upload_parts)
            .where(upload_parts.c.digest == digest, *self._mine(upload_parts))
            .order_by(upload_parts.c.start)
        )
        return _upload_of(row, [_part(part) for part in conn.execute(parts)])


def _upload_of(row: sa.Row[Any], parts: list[UploadPart]) -> PartialUpload:
    touched: datetime = row.touched_at
    return PartialUpload(
        digest=row.digest,
        size_bytes=row.size_bytes,
        parts=parts,
        created_at=row.created_at,
        expires_at=touched + KEPT,
    )


def _part(row: sa.Row[Any]) -> UploadPart:
    return UploadPart(start=row.start, size=row.size, key=row.key)
