"""Three hosts on this machine: network namespaces, each with its own loopback, name, disk and
clock, on one bridge with the services that they share. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from prover.host.redis_server import find_redis_server

#: Where the shared services are: an address that no host is.
SERVICES = "10.231.77.1"
_BRIDGE, _MASK = "zkml-br", "24"
#: What a host's worker runs, where nothing else is asked for.
_WORKER = ("-m", "workers")


def may_make_hosts() -> bool:
    """Whether namespaces and links can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = ["unshare", "-n", "-u", "-m", "ip", "link", "add", "probe0", "type", "veth"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


@dataclass(kw_only=True)
class Host:
    """One host. Its processes see the others through one link, which can be cut."""

    name: str
    address: str
    folder: Path  # where its own disk is mounted, for its processes alone
    faults: Path  # what is wrong with its clock and store (``tests/chaos/worker.py``)
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start_worker(self, environment: dict[str, str], arguments: Sequence[str] = _WORKER) -> None:
        """A worker, or what Python makes of ``arguments``, that sees this host's network, name and
        disk only."""
        script = (
            'hostname "$0" && mount -t tmpfs -o size=1g none "$1" && mkdir "$1/tmp"'
            ' && shift && exec "$@"'
        )
        inside = ["unshare", "-u", "-m", "sh", "-c", script, self.name, str(self.folder)]
        command = ["ip", "netns", "exec", self.name, *inside, sys.executable, *arguments]
        own = {
            "ZKML_HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "ZKML_CHAOS_FAULTS": str(self.faults),
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, env=environment | own, stdout=out, stderr=out)

    def stop(self) -> None:
        """Ends its worker."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def cut_off(self) -> None:
        _ip("link", "set", f"{self.name}-br", "down")

    def heal(self) -> None:
        _ip("link", "set", f"{self.name}-br", "up")

    def set_clock(self, seconds: float) -> None:
        (self.faults / "clock").write_text(str(seconds))


@contextlib.contextmanager
def hosts(folder: Path, count: int = 3) -> Iterator[list[Host]]:
    """The hosts and their bridge; nothing of them is left after the block."""
    made = []
    with contextlib.ExitStack() as stack:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", _BRIDGE)
        _ip("addr", "add", f"{SERVICES}/{_MASK}", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for number in range(1, count + 1):
            name = f"zkml-h{number}"
            host = Host(
                name=name,
                address=SERVICES.removesuffix("1") + str(10 + number),
                folder=folder / name,
                faults=folder / f"{name}-faults",
                log=folder / f"{name}.log",
            )
            host.folder.mkdir()
            host.faults.mkdir()
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            outer, inner = f"{name}-br", f"{name}-in"
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            stack.callback(_ip, "link", "del", outer)
            _ip("link", "set", outer, "master", _BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"{host.address}/{_MASK}", "dev", inner)
            for device in ("lo", inner):
                _ip("-n", name, "link", "set", device, "up")
            stack.callback(host.stop)
            made.append(host)
        yield made


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def shared_redis(folder: Path) -> Iterator[str]:
    """A Redis that listens on the bridge; its URL."""
    folder.mkdir()
    port = 26379
    options = ["--bind", SERVICES, "--port", str(port), "--protected-mode", "no", "--save", ""]
    process = subprocess.Popen(
        [str(find_redis_server()), *options, "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    url = f"redis://{SERVICES}:{port}/0"
    try:
        with redis.Redis.from_url(url) as client:
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
