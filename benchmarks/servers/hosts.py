"""Three hosts on this machine: network namespaces, each with its own loopback, name, disk and
clock, on one bridge with the services that they share. Needs root.

Names contain the process id, so several processes can have hosts at once. What a killed process
left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from prover.host.redis_server import find_redis_server

#: Names of namespaces, and of links on this side: process id and number. Number 0 is the bridge.
_NAME = re.compile(r"zkml-(\d+)-\d")
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
        _ip("link", "set", self.name, "down")

    def heal(self) -> None:
        _ip("link", "set", self.name, "up")

    def set_clock(self, seconds: float) -> None:
        (self.faults / "clock").write_text(str(seconds))


@dataclass(frozen=True, kw_only=True)
class Network:
    """Hosts on one bridge. ``services``: the address on it of the services that they share."""

    services: str
    hosts: list[Host]


@contextlib.contextmanager
def network(folder: Path, count: int = 3) -> Iterator[Network]:
    """A bridge with hosts; nothing of them is left after the block."""
    _remove_leftovers()
    subnet, hosts = _free_subnet(), list[Host]()
    with contextlib.ExitStack() as stack:
        bridge = _name(0)
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(1, count + 1):
            name = _name(number)
            host = Host(
                name=name,
                address=f"{subnet}.{10 + number}",
                folder=folder / name,
                faults=folder / f"{name}-faults",
                log=folder / f"{name}.log",
            )
            host.folder.mkdir()
            host.faults.mkdir()
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            stack.callback(_ip, "link", "del", name)
            _ip("link", "set", name, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
            stack.callback(host.stop)
            hosts.append(host)
        yield Network(services=f"{subnet}.1", hosts=hosts)


def _name(number: int) -> str:
    return f"zkml-{os.getpid()}-{number}"


def _free_subnet() -> str:
    """The first three bytes of a network that this machine is not in."""
    taken = _ip("-4", "addr")
    return next(s for n in range(1, 255) if f" {(s := f'10.231.{n}')}." not in taken)


def _remove_leftovers() -> None:
    """Removes links, namespaces, and processes in these, of processes that have ended. One with
    this process's id had it earlier."""
    listed = {"netns": _ip("netns", "list"), "link": _ip("link")}
    for kind, text in listed.items():
        for name in {match[0] for match in _NAME.finditer(text) if _has_ended(int(match[1]))}:
            if kind == "netns":
                for pid in _ip("netns", "pids", name).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(subprocess.CalledProcessError):  # a link ends with its peer
                _ip(kind, "del", name)


def _has_ended(pid: int) -> bool:
    return pid == os.getpid() or not psutil.pid_exists(pid)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@contextlib.contextmanager
def shared_redis(folder: Path, address: str) -> Iterator[str]:
    """A Redis that listens on an address of the bridge; its URL."""
    folder.mkdir()
    port = 26379
    options = ["--bind", address, "--port", str(port), "--protected-mode", "no", "--save", ""]
    process = subprocess.Popen(
        [str(find_redis_server()), *options, "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    url = f"redis://{address}:{port}/0"
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
