"""Engine children: whatever happens to one ends in an error with a code, and the next call works.

The functions that run in the children are Python's own: what matters here is how a child ends.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from circuits.engine import stall
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import (
    Canceled,
    EngineError,
    EngineKilled,
    EngineOutOfMemory,
    EnginePanic,
    EngineStalled,
    EngineTimeout,
    ZkmlError,
)

pytestmark = pytest.mark.slow

GENEROUS = Limits(deadline_s=30, memory_bytes=4 << 30)
MIB = 1 << 20


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of this test's own, with its scratch folders under ``tmp_path``."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    sandbox = Sandbox(nice=0)
    yield sandbox
    sandbox.close()


def until(condition: Callable[[], object], within_s: float = 300) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def scratch_folders(root: Path) -> list[Path]:
    """Folders that children work in."""
    return [*root.glob("zkml-engine-*/*")]


def test_a_call_runs_in_a_process_of_its_own_in_an_empty_folder(sandbox: Sandbox) -> None:
    assert sandbox.call("os:getpid", limits=GENEROUS) != os.getpid()
    assert sandbox.call("os:listdir", ".", limits=GENEROUS) == []


def test_the_reference_runtime_does_not_report_models_to_its_maker(sandbox: Sandbox) -> None:
    assert sandbox.call("os:getenv", "ORT_DISABLE_TELEMETRY", limits=GENEROUS) == "1"


def test_a_session_keeps_one_child_for_several_calls(sandbox: Sandbox) -> None:
    with sandbox.session(GENEROUS) as child:
        assert child.call("os:getpid") == child.call("os:getpid")
        assert child.peak_rss_bytes > MIB


def test_what_only_computes_may_share_a_child_that_is_replaced_when_it_ends(own: Sandbox) -> None:
    assert own.compute("os:getpid", limits=GENEROUS) != own.compute("os:getpid", limits=GENEROUS)
    with own.keeping(GENEROUS) as kept:
        first = kept.compute("os:getpid", limits=GENEROUS)
        assert kept.compute("os:getpid", limits=GENEROUS) == first
        assert kept.call("os:getpid", limits=GENEROUS) != first
        with pytest.raises(EngineKilled):
            kept.compute("os:kill", first, signal.SIGKILL, limits=GENEROUS)
        second = kept.compute("os:getpid", limits=GENEROUS)
        assert second != first
        with pytest.raises(EngineTimeout):
            kept.compute("time:sleep", 20, limits=Limits(deadline_s=0.2))
        third = kept.compute("os:getpid", limits=GENEROUS)
        assert third != second
        with pytest.raises(Canceled):
            kept.until(lambda: True).compute("time:sleep", 20, limits=GENEROUS)
        last = kept.compute("os:getpid", limits=GENEROUS)
    until(lambda: is_gone(last))


@pytest.mark.long
def test_a_shared_child_that_others_have_filled_is_replaced(own: Sandbox) -> None:
    """What earlier calls left in its memory does not fail a call that has room alone."""
    with own.keeping(Limits(deadline_s=30, memory_bytes=1 << 30)) as kept:
        hold = "tests.integration.imported:hold"
        assert kept.compute(hold, 500 * MIB, limits=GENEROUS) == 1
        first = kept.compute("os:getpid", limits=GENEROUS)
        assert kept.compute(hold, 900 * MIB, limits=GENEROUS) == 1
        assert kept.compute("os:getpid", limits=GENEROUS) != first


def test_a_child_waits_for_its_call_whatever_the_default_timeout_of_sockets(own: Sandbox) -> None:
    """Celery sets one while a worker stops. Most of this call has not arrived when the child begins
    to read it."""
    own.call("os:getpid", limits=GENEROUS)
    socket.setdefaulttimeout(5)
    try:
        assert own.call("builtins:len", bytes(64 * MIB), limits=GENEROUS) == 64 * MIB
    finally:
        socket.setdefaulttimeout(None)


def test_a_deadlocked_call_is_killed_and_a_working_one_is_not(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As EZKL's prover does when a value leaves its tables: asleep, with minutes left."""
    monkeypatch.setattr(stall, "LOOK_S", 0.2)
    monkeypatch.setattr(stall, "LOOKS", 4)
    with own.session(GENEROUS) as child, pytest.raises(EngineStalled):
        child.call("time:sleep", 20, may_stall=True)
    with own.session(GENEROUS) as child:
        work = ("hashlib:pbkdf2_hmac", "sha256", b"", b"", 3_000_000)
        assert len(child.call(*work, may_stall=True)) == 32


