"""The ``zkml`` command: one module for each group of subcommands; ``terminal`` speaks."""

from prover.cli.root import main

__all__ = ["main"]
