"""What an engine child does: serve calls, one after another, on its session socket.

Frames are a 4-byte big-endian length and a pickle. The parent sends
``("module:function", args)``; the child answers ``("started", pid)``, any number of
``("event", name)`` and then one ``("result", value, peak_rss_bytes)`` or
``("error", exception, peak_rss_bytes)``.

Pickle is enough from the parent to its child. What comes back may be an attacker's, who has taken
over a child by a model: the parent makes of it plain values, arrays and this package's own
dataclasses, enums and errors, and nothing else.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import io
import os
import pickle
import re
import resource
import socket
import struct
from typing import Any

from circuits.errors import (
    EngineError,
    EngineOutOfMemory,
    EnginePanic,
    StorageFull,
    ZkmlError,
    is_of_full_disk,
)

#: What rayon says when a thread's stack cannot be had.
_NO_ROOM_FOR_THREADS = ("ThreadPoolBuildError", "failed to spawn thread")
_LENGTH = struct.Struct(">I")
_current: socket.socket | None = None
#: Which walls stand around this child (``circuits.engine.isolation``).
standing: dict[str, bool] = {}
#: The folders that this child writes.
written: list[str] = []
#: A disk with fewer bytes free is full.
_ROOM = 1 << 20

#: What may be called while an answer of a child is read, beside classes of this package.
_PLAIN = {
    ("builtins", name) for name in ("bytearray", "complex", "frozenset", "range", "set", "slice")
} | {
    ("collections", "OrderedDict"),
    ("circuits.errors", "_rebuild"),
    ("fractions", "Fraction"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("pathlib", "PosixPath"),
}


def send(sock: socket.socket, value: Any) -> None:
    """Writes one frame."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    sock.sendall(_LENGTH.pack(len(body)) + body)


def receive(sock: socket.socket) -> Any:
    """Reads one frame; raises ``EOFError`` when the other side is gone."""
    (length,) = _LENGTH.unpack(_read(sock, _LENGTH.size))
    return pickle.loads(_read(sock, length))  # noqa: S301 - from our own fork, see above


def receive_from_child(sock: socket.socket) -> Any:
    """Reads one frame of a child, whatever it may have become; ``EngineError`` for what no call
    answers."""
    (length,) = _LENGTH.unpack(_read(sock, _LENGTH.size))
    try:
        return _Answers(io.BytesIO(_read(sock, length))).load()
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        raise EngineError(f"the proof engine's answer cannot be read: {error}") from None


class _Answers(pickle.Unpickler):
    """Reads plain values and this package's own."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN and not module.startswith("circuits."):
            raise pickle.UnpicklingError(f"{module}.{name} is no answer")
        found = super().find_class(module, name)
        if (module, name) in _PLAIN or (isinstance(found, type) and _is_value(found)):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no answer")


def _is_value(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or issubclass(cls, (enum.Enum, ZkmlError, tuple))


def walls() -> dict[str, bool]:
    """A call: which walls stand around this child."""
    return standing


def _read(sock: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = sock.recv(min(1 << 20, count - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def report(event: str) -> None:
    """Tells the parent that a stage begins. Does nothing outside a child."""
    if _current is not None:
        send(_current, ("event", event))


def serve(sock: socket.socket) -> None:
    """Runs calls until the parent closes the socket."""
    global _current  # noqa: PLW0603 - a child has one session, and calls report through it
    _current = sock
    while True:
        try:
            function, args = receive(sock)
        except EOFError:
            return
        send(sock, ("started", os.getpid()))
        send(sock, _run(function, args))


def _run(function: str, args: tuple[Any, ...]) -> tuple[str, Any, int]:
    try:
        module, name = function.split(":")
        return ("result", getattr(importlib.import_module(module), name)(*args), _peak())
    except BaseException as error:  # EZKL's panics are BaseExceptions
        return ("error", as_engine_error(error), _peak())


def as_engine_error(error: BaseException) -> ZkmlError:
    """Any exception of a call as one of ours.

    What fails while the disk is full has failed for that: EZKL drops what it could not write, and
    then fails in another way on the rest.
    """
    if isinstance(error, MemoryError):
        return EngineOutOfMemory()
    if is_of_full_disk(error) or any(_is_full(folder) for folder in written):
        return StorageFull()
    if isinstance(error, ZkmlError):
        return error
    text = str(error).strip() or type(error).__name__
    if type(error).__name__ == "PanicException":
        if any(sign in text for sign in _NO_ROOM_FOR_THREADS):
            return EngineOutOfMemory()
        return EnginePanic(f"the proof engine panicked: {text[:300]}")
    return EngineError(f"the proof engine failed: {text[:300]}")


def _is_full(folder: str) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _ROOM


def redacted(error: ZkmlError) -> ZkmlError:
    """The same error with every number in its text masked: they may come from a private input."""
    return type(error)(re.sub(r"-?\d[\d.]*", "#", error.detail), advice=error.advice)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