def test_a_module_is_imported_once_for_all_children_to_come(own: Sandbox) -> None:
    first = own.call("tests.integration.imported:server", limits=GENEROUS)
    assert first != own.call("os:getpid", limits=GENEROUS)
    assert own.call("tests.integration.imported:server", limits=GENEROUS) == first


def test_an_end_is_heard_in_the_middle_of_an_import(own: Sandbox, tmp_path: Path) -> None:
    """The module is imported for ever: nothing but the signal ends the server."""
    own.start()
    server = own._server._server
    assert server is not None
    with own.session(GENEROUS, loads="tests.integration.endless"):
        until((tmp_path / "begun").exists)
    own.close()
    assert server.returncode == 0
    assert not list(tmp_path.glob("zkml-engine-*"))


def test_a_deadline_kills_the_child(own: Sandbox, tmp_path: Path) -> None:
    own.call("os:getpid", limits=GENEROUS)  # the server is up: what follows is the child's time
    with own.session(Limits(deadline_s=0.5, memory_bytes=4 << 30)) as child:
        pid = child.call("os:getpid")
        with pytest.raises(EngineTimeout, match=r"0\.5 s") as caught:
            child.call("time:sleep", 600)
    assert caught.value.code == "engine_timeout"
    until(lambda: is_gone(pid) and not scratch_folders(tmp_path))


def test_python_that_wants_too_much_memory_is_told_so(sandbox: Sandbox) -> None:
    limits = Limits(deadline_s=30, memory_bytes=512 * MIB)
    with pytest.raises(EngineOutOfMemory, match=r"0\.50 GiB") as caught:
        sandbox.call("builtins:bytearray", 1 << 30, limits=limits)
    assert caught.value.code == "engine_out_of_memory"
    assert caught.value.context == {"limit_bytes": 512 * MIB}


def test_an_engine_over_its_memory_limit_is_reported(sandbox: Sandbox, tmp_path: Path) -> None:
    limits = Limits(deadline_s=30, memory_bytes=128 * MIB)
    with pytest.raises(EngineOutOfMemory) as caught:
        sandbox.call("circuits.engine.calls:generate_srs", tmp_path / "big.srs", 22, limits=limits)
    assert caught.value.context == {"limit_bytes": 128 * MIB}


def test_a_child_killed_from_outside_is_named(sandbox: Sandbox) -> None:
    with sandbox.session(GENEROUS) as child:
        pid = child.call("os:getpid")
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(EngineKilled) as caught:
            child.call("time:sleep", 20)
    assert caught.value.code == "engine_killed"
    assert caught.value.retryable


def test_a_panic_is_an_error_and_the_next_call_works(sandbox: Sandbox) -> None:
    with sandbox.session(GENEROUS) as child:
        with pytest.raises(EnginePanic) as caught:
            child.call("circuits.engine.calls:poseidon", ["no field element"])
        assert caught.value.code == "engine_panic"
        digest = child.call("circuits.engine.calls:poseidon", ["01" + "00" * 31])
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("function", "argument", "says"),
    [
        ("signal:raise_signal", signal.SIGSEGV, "SIGSEGV"),
        ("signal:raise_signal", signal.SIGABRT, "SIGABRT"),
        ("os:_exit", 7, "exit code 7"),
        ("sys:exit", 7, "failed"),
        ("nowhere:at_all", 7, "nowhere"),
        ("_thread:allocate_lock", None, "exit code"),  # an answer that cannot be sent
    ],
)
def test_however_a_child_ends_its_caller_gets_a_zkml_error(
    sandbox: Sandbox, function: str, argument: object, says: str
) -> None:
    arguments = () if argument is None else (argument,)
    with pytest.raises(EngineError, match=says) as caught:
        sandbox.call(function, *arguments, limits=GENEROUS)
    assert caught.value.code == "engine_failed"


