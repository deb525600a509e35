"""``zkml up``, ``zkml api``, ``zkml worker``: the service's processes."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from prover.cli import options
from prover.cli.terminal import EXIT_INTERRUPTED, Terminal
from prover.logs import configure_logs
from prover.settings import Settings

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: a free one.")]


def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    as_json: options.Json = False,
) -> int:
    """Start everything: Redis (unless ZKML_REDIS_URL is set), the API and workers."""
    from prover.host.supervisor import Supervisor

    terminal = Terminal(as_json)
    settings = Settings.load()
    configure_logs(settings)
    with Supervisor(settings, host=host, port=port, workers=workers) as supervisor:
        url = supervisor.start()
        if supervisor.stopping:
            return EXIT_INTERRUPTED
        terminal.line(f"zkml is up at {url} (docs at {url}/docs). Press Ctrl-C to stop.")
        terminal.object({"ok": True, "url": url, "redis": supervisor.redis_url})
        sys.stdout.flush()
        supervisor.wait()
    terminal.err.print("zkml is down.")
    return 0


def api(host: Host = "127.0.0.1", port: Port = 8000, as_json: options.Json = False) -> None:
    """Serve only the HTTP API."""
    _become("api", "--host", host, "--port", str(port), terminal=Terminal(as_json))


def worker(
    once: Annotated[
        bool, typer.Option("--once", help="Run one waiting job, if any, then exit.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run one worker (ZKML_REDIS_URL names the queue; --once needs none)."""
    _become("workers", *(["--once"] if once else []), terminal=Terminal(as_json))


def _become(module: str, *args: str, terminal: Terminal) -> NoReturn:
    """Replaces this process by the package's entry point, which handles signals itself.

    Logs go to stderr, so with ``--json`` stdout holds one object: the process.
    """
    terminal.object({"ok": True, "process": module, "pid": os.getpid()})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *args])  # noqa: S606
