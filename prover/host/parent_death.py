"""Child processes that end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> Callable[[], object] | None:
    """A ``preexec_fn`` for ``subprocess.Popen``. On Linux the child gets SIGTERM when the *thread*
    that started it ends, so start it from a long-lived one. None on other systems.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
