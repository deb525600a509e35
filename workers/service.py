"""A worker process from start to end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import warnings
from typing import Any

import structlog
from celery import signals
from celery.platforms import SecurityWarning

from prover.admission import NOTIFY, Place, Sizing
from prover.logs import configure_logs
from prover.settings import Settings
from prover.store import Store
from prover.webhooks.deliverer import Deliverer
from prover.webhooks.sender import Sender
from workers.celery_app import make_celery
from workers.runner import OpenRunner, open_app
from workers.stopping import Activity, Stopping
from workers.sweep import Sweep
from workers.tasks import announcer, register
from workers.watchdog import Watchdog

#: The time a starving worker has for an orderly stop, in seconds.
_BITE_S = 10.0
_log = structlog.get_logger("zkml.worker")


def serve(settings: Settings, open_runner: OpenRunner = open_app) -> int:
    """Works until SIGTERM or SIGINT; returns the process's exit status.

    At the first signal the worker claims no more jobs. Jobs that end within ``stop_grace_s`` are
    finished, the others are requeued for other workers; a second signal requeues them at once.
    After SIGKILL the leases expire, so nothing is lost. A starving worker (``watchdog``) exits with
    status 3, to be restarted.
    Raises ``ZkmlError`` when it cannot start.
    """
    settings.prepare()
    configure_logs(settings, quiet=("celery", "kombu", "amqp", "redis", "httpx", "alembic"))
    # Celery warns about root because of pickled messages; here only JSON is accepted.
    warnings.simplefilter("ignore", SecurityWarning)
    stopping = Stopping(settings.stop_grace_s)
    activity = Activity()
    starved, stopped = threading.Event(), threading.Event()
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    app = make_celery(settings)
    with Store.open(
        settings.database_url,
        max_attempts=settings.max_attempts,
        quarantine_after=settings.quarantine_after,
        quota=settings.quota,
        sizing=Sizing.of(settings),
    ) as opened:
        store = opened.every_tenant()
        runner = open_runner(settings)
        runner.announce = announcer(app, store)
        sweep = Sweep(app, store, runner, settings.sweep_s, settings.housekeeping_s)

        webhooks = Deliverer(
            store.every_tenant(), Sender(allow_private=settings.webhooks_allow_private)
        )

        def bite() -> None:
            starved.set()
            os.kill(os.getpid(), signal.SIGTERM)
            if not stopped.wait(_BITE_S):  # a hanging worker may not react to signals either
                os._exit(3)

        place = Place.of(settings, owner)
        watchdog = Watchdog(
            lambda: store.waiting_turn(place) is not None, activity, settings.starving_s, bite
        )

        # Celery keeps weak references, so these must live as long as the worker.
        def on_ready(**_: Any) -> None:
            sweep.start()
            watchdog.start()
            if NOTIFY in settings.classes:
                webhooks.start()
            _log.info("worker_ready", owner=owner, concurrency=settings.worker_concurrency)

        def on_stopping(**_: Any) -> None:
            stopping.request()

        def on_logging(**_: Any) -> None:
            """Without this handler Celery would set the root logger to WARNING."""

        try:
            register(app, runner, store, place, stopping, activity, webhooks.wake)
            signals.worker_ready.connect(on_ready)
            signals.worker_shutting_down.connect(on_stopping)
            signals.setup_logging.connect(on_logging)
            worker = app.Worker(
                queues=[size.value for size in place.sizes] or [NOTIFY],
                hostname=f"zkml@{owner}",
                quiet=True,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            )
            worker.start()
            return 3 if starved.is_set() else int(worker.exitcode or 0)
        finally:
            stopped.set()
            stopping.at_once()
            watchdog.stop()
            sweep.stop()
            webhooks.stop()
            runner.close()
            app.close()
            _log.info("worker_stopped", owner=owner)
