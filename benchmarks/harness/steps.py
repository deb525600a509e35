"""A measured step as a separate process: one JSON object on stdout, and an exit status."""

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
    """The settings, loaded late so that invalid ones are reported like other errors."""
    return Settings.load(redis_url=None)


@cache
def step_limits() -> Limits:
    """The service's memory limit; the harness has the deadline."""
    return Limits(deadline_s=3600, memory_bytes=own_settings().engine_limits.memory_bytes)


def run_step(
    steps: Mapping[str, Callable[..., dict[str, Any]]], step: str, work: str, *arguments: str
) -> int:
    """Runs ``steps[step](engine, work, *arguments)`` and prints the result or the problem.

    Exit status: 0, 2 for errors of the model or its input, 3 for errors of this program or the
    machine.
    """
    sandbox = Sandbox()
    try:
        print(json.dumps(steps[step](EzklEngine(sandbox), Path(work), *arguments)))
    except ZkmlError as error:
        print(json.dumps({"problem": error.problem()}))
        return 3 if error.fault in (Fault.INTERNAL, Fault.BUSY) else 2
    finally:
        sandbox.close()
    return 0
