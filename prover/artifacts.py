"""The artifact store: models, circuits, proofs and receipts in a directory or a bucket.

Artifacts are content-addressed (SHA-256) and immutable: writing one twice is idempotent, and reads
are checked against the digest. Writes are atomic. The inputs of jobs are private artifacts under
random names.
"""

from __future__ import annotations

import copy
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, from_url

from circuits.errors import StorageFull, is_of_full_disk
from circuits.format.digests import PREFIX, is_digest, sha256, sha256_file
from prover.artifact_cache import Uses, remove_parts, trim
from prover.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactsUnavailable,
    SettingsInvalid,
)

_PRIVATE_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")
#: Report an unresponsive bucket within a minute, not three: jobs are retried anyway.
_RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


class Stored:
    """Counts stored bytes, including those already present. Thread-safe."""

    def __init__(self) -> None:
        self._bytes = 0
        self._guard = threading.Lock()

    def add(self, count: int) -> None:
        with self._guard:
            self._bytes += count

    def take(self) -> int:
        """Returns the bytes counted so far and resets the count."""
        with self._guard:
            taken, self._bytes = self._bytes, 0
        return taken


class Artifacts:
    """An artifact store. Every method may be called from any thread and may raise
    ``ArtifactsUnavailable``; those that write, ``StorageFull``."""

    def __init__(
        self, backend: Any, *, root: Path | None, cache_dir: Path, cache_bytes: int = 0
    ) -> None:
        """``root`` is the directory behind ``backend`` when it is a local one."""
        self._backend = backend
        self._root = root
        self._cache_dir = cache_dir
        self._cache_bytes = cache_bytes
        self._uses: Uses | None = None
        self._verified: set[str] = set()
        self._filling: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self.stored = Stored()

    def counted(self) -> Artifacts:
        """The same store for one piece of work: it counts the bytes stored and keeps its local
        copies until ``release``."""
        view = copy.copy(self)
        view.stored = Stored()
        view._uses = Uses()
        return view

    def release(self) -> None:
        """Allows eviction of the local copies that this view returned."""
        if self._uses is not None:
            self._uses.release()

    @classmethod
    def open(cls, url: str, cache_dir: Path, cache_bytes: int = 0) -> Artifacts:
        """Opens ``file://``, ``s3://``, ``gs://`` or ``az://`` (credentials as each cloud's own
        tools find them). ``cache_dir`` holds local copies of remote artifacts, at most
        ``cache_bytes``; 0: unlimited. Raises ``SettingsInvalid``."""
        scheme = urlsplit(url).scheme
        if scheme == "file":
            return cls._open_directory(Path(unquote(urlsplit(url).path)), cache_dir)
        if scheme == "memory":
            return cls(MemoryStore(), root=None, cache_dir=cache_dir, cache_bytes=cache_bytes)
        try:
            backend = from_url(url, retry_config=_RETRIES)
            return cls(backend, root=None, cache_dir=cache_dir, cache_bytes=cache_bytes)
        except (BaseError, ValueError) as error:
            raise SettingsInvalid(
                f"ZKML_ARTIFACTS_URL cannot be used: {_first_line(error)}"
            ) from error

    @classmethod
    def _open_directory(cls, root: Path, cache_dir: Path) -> Artifacts:
        with _named_errors():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It contains inputs of jobs: no other user may enter, whatever the modes of the files.
            (root / "private").mkdir(mode=0o700, exist_ok=True)
            return cls(LocalStore(root), root=root, cache_dir=cache_dir)

    def ping(self) -> None:
        """Returns if the store answers; raises ``ArtifactsUnavailable`` otherwise."""
        if self._root is not None and not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
            raise ArtifactsUnavailable(f"{self._root} cannot be written to.")
        self._size(_address(sha256(b"")))

    # --- content-addressed -------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """Stores the bytes and returns their digest (``sha256:…``)."""
        digest = sha256(data)
        self.stored.add(len(data))
        if not self._has_intact(digest, len(data)):
            with _named_errors():
                self._write(_address(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Stores a file's content, read in pieces, and returns its digest.

        The file must not change meanwhile. Raises ``OSError`` when it cannot be read.
        """
        digest, size = sha256_file(path), path.stat().st_size
        self.stored.add(size)
        if not self._has_intact(digest, size):
            with _named_errors():
                obstore.put(self._backend, _address(digest), path)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of this digest, checked. Raises ``ArtifactMissing``, ``ArtifactCorrupt``."""
        if self._root is None and self._is_trusted(digest):
            with suppress(FileNotFoundError):
                copy = self._local(digest).read_bytes()
                if sha256(copy) == digest:
                    return copy
        data = self._fetch(_address(digest))
        if sha256(data) != digest:
            self._distrust(digest)
            raise ArtifactCorrupt(artifact=digest)
        return data

    def exists(self, digest: str) -> bool:
        """Whether an artifact of this digest is stored (its bytes are not looked at)."""
        return self._size(_address(digest)) is not None

    def local_path(self, digest: str) -> Path:
        """A read-only local file with these bytes, checked once per process.

        For a directory, its own file; for a remote store, a cached copy. Raises
        ``ArtifactMissing``, ``ArtifactCorrupt``.
        """
        if self._root is not None or self._uses is None:
            return self._checked(digest)
        while True:
            path = self._checked(digest)
            if self._uses.hold(path):  # else another process has just evicted it
                self.trim_cache()
                return path

    def trim_cache(self) -> int:
        """Trims the cache to its limit; returns the freed bytes. Removes partial files, also of a
        directory store."""
        remove_parts(self._root or self._cache_dir)
        if self._root is not None or not self._cache_bytes:
            return 0
        return trim(self._cache_dir, self._cache_bytes)

    def _checked(self, digest: str) -> Path:
        path = self._local(digest)
        if self._is_trusted(digest) and path.exists():
            return path
        with self._one_at_a_time(digest):
            if self._root is None and not path.exists():
                self._fill(digest, path)
            try:
                intact = sha256_file(path) == digest
            except FileNotFoundError:
                raise ArtifactMissing(artifact=digest) from None
            if not intact and self._root is None:
                # Perhaps only the local copy is damaged: fetch it again, once.
                self._fill(digest, path)
                intact = sha256_file(path) == digest
            if not intact:
                raise ArtifactCorrupt(artifact=digest)
            self._trust(digest)
        return path

    def delete(self, digest: str) -> int:
        """Deletes an unreferenced artifact; returns its size. Raises ``ArtifactMissing``."""
        size = self._size(_address(digest))
        if size is None:
            raise ArtifactMissing(artifact=digest)
        self._distrust(digest)
        with _named_errors(), suppress(FileNotFoundError):
            obstore.delete(self._backend, _address(digest))
        return size

    # --- private, named ----------------------------------------------------------------------

    @staticmethod
    def new_private_key() -> str:
        """A new random name."""
        return secrets.token_hex(24)

    def put_private(self, key: str, data: bytes) -> None:
        """Stores bytes that only the service may read, such as a job's input.

        The name is random (``new_private_key``) and never a digest: an input that can be guessed
        could be found by its hash.
        """
        address = _private_address(key)
        with _named_errors():
            if self._root is None:
                obstore.put(self._backend, address, data)
                return
            # The name is unknown before this returns, so a partial file is harmless.
            path = self._root / address
            try:
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with open(opened, "wb") as file:
                    file.write(data)
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def put_private_file(self, key: str, path: Path) -> None:
        """The same for a file, read in pieces. Raises ``OSError`` when it cannot be read."""
        address = _private_address(key)
        with _named_errors():
            obstore.put(self._backend, address, path)
            if self._root is not None:
                (self._root / address).chmod(0o600)

    def private_chunks(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces. Raises ``ArtifactMissing``."""
        try:
            with _named_errors():
                for chunk in obstore.get(self._backend, _private_address(key)).stream():
                    yield bytes(chunk)
        except FileNotFoundError:
            raise ArtifactMissing from None

    def get_private(self, key: str) -> bytes:
        """Raises ``ArtifactMissing``, also after ``delete_private``."""
        return self._fetch(_private_address(key))

    def delete_private(self, key: str) -> None:
        """Deletes the bytes, if they exist."""
        address = _private_address(key)
        with _named_errors(), suppress(FileNotFoundError):
            if self._root is not None:
                (self._root / address).unlink()
            else:
                obstore.delete(self._backend, address)

    def private_keys(self) -> Iterator[tuple[str, timedelta]]:
        """Names of all private files, and how long ago each was written."""
        now = datetime.now(UTC)
        with _named_errors():
            for page in obstore.list(self._backend, "private"):
                for found in page:
                    name = str(found["path"]).removeprefix("private/")
                    yield name, now - found["last_modified"]

    # --- the backend -------------------------------------------------------------------------

    # Directories are read and written directly: obstore passes each call to its own threads, which
    # costs more than the call.

    def _write(self, address: str, data: bytes) -> None:
        if self._root is None:
            obstore.put(self._backend, address, data)
            return
        path = self._root / address
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}#{secrets.token_hex(6)}")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _fetch(self, address: str) -> bytes:
        try:
            with _named_errors():
                if self._root is not None:
                    return (self._root / address).read_bytes()
                return bytes(obstore.get(self._backend, address).bytes())
        except FileNotFoundError:
            raise ArtifactMissing from None

    def _size(self, address: str) -> int | None:
        try:
            with _named_errors():
                if self._root is not None:
                    return (self._root / address).stat().st_size
                return int(obstore.head(self._backend, address)["size"])
        except FileNotFoundError:
            return None

    def _has_intact(self, digest: str, size: int) -> bool:
        """Whether the artifact exists undamaged, so that no write is needed. A directory's file is
        read, so that storing an artifact again repairs disk damage; a bucket has checksums."""
        if self._size(_address(digest)) != size:
            return False
        if self._root is None:
            return True
        try:
            self.local_path(digest)
        except (ArtifactCorrupt, ArtifactMissing):
            return False
        return True

    # --- local files -------------------------------------------------------------------------

    def _local(self, digest: str) -> Path:
        return (self._root or self._cache_dir) / _address(digest)

    def _fill(self, digest: str, path: Path) -> None:
        """Fetches a remote artifact into the cache: complete and checked, or not at all."""
        with _named_errors():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
            try:
                with part.open("xb") as out:
                    for chunk in obstore.get(self._backend, _address(digest)).stream():
                        out.write(bytes(chunk))
                if sha256_file(part) != digest:
                    raise ArtifactCorrupt(artifact=digest)
                part.replace(path)
            except FileNotFoundError:
                raise ArtifactMissing(artifact=digest) from None
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _one_at_a_time(self, digest: str) -> Iterator[None]:
        with self._guard:
            lock = self._filling.setdefault(digest, threading.Lock())
        with lock:
            yield

    def _is_trusted(self, digest: str) -> bool:
        with self._guard:
            return digest in self._verified

    def _trust(self, digest: str) -> None:
        with self._guard:
            self._verified.add(digest)

    def _distrust(self, digest: str) -> None:
        with self._guard:
            self._verified.discard(digest)


def _address(digest: str) -> str:
    """An artifact's path. Raises ``ArtifactMissing`` if the argument is not a digest."""
    if not is_digest(digest):
        raise ArtifactMissing(f"{digest[:100]!r} is not a digest.")
    body = digest.removeprefix(PREFIX)
    return f"sha256/{body[:2]}/{body[2:]}"


def _private_address(key: str) -> str:
    if not _PRIVATE_KEY.fullmatch(key):
        raise ValueError("a private key has 16 to 128 letters, digits, '_' or '-'")
    return f"private/{key}"


@contextmanager
def _named_errors() -> Iterator[None]:
    """Maps storage errors to ``ZkmlError``; a missing file stays ``FileNotFoundError``."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise FileNotFoundError(_first_line(error)) from error
    except (BaseError, OSError) as error:
        if is_of_full_disk(error):
            raise StorageFull from error
        raise ArtifactsUnavailable(
            f"The artifact store did not answer: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
