"""Walls around engine children: a child that was taken over tries what an attacker would."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import EngineError, EngineTimeout
from prover.app import App
from prover.artifacts import Artifacts
from prover.records.job import JobKind
from prover.settings import Settings
from prover.testing import model_record

LIMITS = Limits(deadline_s=60, memory_bytes=2 << 30)
SECRET = "ZKML_TEST_SECRET_OF_THE_WORKER"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service's home with a signing key, a database, and the input of another job."""
    folder = tmp_path_factory.mktemp("isolation")
    app = App.open(Settings.load(home=folder))
    app.keys.signer()
    app.store.add_model(model_record())
    app.artifacts.put_private("somebody_elses_input", b"42")
    app.store.create_job(JobKind.PROOF, model_record().id, "c", {}, "somebody_elses_input")
    app.close()
    return folder


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET, "postgresql://user:password@host/db")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        own = Sandbox(nice=0)
        own.start()
        yield own
        own.close()


def does(sandbox: Sandbox, code: str, **options: Any) -> Any:
    """Runs an expression in a child, with ``os``, ``socket`` and ``Path`` at hand."""
    names = (
        "dict(os=__import__('os'), socket=__import__('socket'), Path=__import__('pathlib').Path)"
    )
    return sandbox.call("builtins:eval", f"eval({code!r}, {names})", limits=LIMITS, **options)


def test_all_kinds_of_isolation_work_here(sandbox: Sandbox) -> None:
    """This kernel and this environment have all of them; elsewhere `zkml doctor` says which."""
    walls = sandbox.call("circuits.engine.session:walls", limits=LIMITS)
    assert walls == {"network": True, "files": True, "calls": True}


def test_the_service_s_own_files_cannot_be_read_or_written(sandbox: Sandbox, home: Path) -> None:
    files = [p for p in home.rglob("*") if p.is_file()]
    names = {p.name for p in files}
    assert {"keyring.json", "zkml.db", "somebody_elses_input"} <= names
    assert any(p.suffix == ".pem" or "key" in p.name for p in files)
    for path in files:
        with pytest.raises(EngineError, match="Permission denied"):
            does(sandbox, f"Path({str(path)!r}).read_bytes()")
        with pytest.raises(EngineError, match=r"Permission denied|not permitted"):
            does(sandbox, f"Path({str(path)!r}).write_bytes(b'x')")
        with pytest.raises(EngineError, match="not permitted"):
            does(sandbox, f"os.chmod({str(path)!r}, 0o777)")
    for folder in (home, home / "artifacts", Path.home(), Path("/tmp"), Path("/etc")):
        with pytest.raises(EngineError, match="Permission denied"):
            does(sandbox, f"os.listdir({str(folder)!r})")


def test_a_call_sees_only_the_files_it_names(sandbox: Sandbox, tmp_path: Path) -> None:
    artifacts = Artifacts.open(tmp_path.as_uri(), tmp_path / "cache")
    ours, theirs = (artifacts.local_path(artifacts.put(data)) for data in (b"ours", b"theirs"))
    out = tmp_path / "out"
    out.mkdir()

    assert does(sandbox, f"Path({str(ours)!r}).read_bytes()", reads=[ours]) == b"ours"
    for code in (f"Path({str(theirs)!r}).read_bytes()", f"Path({str(ours)!r}).write_bytes(b'')"):
        with pytest.raises(EngineError, match=r"Permission denied"):
            does(sandbox, code, reads=[ours], writes=[out])
    does(sandbox, f"Path({str(out / 'pk')!r}).write_bytes(b'key')", reads=[ours], writes=[out])
    assert (out / "pk").read_bytes() == b"key"
    assert theirs.read_bytes() == b"theirs"


def test_nothing_can_be_connected_to(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        for code in (
            f"socket.create_connection(('127.0.0.1', {tcp.getsockname()[1]}))",
            f"socket.socket(socket.AF_UNIX).connect({str(path)!r})",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 53))",
            "socket.socket(socket.AF_NETLINK)",
        ):
            with pytest.raises(EngineError, match=r"not permitted"):
                does(sandbox, code)


def test_the_worker_s_environment_and_descriptors_stay_with_it(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        found = does(sandbox, "dict(os.environ)")
        assert not {SECRET, "AWS_SECRET_ACCESS_KEY"} & set(found)
        assert Path(found["HOME"]).name.startswith("tmp")
        # The three standard ones, the session's, and the folder that is being listed.
        assert len(does(sandbox, "os.listdir('/proc/self/fd')")) == 5
    for name in ("environ", "mem", "maps", "cwd/x"):
        with pytest.raises(EngineError, match="Permission denied"):
            does(sandbox, f"open('/proc/{os.getpid()}/{name}', 'rb')")


def test_no_program_can_be_started_and_no_process_touched(sandbox: Sandbox) -> None:
    for code in (
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        f"os.kill({os.getpid()}, 0)",
        "os.kill(os.getppid(), 9)",
        "os.kill(-1, 9)",
        f"__import__('resource').prlimit({os.getpid()}, 7, (1, 1))",
        f"os.setpriority(0, {os.getpid()}, 19)",
    ):
        with pytest.raises(EngineError, match=r"not permitted"):
            does(sandbox, code)
    assert does(sandbox, "os.getppid()") > 0


def test_a_result_cannot_execute_code_in_the_parent(sandbox: Sandbox, tmp_path: Path) -> None:
    mark = tmp_path / "taken over"
    call = f"(__import__('os').mkdir, ({str(mark)!r},))"
    with pytest.raises(EngineError, match="is no answer"):
        does(sandbox, f"type('X', (), {{'__reduce__': lambda self: {call}}})()")
    assert not mark.exists()
    for value in (
        "__import__('subprocess').Popen",
        "eval",
        "__import__('circuits.plan.graphs')",
    ):
        with pytest.raises(EngineError):
            does(sandbox, value)


def test_limits_are_set_and_privileges_cannot_grow(sandbox: Sandbox) -> None:
    status = does(sandbox, "Path('/proc/self/status').read_text()")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    for name in ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_CORE"):
        code = f"__import__('resource').getrlimit(__import__('resource').{name})"
        assert all(0 <= n < 1 << 62 for n in does(sandbox, code)), name


def test_threads_started_by_a_child_end_with_it(sandbox: Sandbox) -> None:
    with sandbox.session(Limits(deadline_s=1.0, memory_bytes=2 << 30)) as child:
        pid = child.call("os:getpid")
        with pytest.raises(EngineTimeout):
            child.call(
                "builtins:exec",
                "import threading, time\n"
                "for _ in range(4): threading.Thread(target=time.sleep, args=(60,)).start()\n"
                "time.sleep(60)",
            )
    give_up = time.monotonic() + 5
    while psutil.pid_exists(pid):
        assert time.monotonic() < give_up
        time.sleep(0.01)
