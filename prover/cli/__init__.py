"""The ``zkml`` command: one module for each group of subcommands; ``terminal`` speaks."""

from __future__ import annotations

import atexit
import gc
import os
import sys

#: Objects made between two looks for garbage. Imports make many objects and no garbage: at Python's
#: own 700 a tenth of a command's start is spent on looking.
_COLLECT_AFTER = 50_000


def main() -> None:
    """Entry point of the console script."""
    gc.set_threshold(_COLLECT_AFTER)
    atexit.register(gc.freeze)  # the end of a process needs no look for garbage either
    # Else pydantic looks through every installed distribution for plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if sys.argv[1:2] in (["prove"], ["verify"]):
        from prover.cli.engine import LOADS, SANDBOX

        SANDBOX.start(*LOADS[sys.argv[1]])  # the engine loads beside this process's own imports
    from prover.cli.root import main as run

    run()
