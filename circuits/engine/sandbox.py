"""Child processes that can be killed: the only way in which the engine is ever called.

EZKL holds the GIL for a whole call, can wait for ever on its own log, panics past ``except
Exception`` and may be killed for memory. Here each of these ends a child and nothing else, and
comes back as an error with a stable code. ``isolation`` has the walls around a child.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar

from circuits.engine import forkserver, isolation, session, stall
from circuits.errors import (
    Canceled,
    EngineError,
    EngineKilled,
    EngineOutOfMemory,
    EngineStalled,
    EngineTimeout,
    StorageFull,
    ZkmlError,
    is_of_full_disk,
)

if TYPE_CHECKING:
    from circuits.engine.port import Limits, OnStage, ShouldStop

P = ParamSpec("P")
T = TypeVar("T")
#: How often a waiting parent looks at ``should_stop``.
_POLL_S = 0.1
#: What a server gets to end by itself: in the middle of an import on a busy machine it takes long,
#: and one that is killed leaves its folder to the next.
_END_S = 60.0
#: Signals that a process does not send itself.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
#: How long a child shared by many calls may work altogether, in deadlines of one call.
_KEPT_CALLS = 4
_OUT_OF_MEMORY = (b"memory allocation of", b"Cannot allocate memory", b"MemoryError")


@dataclass
class _Wires:
    """The parent's ends of one child."""

    calls: socket.socket
    status: socket.socket
    stderr: IO[bytes]


class Child:
    """One forked child. Calls run in it one after another, all within one deadline."""

    def __init__(self, wires: _Wires, limits: Limits, should_stop: ShouldStop | None) -> None:
        self._wires = wires
        self._limits = limits
        self._should_stop = should_stop
        self._deadline = time.monotonic() + limits.deadline_s
        self._watch: stall.StallWatch | None = None
        self.peak_rss_bytes = 0

    def call(
        self,
        function: str,
        *args: Any,
        on_stage: OnStage | None = None,
        may_stall: bool = False,
    ) -> Any:
        """Runs ``function``, named ``"module:function"``, in the child with picklable ``args``.

        By name, so that this process need not import what runs there. ``may_stall``: a call that
        does nothing for two minutes is given up (``circuits.engine.stall``).

        Raises what the function raised if that is a ``ZkmlError``, else an ``EngineError``;
        ``EngineTimeout``, ``EngineStalled``, ``EngineOutOfMemory``, ``EngineKilled`` or
        ``Canceled`` when the child had to end or ended by itself. After any of the last five the
        child is gone.
        """
        try:
            session.send(self._wires.calls, (function, args))
            while True:
                self._wait()
                kind, *rest = session.receive_from_child(self._wires.calls)
                if kind == "started":
                    self._watch = stall.StallWatch(rest[0]) if may_stall else None
                    continue
                if kind == "event":
                    if on_stage is not None:
                        on_stage(rest[0])
                    continue
                value, self.peak_rss_bytes = rest
                if isinstance(value, EngineOutOfMemory):
                    raise self._out_of_memory()
                if kind == "error":
                    raise value
                return value
        except (EOFError, ConnectionError):
            raise self._post_mortem() from None

    def again(self, limits: Limits, should_stop: ShouldStop | None) -> Child:
        """The same child for another call, with a deadline of its own."""
        self._limits, self._should_stop = limits, should_stop
        self._deadline = time.monotonic() + limits.deadline_s
        return self

    def _wait(self) -> None:
        """Returns when the child has said something, or kills it."""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise EngineTimeout(
                    f"the proof engine did not finish within {self._limits.deadline_s:g} s"
                )
            if self._should_stop is not None and self._should_stop():
                raise Canceled
            pause = min(left, _POLL_S) if self._should_stop is not None else left
            if self._watch is not None:
                if self._watch.stalled():
                    raise EngineStalled
                pause = min(pause, stall.LOOK_S)
            # poll, not select: a busy service may hold more than 1 024 descriptors
            poll = select.poll()
            poll.register(self._wires.calls, select.POLLIN)
            if poll.poll(pause * 1000):
                return

    def _post_mortem(self) -> ZkmlError:
        """Why the child is gone."""
        self._wires.status.settimeout(10)
        try:
            line = self._wires.status.makefile("rb").readline()
        except OSError:
            line = b""
        if not line:
            return EngineKilled("the proof engine's server process ended")
        end = json.loads(line)
        if "errno" in end:
            return _not_started(end["errno"])
        code = os.waitstatus_to_exitcode(end["status"])
        self._wires.stderr.seek(0)
        said = self._wires.stderr.read()[-4000:]
        if any(sign in said for sign in _OUT_OF_MEMORY):
            return self._out_of_memory()
        if -code in _FROM_OUTSIDE:
            return EngineKilled()
        if code < 0:
            name = signal.Signals(-code).name
            return EngineError(f"the proof engine crashed with {name}", signal=name)
        return EngineError(f"the proof engine ended unexpectedly with exit code {code}")

    def _out_of_memory(self) -> EngineOutOfMemory:
        gib = self._limits.memory_bytes / (1 << 30)
        return EngineOutOfMemory(
            f"the proof engine needed more than its limit of {gib:.2f} GiB",
            limit_bytes=self._limits.memory_bytes,
        )


