"""Downloads of the public ceremony's SRS files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from circuits.errors import Fault, SrsError, SrsMismatch
from circuits.format.digests import PREFIX
from circuits.srs.ceremony import SHA256, SOURCE_URL
from circuits.srs.files import SrsFile, SrsFolder, file_size

#: Called with (bytes so far, bytes in total).
OnProgress = Callable[[int, int], None]


class SrsUnreachable(SrsError):
    """The SRS could not be downloaded."""

    code = "srs_unreachable"
    fault = Fault.INTERNAL
    retryable = True
    default_advice = "Set ZKML_SRS_SOURCE_URL to a mirror, or import a file with `zkml srs import`."


def fetch(
    folder: SrsFolder,
    logrows: int,
    *,
    source_url: str = SOURCE_URL,
    digests: dict[int, str] = SHA256,
    on_progress: OnProgress | None = None,
) -> SrsFile:
    """Downloads the file of size k, checks its SHA-256 and adopts it.

    ``source_url`` has ``{k}`` in it. Only a download of our own is ever deleted. Raises
    ``SrsError`` for an unknown size, ``SrsUnreachable``, or ``SrsMismatch``.
    """
    expect = digests.get(logrows)
    if expect is None:
        raise SrsError(f"the public ceremony has no SRS for k = {logrows}; it has 1 to 26")
    url = source_url.format(k=logrows)
    with (
        folder.writing(),
        tempfile.NamedTemporaryFile(dir=folder.folder, prefix=".fetch-") as part,
    ):
        try:
            digest = _download(url, Path(part.name), file_size(logrows), on_progress)
        except httpx.HTTPError as error:
            raise SrsUnreachable(
                f"{url} could not be read: {error or type(error).__name__}"
            ) from None
        if digest != expect:
            raise SrsMismatch(
                f"what {url} served has the SHA-256 {digest}, the ceremony's file has {expect}",
                advice="Nothing was kept. Try another source with ZKML_SRS_SOURCE_URL.",
            )
        return folder.adopt(Path(part.name), expect=PREFIX + digest)


def _download(url: str, path: Path, size: int, on_progress: OnProgress | None) -> str:
    hasher, done = hashlib.sha256(), 0
    with (
        httpx.stream("GET", url, follow_redirects=True, timeout=60) as response,
        path.open("wb") as out,
    ):
        response.raise_for_status()
        for piece in response.iter_bytes(1 << 20):
            done += len(piece)
            if done > size:
                raise SrsMismatch(f"{url} serves more than the {size} bytes of such a file")
            hasher.update(piece)
            out.write(piece)
            if on_progress is not None:
                on_progress(done, size)
    return hasher.hexdigest()
