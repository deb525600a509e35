"""A worker as the real one, whose clock is off and whose artifact store fails as the files in the
folder ``ZKML_CHAOS_FAULTS`` say: run as a script by the chaos suite.

``clock-PID``, or ``clock`` for all: seconds that the wall clock is off. ``store``: ``fail`` or
``slow``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import GenericError

import prover.store
from prover.settings import Settings
from prover.store.database import utc_now
from workers.service import serve

FAULTS = Path(os.environ.pop("ZKML_CHAOS_FAULTS"))
_SLOW_S = 1.5


def _said(name: str) -> str:
    try:
        return (FAULTS / name).read_text()
    except FileNotFoundError:
        return ""


def off_clock() -> datetime:
    return utc_now() + timedelta(
        seconds=float(_said(f"clock-{os.getpid()}") or _said("clock") or 0)
    )


def failing(call: Callable[..., Any]) -> Callable[..., Any]:
    def maybe(*args: Any, **kwargs: Any) -> Any:
        match _said("store"):
            case "fail":
                raise GenericError("the store fails, as it was told to")
            case "slow":
                time.sleep(_SLOW_S)
        return call(*args, **kwargs)

    return maybe


if __name__ == "__main__":
    prover.store.Store.open.__func__.__kwdefaults__["clock"] = off_clock  # type: ignore[attr-defined]
    for name in ("put", "get", "head", "delete"):
        setattr(obstore, name, failing(getattr(obstore, name)))
    sys.exit(serve(Settings.load()))
