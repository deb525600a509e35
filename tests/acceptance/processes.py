"""``zkml`` as its users run it: processes with a home of their own, always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.cases import tiny

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "benchmarks" / "demo" / "digits"
ZKML = str(Path(sys.executable).with_name("zkml"))
#: What every command here is told: reference strings made once for all homes (``conftest``), and
#: no timing of candidates, which the planner's own tests do.
DEFAULTS = {"ZKML_PLAN_EFFORT": "fast"}
#: Seconds after which a command hangs. Nothing here measures how fast the machine is.
HANGS_S = 300.0
#: Exit codes of every command.
YES, NO, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130


def environment(home: Path, **extra: str) -> dict[str, str]:
    """Nothing of the developer's own settings, and scratch folders that a test can look into."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ZKML_")}
    scratch = home.parent / f"{home.name}-tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return (
        kept | DEFAULTS | {"ZKML_HOME": str(home), "TMPDIR": str(scratch), "COLUMNS": "200"} | extra
    )


def scratch(home: Path) -> list[str]:
    """What a process with ``home`` left in its folder for temporary files."""
    return sorted(p.name for p in (home.parent / f"{home.name}-tmp").iterdir())


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; anything more or less there is an error."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = self.json["problem"]
        return problem


def zkml(home: Path, *args: str | Path, **env: str) -> Ended:
    """Runs a ``zkml`` command to its end. Whatever happens, there is no traceback."""
    done = subprocess.run(
        [ZKML, *map(str, args)],
        env=environment(home, **env),
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
        cwd=home.parent,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


class Workspace:
    """A folder with a home, a model, an input and a good bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.model = folder / "model.onnx"
        self.input = folder / "input.json"
        self.bundle = folder / "good.zkml"
        self.model.write_bytes(tiny.linear())
        self.input.write_text('{"inputs": {"x": [[1, -1, 2, 0]]}}')

    def zkml(self, *args: str | Path, **env: str) -> Ended:
        return zkml(self.home, *args, **env)

    def prove(self, *args: str | Path, **env: str) -> Ended:
        return self.zkml("prove", *args, "--json", **env)

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path


@dataclass(frozen=True, kw_only=True)
class Up:
    """A running ``zkml up``."""

    process: subprocess.Popen[str]
    url: str
    home: Path
    log: Path

    def children(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker(self) -> psutil.Process:
        """The worker process."""
        return _first(self.children(), "workers")

    def engine_children(self) -> list[psutil.Process]:
        """Processes forked to work from the worker's fork server."""
        servers = [p for p in self.worker().children() if "circuits.engine.forkserver" in _line(p)]
        return [child for server in servers for child in server.children()]


@contextmanager
def up(home: Path, *args: str, **env: str) -> Iterator[Up]:
    """``zkml up`` on a free port, until the block ends; nothing of it is left then."""
    log = home.parent / f"{home.name}.log"
    with log.open("a") as err:
        process = subprocess.Popen(
            [ZKML, "up", "--port", "0", "--json", *args],
            env=environment(home, **env),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield Up(process=process, url=json.loads(line)["url"], home=home, log=log)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Stops a process in order, and with force if that does not do it."""
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if process.poll() is None:
        process.terminate()
    try:
        process.communicate(timeout=HANGS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for left in psutil.wait_procs(below, timeout=300)[1]:
        left.send_signal(signal.SIGKILL)


def until(condition: Callable[[], object], within_s: float = HANGS_S) -> None:
    """Waits for something that must happen."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)


def gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether none of these runs any more."""
    return not any(map(_runs, processes))


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def _first(processes: Sequence[psutil.Process], module: str) -> psutil.Process:
    return next(p for p in processes if _line(p).endswith(f"-m {module}"))


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
