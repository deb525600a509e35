"""A local LRU cache of remote artifacts, limited in bytes.

A job holds a shared lock on each copy that it uses. Eviction skips locked copies. A lock ends with
its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

#: Names of files that are being written, and how old one is whose writer was killed.
_PART, _PART_OLD_S = re.compile(r"[0-9a-f]{62}[#.].+"), 3600.0


class Uses:
    """The cached copies that one job uses. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[Path, int] = {}

    def hold(self, path: Path) -> bool:
        """Protects a copy from eviction until ``release``; False if it was just evicted."""
        with self._guard:
            if path in self._held:
                return True
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if os.stat(path).st_ino != os.fstat(descriptor).st_ino:
                    raise FileNotFoundError
                os.utime(path)  # marks it as used now
            except FileNotFoundError:
                os.close(descriptor)
                return False
            self._held[path] = descriptor
            return True

    def release(self) -> None:
        with self._guard:
            while self._held:
                os.close(self._held.popitem()[1])


def trim(folder: Path, max_bytes: int) -> int:
    """Evicts copies until at most ``max_bytes`` remain, or all are in use. Returns the freed
    bytes."""
    copies = sorted(_copies(folder))
    left = sum(size for _, size, _ in copies)
    freed = 0
    for _, size, path in copies:
        if left <= max_bytes:
            break
        if _evict(path):
            left -= size
            freed += size
    return freed


def _copies(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, size and path of each copy."""
    for path in folder.glob("sha256/*/*"):
        if not _PART.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path


def remove_parts(folder: Path) -> None:
    """Removes partial files of processes that were killed while they wrote."""
    for path in folder.glob("sha256/*/*"):
        if _PART.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _PART_OLD_S:
                    path.unlink()


def _evict(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as copy:
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: in use
        path.unlink()
        return True
    return False
