"""The processes of a service on one machine: start, watch, restart, stop together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from prover.errors import AddressUnusable, ServiceFailed
from prover.host.exposure import is_loopback, require_api_key
from prover.host.parent_death import end_with_parent
from prover.host.redis_server import RedisServer
from prover.logs import get_logger
from prover.settings import Settings
from prover.store import Store

READY_S = 60.0
STOP_S = 15.0
_LOOK_S = 0.2
#: The pause before a restart, doubled each time up to the maximum. A process that ran for the
#: third of these times gets the first pause again.
_RESTART_S, _RESTART_MAX_S, _SETTLED_S = 0.5, 10.0, 60.0
_log = get_logger("zkml.up")


@dataclass
class _Member:
    """A supervised process."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    restart_s: float = _RESTART_S
    restart_at: float = field(default=0.0)
    started_at: float = field(default=0.0)


class Supervisor:
    """Redis (unless one is configured), the API and workers, as child processes."""

    def __init__(self, settings: Settings, *, host: str, port: int, workers: int) -> None:
        self._settings = settings
        self._host = host
        self._port = port or _try_address(host, 0)
        self._redis: RedisServer | None = None
        self.redis_url = settings.redis_url
        module = [sys.executable, "-m"]
        self._members = [
            _Member("api", [*module, "api", "--host", host, "--port", str(self._port)]),
            *(_Member(f"worker {n}", [*module, "workers"]) for n in range(1, workers + 1)),
        ]
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """The API's URL on this machine."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "") else self._host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def stopping(self) -> bool:
        """Whether SIGINT or SIGTERM was received."""
        return self._stopping.is_set()

    def start(self) -> str:
        """Starts everything, waits until the API is ready and returns its URL; returns early if
        told to stop.

        Raises ``AddressUnusable``, ``ApiKeyNeeded``, ``ServiceFailed`` when a process ends during
        startup, and the errors of Redis.
        """
        self._settings.prepare()
        if not is_loopback(self._host):
            _try_address(self._host, self._port)
            with Store.open(self._settings.database_url) as store:
                require_api_key(store, self._host)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._told_to_stop())
        if self.redis_url is None:
            self._redis = RedisServer.start(self._settings.home / "redis")
            self.redis_url = self._redis.url
        _try_address(self._host, self._port)
        for member in self._members:
            self._spawn(member)
        self._wait_until_ready()
        return self.url

    def _told_to_stop(self) -> None:
        """The first signal starts the shutdown. A second one is passed on: workers then requeue
        their jobs at once."""
        if self._stopping.is_set():
            for member in self._members:
                if member.process is not None and member.process.poll() is None:
                    member.process.terminate()
        self._stopping.set()

    def wait(self) -> None:
        """Watches over the processes until SIGINT or SIGTERM."""
        while not self._stopping.wait(_LOOK_S):
            if self._redis is not None and not self._redis.is_alive():
                self._start_redis_again(self._redis)
            for member in self._members:
                self._look_after(member)

    def _start_redis_again(self, ended: RedisServer) -> None:
        """Restarts Redis with its data. Raises ``RedisFailed`` if it does not start,
        ``ServiceFailed`` if it would listen at another address than before."""
        _log.error("ended", process="redis-server")
        ended.stop()
        self._redis = RedisServer.start(self._settings.home / "redis")
        if self._redis.url != self.redis_url:
            raise ServiceFailed("redis-server ended", advice=f"See {self._redis_log()}.")

    def stop(self) -> None:
        """Stops everything, workers and API before the queue they need."""
        running = [m.process for m in self._members if m.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + STOP_S + self._settings.stop_grace_s
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._redis is not None:
            self._redis.stop()
            self._redis = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _redis_log(self) -> str:
        return str(self._settings.home / "redis")

    def _spawn(self, member: _Member) -> None:
        assert self.redis_url is not None
        member.started_at = time.monotonic()
        member.process = subprocess.Popen(
            member.command,
            env={**os.environ, "ZKML_REDIS_URL": self.redis_url},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,  # stdout is for the JSON object; Celery prints there on exit
            # Own process group: Ctrl-C reaches the supervisor, which stops children in order.
            start_new_session=True,
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - this process has one thread here
        )

    def _look_after(self, member: _Member) -> None:
        now = time.monotonic()
        if member.process is not None:
            code = member.process.poll()
            if code is None:
                return
            if now - member.started_at >= _SETTLED_S:
                member.restart_s = _RESTART_S
            _log.warning("ended", process=member.name, code=code, again_in_s=member.restart_s)
            member.process = None
            member.restart_at = now + member.restart_s
            member.restart_s = min(2 * member.restart_s, _RESTART_MAX_S)
        elif now >= member.restart_at:
            self._spawn(member)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self._stopping.is_set():
            for member in self._members:
                assert member.process is not None
                if (code := member.process.poll()) is not None:
                    raise ServiceFailed(
                        f"the {member.name} process ended with code {code} while starting",
                        advice="See its message above.",
                    )
            if _answers(f"{self.url}/readyz"):
                return
            if time.monotonic() > deadline:
                raise ServiceFailed(f"the API was not ready within {READY_S:.0f} s")
            time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own http URL
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _try_address(host: str, port: int) -> int:
    """Checks that the port can be bound and returns it (0: a free one), since another program on
    that port might respond instead of the API. Raises ``AddressUnusable``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            return int(listener.getsockname()[1])
    except OSError as error:
        raise AddressUnusable(f"cannot listen on {host} port {port}: {error.strerror}") from None
