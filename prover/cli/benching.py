"""``zkml bench`` and ``zkml demo``: this process execs the separate programs."""

from __future__ import annotations

import os
import sys

import typer


def bench(context: typer.Context) -> None:
    """Benchmark this project against EZKL's defaults and peers (`zkml bench --help`)."""
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *context.args])  # noqa: S606


def demo() -> None:
    """Serve, upload, prove, verify and tamper, once, in a temporary folder."""
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.demo"])  # noqa: S606
