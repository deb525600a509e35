"""The ``zkml`` command: one module for each group of subcommands; ``terminal`` speaks."""

from __future__ import annotations

import gc
import sys

#: Objects made between two looks for garbage. Imports make many objects and no garbage: at Python's
#: own 700 a tenth of a command's start is spent on looking.
_COLLECT_AFTER = 50_000


def main() -> None:
    """Entry point of the console script."""
    gc.set_threshold(_COLLECT_AFTER)
    if sys.argv[1:2] == ["verify"]:
        from prover.cli.engine import SANDBOX

        SANDBOX.start()  # the engine loads beside the imports of the command line
    from prover.cli.root import main as run

    run()
