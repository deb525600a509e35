"""A step of a measurement as a process of its own: one JSON object on stdout, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import Fault, ZkmlError
from prover.settings import Settings


@cache
def own_settings() -> Settings:
    """Not at import: what is wrong with them is to be told like any other error."""
    return Settings.load(redis_url=None)


@cache
def step_limits() -> Limits:
    """The harness has the deadline; memory as the service has it."""
    return Limits(deadline_s=3600, memory_bytes=own_settings().engine_limits.memory_bytes)


def run_step(
    steps: Mapping[str, Callable[..., dict[str, Any]]], step: str, work: str, *arguments: str
) -> int:
    """Runs ``steps[step](engine, work, *arguments)`` and prints what it gives, or the problem.

    Exit status: 0, 2 for what the model or its input brought about, 3 for what this program or the
    machine did.
    """
    sandbox = Sandbox()
    try:
        print(json.dumps(steps[step](EzklEngine(sandbox), Path(work), *arguments)))
    except ZkmlError as error:
        print(json.dumps({"problem": error.problem()}))
        return 3 if error.fault in (Fault.OURS, Fault.BUSY) else 2
    finally:
        sandbox.close()
    return 0
