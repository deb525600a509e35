"""``zkml bench``: the benchmark harness, which is a program of its own."""

from __future__ import annotations

import os
import sys

import typer


def bench(context: typer.Context) -> None:
    """Measure this project, EZKL's defaults and peers side by side (`zkml bench --help`)."""
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *context.args])  # noqa: S606
