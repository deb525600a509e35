"""Children that end when their parent does, however it ended."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> Callable[[], object] | None:
    """What to pass ``subprocess.Popen`` as ``preexec_fn``: on Linux the child is sent SIGTERM when
    this *thread* dies, so start it from one that stays. Elsewhere None: nothing can be asked for.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
