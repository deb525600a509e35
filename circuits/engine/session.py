"""What an engine child does: serve calls, one after another, on its session socket.

Frames are a 4-byte big-endian length and a pickle. The parent sends
``("module:function", args)``; the child answers ``("started", pid)``, any number of
``("event", name)`` and then one ``("result", value, peak_rss_bytes)`` or
``("error", exception, peak_rss_bytes)``.

Pickle is enough between a process and its own fork: the sandbox contains crashes, hangs and
memory, not an attacker who has taken over the child.
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
import resource
import socket
import struct
from typing import Any

from circuits.errors import EngineError, EngineOutOfMemory, EnginePanic, ZkmlError

#: What rayon says when a thread's stack cannot be had.
_NO_ROOM_FOR_THREADS = ("ThreadPoolBuildError", "failed to spawn thread")
_LENGTH = struct.Struct(">I")
_current: socket.socket | None = None


def send(sock: socket.socket, value: Any) -> None:
    """Writes one frame."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    sock.sendall(_LENGTH.pack(len(body)) + body)


def receive(sock: socket.socket) -> Any:
    """Reads one frame; raises ``EOFError`` when the other side is gone."""
    (length,) = _LENGTH.unpack(_read(sock, _LENGTH.size))
    return pickle.loads(_read(sock, length))  # noqa: S301 - from our own fork, see above


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
    """Any exception of a call as one of ours."""
    if isinstance(error, ZkmlError):
        return error
    text = str(error).strip() or type(error).__name__
    if isinstance(error, MemoryError):
        return EngineOutOfMemory()
    if type(error).__name__ == "PanicException":
        if any(sign in text for sign in _NO_ROOM_FOR_THREADS):
            return EngineOutOfMemory()
        return EnginePanic(f"the proof engine panicked: {text[:300]}")
    return EngineError(f"the proof engine failed: {text[:300]}")


def masked(error: ZkmlError) -> ZkmlError:
    """The same error with every number in its text masked: they may come from a private input."""
    return type(error)(re.sub(r"-?\d[\d.]*", "#", error.detail), hint=error.hint)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
