"""``zkml remote``: execs the client of a remote service (``api.client``)."""

from __future__ import annotations

import os
import sys

import typer


def remote(context: typer.Context) -> None:
    """Use a remote service: upload, prove, wait, fetch, verify locally (`zkml remote --help`)."""
    os.execv(sys.executable, [sys.executable, "-m", "api.client", *context.args])  # noqa: S606
