"""``zkml worker --once``: runs one job and exits. For Kubernetes Jobs and batch systems, which
manage processes themselves; it needs the store but no queue."""

from __future__ import annotations

import os
import secrets
import signal
import socket

import structlog

from prover.logs import configure_logs
from prover.settings import Settings
from workers.runner import OpenRunner, open_app
from workers.stopping import Stopping

_log = structlog.get_logger("zkml.worker")


def serve_once(settings: Settings, open_runner: OpenRunner = open_app) -> bool:
    """Runs the next job in order; returns whether there was one. Jobs that it queues (the packs of
    a batch) are left to others. SIGTERM and SIGINT work as for a long-running worker.

    Raises ``ZkmlError`` when it cannot start.
    """
    settings.prepare()
    configure_logs(settings, quiet=("alembic", "httpx"))
    stopping = Stopping(settings.stop_grace_s)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.request())
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    runner = open_runner(settings)
    try:
        waits = runner.waiting(owner)
        done = None if waits is None else runner.run_turn(waits, owner, stopping)
        _log.info("worker_done", job=done)
        return done is not None
    finally:
        runner.close()
