"""``zkml remote``: this client as a command line."""

from __future__ import annotations

import functools

from api.client import operations
from prover.cli.root import run

if __name__ == "__main__":
    run(lambda: functools.partial(operations.app, prog_name="zkml remote"))
