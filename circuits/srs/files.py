"""A folder of SRS files.

An SRS of size k is, as EZKL writes it: k as a 32-bit little-endian number, 2^k points of G1, the
same in Lagrange form, then the generator of G2 and s·G2.

* ``kzg{k}.srs`` came from outside: fetched, or imported by the operator. Never deleted or
  overwritten here, whatever its digest.
* ``dev{k}.srs`` was generated here. Whoever ran that knew the secret and can forge proofs, so it is
  labelled ``insecure-development`` wherever it is used.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from circuits.errors import SrsError, SrsMismatch, SrsMissing
from circuits.format.digests import PREFIX, sha256_file
from circuits.format.manifest import SrsRef
from circuits.srs.ceremony import SHA256

MIN_LOGROWS, MAX_LOGROWS = 1, 26


class SrsUnwritable(SrsError):
    """The folder of SRS files cannot be written."""

    code = "srs_unwritable"
    default_advice = "Free some space, or set ZKML_SRS_DIR to a folder that can be written."


_G1, _G2 = 64, 128


class Origin(enum.StrEnum):
    """What is known about who made an SRS."""

    CEREMONY = "public-ceremony"  # its digest is pinned in the package
    IMPORTED = "imported"  # an operator's own file
    DEVELOPMENT = "insecure-development"  # generated here: its secret was known


class Policy(enum.StrEnum):
    """Which SRS circuits may be built over."""

    DEVELOPMENT = "development"  # the best that is here, else a generated one
    CEREMONY = "ceremony"  # the public ceremony's file or none


@dataclass(frozen=True, kw_only=True)
class SrsFile:
    """One file of the folder."""

    path: Path
    logrows: int
    sha256: str
    origin: Origin

    @property
    def is_public(self) -> bool:
        """Whether it is the public ceremony's."""
        return self.origin is Origin.CEREMONY

    @property
    def ref(self) -> SrsRef:
        return SrsRef(logrows=self.logrows, sha256=self.sha256, origin=self.origin.value)


def file_size(logrows: int) -> int:
    """Bytes of an SRS file of size k."""
    return 4 + 2 * _G1 * (1 << logrows) + 2 * _G2