def test_a_call_ends_when_it_should_stop(own: Sandbox, tmp_path: Path) -> None:
    stop = threading.Event()
    with own.session(GENEROUS, stop.is_set) as child:
        pid = child.call("os:getpid")
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(Canceled):
            child.call("time:sleep", 20)
    until(lambda: is_gone(pid) and not scratch_folders(tmp_path))


def test_every_call_of_work_that_may_be_canceled_ends_when_it_should_stop(own: Sandbox) -> None:
    """Also calls without ``should_stop``, and none starts afterwards; others continue."""
    stop = threading.Event()
    view = own.until(stop.is_set)
    server = own.call("os:getppid", limits=GENEROUS)
    assert view.call("os:getppid", limits=GENEROUS) == server
    threading.Timer(0.2, stop.set).start()
    for seconds in (20, 0):
        with pytest.raises(Canceled):
            view.call("time:sleep", seconds, limits=GENEROUS)
    assert own.call("os:getppid", limits=GENEROUS) == server
    until(lambda: not psutil.Process(server).children())


def test_signals_to_every_process_leave_the_decision_to_the_parent(sandbox: Sandbox) -> None:
    """Ctrl-C in a terminal and a service manager's stop reach children too."""
    with sandbox.session(GENEROUS) as child:
        for pid in (child.call("os:getpid"), child.call("os:getppid")):
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
        assert child.call("operator:add", 1, 1) == 2
    assert sandbox.call("operator:add", 1, 1, limits=GENEROUS) == 2


def test_a_killed_fork_server_is_replaced_and_its_traces_removed(
    own: Sandbox, tmp_path: Path
) -> None:
    with own.session(GENEROUS) as child:
        server = child.call("os:getppid")
        folder = Path(child.call("os:getcwd"))
        threading.Timer(0.2, os.kill, (server, signal.SIGKILL)).start()
        with pytest.raises(EngineKilled):
            child.call("time:sleep", 20)
    until(lambda: is_gone(server))
    assert folder.exists()  # nobody was left to remove it

    assert own.call("os:getppid", limits=GENEROUS) != server
    assert not folder.exists()


def test_when_the_parent_dies_nothing_is_left(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from circuits.engine.port import Limits\n"
        "from circuits.engine.sandbox import Sandbox\n"
        "with Sandbox().session(Limits(deadline_s=60)) as child:\n"
        "    print(child.call('os:getpid'), child.call('os:getppid'), flush=True)\n"
        "    child.call('time:sleep', 60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    try:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert scratch_folders(tmp_path)
    finally:
        parent.kill()
        parent.communicate()
    until(lambda: all(is_gone(pid) for pid in pids))
    assert list(tmp_path.iterdir()) == []


def test_many_threads_call_at_once(sandbox: Sandbox) -> None:
    def work(n: int) -> object:
        try:
            if n % 3 == 0:
                return sandbox.call("signal:raise_signal", signal.SIGKILL, limits=GENEROUS)
            return sandbox.call("operator:mul", n, n, limits=GENEROUS)
        except ZkmlError as error:
            return error.code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(work, range(48)))

    assert answers == ["engine_killed" if n % 3 == 0 else n * n for n in range(48)]


def test_a_process_with_more_than_1024_descriptors_can_call(sandbox: Sandbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1500:
        pytest.skip("this machine allows no more descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1500, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert sandbox.call("operator:add", 1, 1, limits=GENEROUS) == 2
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
