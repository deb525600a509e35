"""Networks of hosts: several processes have some at once, and none of a killed process is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.servers.hosts import may_make_hosts, network
from tests.acceptance.processes import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_make_hosts(), reason="hosts are network namespaces: needs root"),
]

OTHER = """
import pathlib, sys
from benchmarks.servers.hosts import network
with network(pathlib.Path(sys.argv[1]), 1) as made:
    host = made.hosts[0]
    host.start_worker({}, ["-c", "import time; time.sleep(600)"])
    print(host.name, made.services, host.process.pid, flush=True)
    sys.stdin.read()
"""


def listed() -> str:
    return "".join(
        subprocess.run(["ip", *what], check=True, capture_output=True, text=True).stdout
        for what in (["netns", "list"], ["link"])
    )


def test_two_processes_have_networks_and_the_next_removes_those_of_a_killed_one(
    tmp_path: Path,
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert other.stdout is not None
        name, services, worker = other.stdout.readline().split()
        (tmp_path / "own").mkdir()
        with network(tmp_path / "own", 1) as own:
            assert own.services != services
            assert name in listed()
    finally:
        other.kill()
        other.communicate()
    assert name in listed()
    (tmp_path / "next").mkdir()
    with network(tmp_path / "next", 0):
        assert name not in listed()
    assert not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text()
