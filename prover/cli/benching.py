"""``zkml bench`` and ``zkml demo``: programs of their own, which this one becomes."""

from __future__ import annotations

import os
import sys

import typer


def bench(context: typer.Context) -> None:
    """Measure this project, EZKL's defaults and peers side by side (`zkml bench --help`)."""
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *context.args])  # noqa: S606


def demo() -> None:
    """Serve, upload, prove, verify and tamper, once, in a temporary folder."""
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.demo"])  # noqa: S606
