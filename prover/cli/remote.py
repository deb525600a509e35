"""``zkml remote``: the client of a service elsewhere, a program of its own (``api.client``)."""

from __future__ import annotations

import os
import sys

import typer


def remote(context: typer.Context) -> None:
    """Use a service elsewhere: upload, prove, wait, fetch, verify here (`zkml remote --help`)."""
    os.execv(sys.executable, [sys.executable, "-m", "api.client", *context.args])  # noqa: S606
