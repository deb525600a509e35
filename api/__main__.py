"""Serves the HTTP API until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys

import structlog
import uvicorn

from api.application import create_app
from circuits.errors import Fault, ZkmlError
from prover.app import App
from prover.host.exposure import is_loopback, require_api_key
from prover.logs import configure_logs
from prover.settings import Settings

#: Loggers limited to warnings; ``api.requests`` logs requests.
QUIET = ("uvicorn", "httpx", "celery", "kombu", "sse_starlette", "alembic")

#: Seconds that current requests have to finish after the stop signal.
GRACE_S = 5


class CannotListen(ZkmlError):
    """The service cannot listen on this address."""

    code = "cannot_listen"
    fault = Fault.INPUT
    default_advice = "Choose another --host or --port."


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 2 for invalid arguments or settings, else 3."""
    args = _arguments(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the stop signal again at the end.
        signal.signal(number, lambda *_: sys.exit(0))
    # After arguments and signals: this is slow, and `--help` does not need it.
    from prover.app import App

    try:
        settings = Settings.load()
        configure_logs(settings, quiet=QUIET)
        with listen(args.host, args.port) as listener:
            app = App.open(settings)
            try:
                alone = is_loopback(listener.getsockname()[0])
                if not alone:
                    require_api_key(app.store, args.host)
                _serve(app, listener, allow_anonymous=alone)
            finally:
                app.close()
    except ZkmlError as exc:
        structlog.get_logger("zkml.api").error("cannot_serve", **exc.problem())
        return 3 if exc.fault in (Fault.INTERNAL, Fault.BUSY) else 2
    return 0


def _serve(app: App, listener: socket.socket, *, allow_anonymous: bool) -> None:
    config = uvicorn.Config(
        create_app(app, allow_anonymous=allow_anonymous),
        log_config=None,
        access_log=False,  # api.requests logs one line per request, with its id
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    host, port = listener.getsockname()[:2]
    log = structlog.get_logger("zkml.api")
    log.info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    if allow_anonymous and not app.store.has_api_keys():
        log.warning("no_api_key", meaning="every client on this machine has full access")
    # These objects stay alive: a garbage collection that scans them would delay every request
    # by 0.1 s.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket (port 0: a free one). Raises ``CannotListen``.

    The protocol is TCP explicitly: asyncio disables Nagle's algorithm only for such sockets, and
    with Nagle each response to a POST is 40 ms late.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as exc:
        raise CannotListen(f"Cannot listen on {host} port {port}: {exc}.") from None
    return listener


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default=os.environ.get("ZKML_HOST", "127.0.0.1"))
    parser.add_argument("--port", default=os.environ.get("ZKML_PORT", "8000"), type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