def read_logrows(path: Path) -> int:
    """The k that a file says it has, checked against its size; raises ``SrsError``."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(4)
    if len(head) < 4:
        raise SrsError(f"{path.name} is too short to be an SRS")
    (logrows,) = struct.unpack("<I", head)
    if not MIN_LOGROWS <= logrows <= MAX_LOGROWS or size != file_size(logrows):
        raise SrsError(
            f"{path.name} is not an SRS: its header and its size of {size} bytes do not fit",
            advice="Expected EZKL's raw format, 4 + 128·2^k + 256 bytes.",
        )
    return int(logrows)


class SrsFolder:
    """The SRS files of one machine. Digests are remembered beside each file until it changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[SrsFile]:
        """Every usable file, smallest first; one that is no SRS is left out."""
        found = []
        for path in sorted(self.folder.glob("*.srs")):
            with contextlib.suppress(SrsError, FileNotFoundError):
                found.append(self._describe(path))
        return sorted(found, key=lambda f: (f.logrows, f.origin))

    def check(self, path: Path) -> SrsFile:
        """What a file is, read whole (no remembered digest); raises ``SrsError``."""
        logrows = read_logrows(path)
        digest = sha256_file(path)
        return SrsFile(
            path=path, logrows=logrows, sha256=digest, origin=_origin(path, logrows, digest)
        )

    def find(self, logrows: int, policy: Policy) -> SrsFile | None:
        """The best file of exactly this size that the policy allows.

        Raises ``SrsError`` for a damaged or misnamed one: whoever put it there should know, rather
        than have a worse one used in its place.
        """
        rank = {Origin.CEREMONY: 0, Origin.IMPORTED: 1, Origin.DEVELOPMENT: 2}
        names = (f"kzg{logrows}.srs", f"dev{logrows}.srs")
        found = [self._describe(p) for n in names if (p := self.folder / n).exists()]
        for file in found:
            if file.logrows != logrows:
                raise SrsError(
                    f"{file.path} is an SRS of k = {file.logrows}",
                    advice=f"Rename it to kzg{file.logrows}.srs.",
                )
        allowed = [f for f in found if policy is not Policy.CEREMONY or f.origin is Origin.CEREMONY]
        return min(allowed, key=lambda f: rank[f.origin], default=None)

    def ensure(
        self, logrows: int, policy: Policy, generate: Callable[[Path, int], None]
    ) -> SrsFile:
        """``find``, else generates one where the policy allows it, else raises ``SrsMissing``.

        ``generate(path, logrows)`` writes the file. Two processes that need the same size at once
        make it once.
        """
        found = self.find(logrows, policy)
        if found is not None:
            return found
        if policy is Policy.CEREMONY:
            raise SrsMissing(
                f"the public ceremony's SRS for k = {logrows} is not here, and"
                " ZKML_SRS_POLICY=ceremony allows no other",
                advice=f"Run `zkml srs fetch {logrows}`, or import the file with `zkml srs"
                " import`.",
                logrows=logrows,
            )
        with self._lock():
            found = self.find(logrows, policy)
            return found or self.generate(logrows, generate)

    def generate(self, logrows: int, generate: Callable[[Path, int], None]) -> SrsFile:
        """Makes ``dev{k}.srs``; raises ``SrsError`` for a size out of bounds."""
        if not MIN_LOGROWS <= logrows <= MAX_LOGROWS:
            raise SrsError(f"k must be {MIN_LOGROWS} to {MAX_LOGROWS}, not {logrows}")
        target = self.folder / f"dev{logrows}.srs"
        with self._staged(target) as staged:
            generate(staged, logrows)
        return self._describe(target)

    def adopt(self, source: Path, *, expect: str | None = None) -> SrsFile:
        """Copies a file in as ``kzg{k}.srs``.

        ``expect`` is the SHA-256 that it must have. Raises ``SrsMismatch`` if it has another, and
        ``SrsError`` if a different file of that name is here already: it is not ours to replace.
        """
        logrows = read_logrows(source)
        digest = sha256_file(source)
        if expect is not None and digest != expect:
            raise SrsMismatch(f"the file's digest is {digest}, expected {expect}")
        target = self.folder / f"kzg{logrows}.srs"
        if target.exists():
            if sha256_file(target) == digest:
                return self._describe(target)
            raise SrsError(
                f"{target} is here already and differs",
                advice="Move it away first if the new file should take its place.",
            )
        with self._staged(target) as staged:
            shutil.copyfile(source, staged)
        return self._describe(target)

    def _describe(self, path: Path) -> SrsFile:
        logrows = read_logrows(path)
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        note = path.with_suffix(".srs.json")
        digest = None
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(note.read_text())
            if known["stamp"] == stamp:
                digest = known["sha256"]
        if digest is None:
            digest = sha256_file(path)
            with contextlib.suppress(OSError):  # a read-only folder is no reason to fail
                note.write_text(json.dumps({"sha256": digest, "stamp": stamp}))
        return SrsFile(
            path=path, logrows=logrows, sha256=digest, origin=_origin(path, logrows, digest)
        )

    @contextlib.contextmanager
    def _staged(self, target: Path) -> Iterator[Path]:
        """A path beside ``target`` that takes its name when the block ends well."""
        with self.writing():
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".srs-")
            os.close(handle)
            staged = Path(name)
            try:
                yield staged
                staged.chmod(0o644)
                staged.replace(target)
            finally:
                staged.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """The folder is made for the block; ``SrsUnwritable`` for what the system refuses there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise SrsUnwritable(f"{self.folder} cannot be written: {error.strerror}") from None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with self.writing(), (self.folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _origin(path: Path, logrows: int, digest: str) -> Origin:
    if digest == PREFIX + SHA256.get(logrows, ""):
        return Origin.CEREMONY
    return Origin.DEVELOPMENT if path.name.startswith("dev") else Origin.IMPORTED
