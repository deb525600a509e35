"""A measured program: a new process, its wall time, its peak memory, and the JSON it prints."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import SampleFailed, SampleOutOfMemory, SampleTimeout

LAUNCHER = Path(__file__).parents[1] / "scripts" / "measured.py"
#: Characters kept of a program's stderr: a Python traceback has its reason at the end, one of
#: Node.js at the beginning.
_FIRST_SHOWN, _LAST_SHOWN = 150, 250
_until: ContextVar[float | None] = ContextVar("until", default=None)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The cost of one process.

    ``seconds`` runs from spawn to exit. ``output`` is the JSON object on its last line of stdout.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    returncode: int
    output: dict[str, Any]


@contextlib.contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Limits all programs that run inside the block to ``seconds``, whatever their deadline."""
    token = _until.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def run(
    command: Sequence[str],
    *,
    deadline_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    accept: tuple[int, ...] = (0,),
    wants_json: bool = True,
) -> Measured:
    """Runs ``command`` (its first word is an absolute path) and waits for it.

    Raises ``SampleTimeout`` at the deadline (the process group is killed), ``SampleOutOfMemory``
    when it was killed from outside, ``SampleFailed`` with the end of its stderr for an exit status
    not in ``accept`` or a last line that is not JSON. Without ``wants_json``, ``output`` is empty.
    """
    until, limit = _until.get(), ""
    if until is not None and until - time.monotonic() < deadline_s:
        deadline_s, limit = max(0.1, until - time.monotonic()), ", the rest of the run's time limit"
    with tempfile.TemporaryDirectory(prefix="zkml-bench-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(deadline_s), str(out), str(err)]
        stdout, stderr, returncode = _wait([*launcher, *command], cwd, env)
        if returncode != 0:
            raise SampleFailed(f"could not start {command[0]}: {_shortened(stderr)}")
        cost = json.loads(stdout)
        name = Path(command[0]).name + " " + " ".join(Path(word).name for word in command[1:3])
        if cost["timed_out"]:
            detail = f"{name} did not finish in {deadline_s:.0f} s{limit}"
            raise SampleTimeout(detail, deadline_s=deadline_s)
        said = err.read_text(errors="replace")
        if cost["returncode"] == -signal.SIGKILL:
            raise SampleOutOfMemory(
                f"{name} was killed at {cost['peak_rss_bytes'] / 1e9:.1f} GB",
                peak_rss_bytes=cost["peak_rss_bytes"],
            )
        if cost["returncode"] not in accept:
            said = said or out.read_text(errors="replace")
            raise SampleFailed(f"{name} ended with {cost['returncode']}: {_shortened(said)}")
        return Measured(
            seconds=cost["seconds"],
            cpu_seconds=cost["user_seconds"] + cost["system_seconds"],
            peak_rss_bytes=cost["peak_rss_bytes"],
            returncode=cost["returncode"],
            output=_last_object(out.read_text(errors="replace"), name) if wants_json else {},
        )


def _wait(
    command: list[str], cwd: Path | None, env: Mapping[str, str] | None
) -> tuple[str, str, int]:
    """Output, errors and status of the launcher. After an interruption the launcher lives only
    until it has killed the measured program."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        try:
            stdout, stderr = launcher.communicate()
        except BaseException:
            launcher.terminate()
            launcher.wait()
            raise
        return stdout, stderr, launcher.returncode


def _shortened(text: str) -> str:
    text = text.strip()
    if len(text) <= _FIRST_SHOWN + _LAST_SHOWN:
        return text
    return f"{text[:_FIRST_SHOWN]} … {text[-_LAST_SHOWN:]}"


def _last_object(text: str, name: str) -> dict[str, Any]:
    """The whole of stdout when it is one JSON object, else its last line."""
    for part in (text, text.strip().rpartition("\n")[2]):
        try:
            value = json.loads(part)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    raise SampleFailed(f"{name} printed no JSON object: {_shortened(text)!r}")
