"""The server that engine children are forked from: ``python -m circuits.engine.forkserver FD
[MODULE]...``, which loads these modules, or all that the engine's calls need, before it serves.

It imports the engine once and then only forks, so a call costs milliseconds instead of an
interpreter's start. One socket (``FD``) takes orders; each order carries three descriptors: the
child's *session* socket, its *status* socket and its stderr.

* The child serves calls on the session socket until it is closed (``circuits.engine.session``).
* The server keeps the status socket. When the child ends it writes one JSON line,
  ``{"status": waitstatus}``; if there could be no child, ``{"errno": number}``. When the other side
  closes it first, the child is killed: that is how a parent kills, and what happens by itself when
  the parent dies.
* An order may name the module that its call is of: while no child runs the server imports it, so
  that this child and all later ones begin with it.
* Each child has a scratch folder, its working directory and home, removed when the child has ended.
  What a killed server left behind is removed by the next one: it may hold a private witness.
* ``isolation`` has the walls around server and children.

Why not ``multiprocessing``'s forkserver: docs/decisions/0001-forkserver.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from circuits.engine import isolation

#: Loaded before it serves, unless others are named.
PRELOAD = (
    "circuits.engine.calls",
    "circuits.engine.constants",
    "circuits.engine.layout_checks",
    "circuits.engine.given",
)
#: Loaded, unless others are named, once there is nothing to do: calls of these work at once, and
#: fast after that.
LATER = (
    "circuits.calibration.reference",
    "onnxruntime",
    "circuits.compiler.inspect",
    "circuits.cost.by_layer",
    "circuits.plan.graphs",
)
_IDLE_S = 0.3
#: What the parent sends when it wants no more: an import is left in the middle.
END_SIGNAL = signal.SIGUSR1
#: An order names the files that its child may see.
ORDER_BYTES = 1 << 16
_SCRATCH_PREFIX = "zkml-engine-"


@dataclass
class _Child:
    pid: int
    status: socket.socket
    scratch: str


class _Ended(BaseException):
    """The parent is done, or gone."""


class _Server:
    def __init__(self, orders: socket.socket, without_network: bool, later: Sequence[str]) -> None:
        self._importing = False
        signal.signal(END_SIGNAL, self._end)
        self._orders = orders
        self._without_network = without_network
        self._scratch, self._scratch_lock = _scratch_root()
        self._children: dict[int, _Child] = {}
        self._later = list(later)
        self._selector = selectors.DefaultSelector()
        self._selector.register(orders, selectors.EVENT_READ)
        self._wake, wake_end = socket.socketpair()
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        self._wake_end = wake_end
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A terminal's Ctrl-C reaches the whole group, a service manager's SIGTERM every process;
        # what they mean for us, the parent decides.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> None:
        try:
            self._serve()
        except _Ended:
            self._stop()

    def _serve(self) -> None:
        while True:
            idle = bool(self._later) and not self._children
            ready = self._selector.select(_IDLE_S if idle else None)
            if idle and not ready:
                self._load(self._later.pop(0))
            for key, _ in ready:
                if key.fileobj is self._orders:
                    if not self._take_order():
                        self._stop()
                        return
                elif key.fileobj is self._wake:
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(4096)
                else:
                    self._hung_up(key.data)
            self._reap()

    def _load(self, name: str) -> None:
        """Imports a module for all children to come; the child whose call needs it says what is
        wrong with one that cannot be imported."""
        self._importing = True
        with contextlib.suppress(Exception):
            importlib.import_module(name)
        self._importing = False
        gc.freeze()

    def _end(self, *_: object) -> None:
        """The orders' end says it too, but is not read during an import."""
        if self._importing:
            raise _Ended

    def _take_order(self) -> bool:
        """Forks one child; false when the parent is gone."""
        data, fds, _, _ = socket.recv_fds(self._orders, ORDER_BYTES, 3)
        if not data:
            return False
        order = json.loads(data)
        session, status, stderr = fds
        loads = order["loads"]
        if loads is not None and loads not in sys.modules and not self._children:
            self._load(loads)
        try:
            scratch = tempfile.mkdtemp(dir=self._scratch)
            pid = os.fork()
        except OSError as error:  # a full disk, too many processes: that is one child's end
            os.close(session)
            os.close(stderr)
            with socket.socket(fileno=status) as sock, contextlib.suppress(OSError):
                sock.sendall(json.dumps({"errno": error.errno}).encode() + b"\n")
            return True
        if pid == 0:
            os.close(status)
            self._become_child(order, session, stderr, scratch)
        os.close(session)
        os.close(stderr)
        child = _Child(pid, socket.socket(fileno=status), scratch)
        self._children[pid] = child
        self._selector.register(child.status, selectors.EVENT_READ, child)
        return True

    def _become_child(
        self, order: dict[str, Any], session: int, stderr: int, scratch: str
    ) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(END_SIGNAL, signal.SIG_DFL)
            isolation.die_with_parent()
            os.setsid()  # a group of its own, killed as a whole
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.dup2(stderr, 2)
            isolation.close_descriptors({0, 1, 2, session})
            os.chdir(scratch)
            for name in ("EZKL_REPO_PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME"):
                os.environ[name] = scratch
            tempfile.tempdir = None  # remembered from the server
            if order["threads"]:  # read when the engine first works
                os.environ["RAYON_NUM_THREADS"] = str(order["threads"])
            # A model is a million objects that live as long as the call: looking through them again
            # and again takes a quarter of its time.
            gc.set_threshold(200_000, 50, 100)
            os.nice(order["nice"])
            isolation.limit(
                memory_bytes=order["memory_bytes"], cpu_s=order["cpu_s"], cores=os.cpu_count() or 1
            )
            from circuits.engine import session as sessions

            sessions.written = [scratch, *order["writes"]]
            sessions.standing = {
                "network": self._without_network,
                **isolation.wall_in(order["reads"], [scratch, *order["writes"]]),
            }
            with socket.socket(fileno=session) as sock:
                sessions.serve(sock)
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            # No atexit handlers, no destructors: they belong to the server.
            os._exit(code)

    def _hung_up(self, child: _Child) -> None:
        """The parent closed its end: it does not want this child any more."""
        self._selector.unregister(child.status)
        _kill(child)

    def _reap(self) -> None:
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            self._forget(pid, status, usage.ru_maxrss)

    def _forget(self, pid: int, status: int, maxrss: int) -> None:
        child = self._children.pop(pid)
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.status)
        shutil.rmtree(child.scratch, ignore_errors=True)
        line = json.dumps({"status": status, "maxrss_kib": maxrss}).encode() + b"\n"
        with contextlib.suppress(OSError):
            child.status.sendall(line)
        child.status.close()

    def _stop(self) -> None:
        for child in list(self._children.values()):
            _kill(child)
        while self._children:
            pid, status, usage = os.wait4(-1, 0)
            self._forget(pid, status, usage.ru_maxrss)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _scratch_root() -> tuple[Path, int]:
    """A new folder for this server's children, and the descriptor whose lock says it is in use."""
    sweep_scratch()
    while True:
        root = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
        try:
            lock = os.open(root, os.O_RDONLY)
        except FileNotFoundError:  # another server took it for a stale one
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.exists():
            return root, lock
        os.close(lock)  # the same, before it was locked


def sweep_scratch() -> None:
    """Removes the folders of servers that were killed: theirs are locked by nobody."""
    for stale in Path(tempfile.gettempdir()).glob(_SCRATCH_PREFIX + "*"):
        with contextlib.suppress(OSError):  # in use, another user's, or gone already
            lock = os.open(stale, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale, ignore_errors=True)
            finally:
                os.close(lock)


def _kill(child: _Child) -> None:
    """Kills a child that is not reaped yet, with all that it may have started."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(child.pid, signal.SIGKILL)


def main() -> None:
    signal.signal(END_SIGNAL, signal.SIG_DFL)  # until there is a server, nothing is to be tidied
    orders = socket.socket(fileno=int(sys.argv[1]))
    without_network = isolation.without_network()  # now: it wants a process of one thread
    isolation.prepare()
    named = sys.argv[2:]
    for name in named or PRELOAD:
        importlib.import_module(name)
    gc.freeze()  # keeps the collector from touching, and so copying, pages shared with children
    _Server(orders, without_network, () if named else LATER).run()
    os._exit(0)  # the parent waits, and there is nothing to tear down


if __name__ == "__main__":
    main()
