"""The ``zkml`` command: one module for each group of subcommands; ``terminal`` speaks."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script."""
    if sys.argv[1:2] == ["verify"]:
        from prover.cli.engine import SANDBOX

        SANDBOX.start()  # the engine loads beside the imports of the command line
    from prover.cli.root import main as run

    run()
