"""``zkml bench``: the benchmark harness, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import typer


def bench(context: typer.Context) -> int:
    """Measure this project, EZKL's defaults and peers side by side (`zkml bench --help`)."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks", *context.args])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the harness got the same Ctrl-C and is cleaning up