class _ForkServer:
    """The parent's end of the fork server: started when it is first needed, again when it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        atexit.register(self.close)

    def start(self, loads: Sequence[str] = ()) -> None:
        with self._lock:
            self._ensure(loads)

    def order(self, order: bytes, fds: list[int]) -> None:
        """Sends one order. Raises ``EngineKilled`` when no server can be had."""
        with self._lock:
            for attempt in (1, 2):  # the server may have died since it was last used
                try:
                    socket.send_fds(self._ensure(), [order], fds)
                    return
                except ConnectionError:
                    self._drop()
                    if attempt == 2:
                        raise EngineKilled("the proof engine's server does not start") from None

    def close(self) -> None:
        with self._lock:
            self._drop()
        atexit.unregister(self.close)

    def _ensure(self, loads: Sequence[str] = ()) -> socket.socket:
        if self._orders is not None and self._server is not None and self._server.poll() is None:
            return self._orders
        self._drop()
        ours, theirs = _blocking_pair(socket.SOCK_SEQPACKET)
        env = {
            **isolation.clean_environment(os.environ),
            "RUST_BACKTRACE": "0",
            # From 1.29 on it reports model names and hashes to its maker unless told not to.
            "ORT_DISABLE_TELEMETRY": "1",
            # One BLAS thread: a forked copy of a pool of threads would not run.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "circuits.engine.forkserver", str(theirs.fileno()), *loads],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=env,
            )
        self._orders = ours
        return ours

    def _drop(self) -> None:
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._server is not None:
            self._server.send_signal(forkserver.END_SIGNAL)
            try:
                self._server.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None


class _Kept:
    """One child for calls that share what it remembers, started again where one has failed."""

    def __init__(self, limits: Limits) -> None:
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._child: Child | None = None
        # Seconds of processor time count from its beginning, deadlines from each call.
        self._limits = replace(limits, deadline_s=_KEPT_CALLS * limits.deadline_s)

    def call(self, sandbox: Sandbox, function: str, args: Sequence[Any], limits: Limits) -> Any:
        """One call in it; in a child of its own where another thread calls."""
        if not self._lock.acquire(blocking=False):
            return sandbox.call(function, *args, limits=limits)
        try:
            used = self._child is not None
            try:
                return self._call(sandbox, function, args, limits)
            except EngineOutOfMemory:
                if not used:
                    raise
                return self._call(sandbox, function, args, limits)  # what it remembered took room
        finally:
            self._lock.release()

    def _call(self, sandbox: Sandbox, function: str, args: Sequence[Any], limits: Limits) -> Any:
        try:
            if self._child is None:
                session = sandbox.session(self._limits, loads=function.partition(":")[0])
                self._child = self._stack.enter_context(session)
            return self._child.again(limits, sandbox.should_stop).call(function, *args)
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """Ends the child; what another thread still has it do ends it with an error."""
        if self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _drop(self) -> None:
        self._child = None
        self._stack.close()


class Sandbox:
    """Forks engine children. One per process is enough; safe to use from several threads."""

    def __init__(self, *, nice: int = 5, keeps: Limits | None = None) -> None:
        """``keeps``: as in ``keeping``, for as long as the sandbox is open."""
        self._nice = nice
        self._server = _ForkServer()
        self.should_stop: ShouldStop | None = None
        self._kept = None if keeps is None else _Kept(keeps)

    def start(self, *loads: str) -> None:
        """Starts the fork server without waiting for it; ``session`` does so by itself. ``loads``:
        the only modules that it loads before it is asked, instead of what all calls need."""
        self._server.start(loads)

    def configured(self, *, nice: int, keeps: Limits) -> Sandbox:
        """This sandbox, perhaps started already, with settings that were read since. Closing either
        closes both."""
        view = copy.copy(self)
        view._nice, view._kept = nice, _Kept(keeps)
        return view

    def until(self, should_stop: ShouldStop) -> Sandbox:
        """This sandbox for work that may be told to stop: every call of it, even one that has no
        such argument, ends with ``Canceled`` once ``should_stop`` says so.

        The fork server is shared, so closing either closes both.
        """
        view = copy.copy(self)
        view.should_stop = _either(self.should_stop, should_stop)
        return view

    @contextlib.contextmanager
    def keeping(self, limits: Limits) -> Iterator[Sandbox]:
        """This sandbox with one child, of these limits, for all that is only computed in the block
        (``run`` and ``compute``), so that what one call has parsed serves the next. All must be
        about one model: it could tamper with the others."""
        if self._kept is not None:
            yield self
            return
        view = copy.copy(self)
        view._kept = kept = _Kept(limits)
        try:
            yield view
        finally:
            kept.close()

    @contextlib.contextmanager
    def session(
        self,
        limits: Limits,
        should_stop: ShouldStop | None = None,
        *,
        reads: Iterable[Path] = (),
        writes: Iterable[Path] = (),
        loads: str | None = None,
    ) -> Iterator[Child]:
        """One child for several calls; it is gone when the block ends, however it ends.

        ``loads`` is the module that they are of, if that may take long to import.
        ``reads`` are the files and folders that its calls read, ``writes`` the folders that they
        write: it sees no others (``circuits.engine.isolation``).
        """
        calls, calls_end = _blocking_pair()
        status, status_end = _blocking_pair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(calls)
            stack.enter_context(status)
            stderr = stack.enter_context(tempfile.TemporaryFile())
            order = {
                "nice": self._nice,
                "memory_bytes": limits.memory_bytes,
                "threads": limits.threads,
                "cpu_s": limits.deadline_s * (os.cpu_count() or 1),
                "reads": [str(path.absolute()) for path in reads],
                "writes": [str(path.absolute()) for path in writes],
                "loads": loads,
            }
            with calls_end, status_end:
                fds = [calls_end.fileno(), status_end.fileno(), stderr.fileno()]
                self._server.order(json.dumps(order).encode(), fds)
            stop = _either(self.should_stop, should_stop)
            yield Child(_Wires(calls, status, stderr), limits, stop)

    def call(
        self,
        function: str,
        *args: Any,
        limits: Limits,
        on_stage: OnStage | None = None,
        should_stop: ShouldStop | None = None,
        reads: Iterable[Path] = (),
        writes: Iterable[Path] = (),
    ) -> Any:
        """One call in a child of its own; see ``session`` and ``Child.call``."""
        module = function.partition(":")[0]
        with self.session(limits, should_stop, reads=reads, writes=writes, loads=module) as child:
            return child.call(function, *args, on_stage=on_stage)

    def run(
        self, limits: Limits, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One call of a function that this process has imported, by its place in a module."""
        assert not kwargs, "arguments of calls have places"
        result: T = self.compute(
            f"{function.__module__}:{function.__qualname__}", *args, limits=limits
        )
        return result

    def compute(self, function: str, *args: Any, limits: Limits) -> Any:
        """One call that reads and writes no file, nor has the engine work."""
        if self._kept is not None:
            return self._kept.call(self, function, args, limits)
        return self.call(function, *args, limits=limits)

    def close(self) -> None:
        """Kills all children and the server."""
        self._server.close()
        if self._kept is not None:
            self._kept.close()


def _blocking_pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that block, whatever the process's default timeout is: Celery sets one
    while a worker stops, and a child would not wait for its parent then."""
    pair = socket.socketpair(socket.AF_UNIX, kind)
    for end in pair:
        end.setblocking(True)
    return pair


def _not_started(number: int) -> ZkmlError:
    """Why the server could not make a child."""
    error = OSError(number, os.strerror(number))
    if is_of_full_disk(error):
        return StorageFull()
    return EngineKilled(f"the proof engine's process cannot be started: {error.strerror}")


def _either(first: ShouldStop | None, second: ShouldStop | None) -> ShouldStop | None:
    if first is None or second is None:
        return first or second
    return lambda: first() or second()
