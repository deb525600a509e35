"""Builds take turns: one process of a machine builds a circuit, the others wait for it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from circuits.engine.port import ShouldStop
from circuits.errors import Canceled

_POLL_S = 0.1


@contextlib.contextmanager
def one_build_at_a_time(
    home: Path, circuit_id: str, should_stop: ShouldStop | None
) -> Iterator[Path]:
    """An empty folder to build one circuit in, for one process of this machine at a time.

    First removes the files of an earlier build that was killed. Raises ``Canceled`` when told to
    stop while another process builds.
    """
    folder = home / "tmp" / f"build-{circuit_id.replace(':', '-')}"
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The lock file stays. If it were removed, a waiting process and a later one would hold locks on
    # different files.
    with folder.with_suffix(".lock").open("w") as handle:
        while not _locked(handle):
            if should_stop is not None and should_stop():
                raise Canceled
            time.sleep(_POLL_S)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def load(module: str, should_stop: ShouldStop | None) -> None:
    """Imports a module that takes seconds to load, minutes on a busy machine. Raises ``Canceled``
    when told to stop; the import continues in the background."""
    thread = threading.Thread(target=importlib.import_module, args=(module,), daemon=True)
    thread.start()
    while thread.is_alive():
        if should_stop is not None and should_stop():
            raise Canceled
        thread.join(_POLL_S)


def _locked(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
