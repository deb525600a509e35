"""Whatever is killed, a job ends once and rightly, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from api.client import Client, Job
from tests.acceptance.processes import ZKML, Up, environment, gone, scratch, until, up, zkml
from tests.cases import tiny

pytestmark = pytest.mark.slow

MODEL = tiny.wide(64)
INPUT = [[0.5] * 64]
FAST = {
    "ZKML_STOP_GRACE_S": "0",
    "ZKML_LEASE_S": "2",
    "ZKML_SWEEP_S": "0.3",
    "ZKML_PLAN_EFFORT": "fast",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, srs_cache: Path) -> Path:
    """A home in which the model's circuit is built already, by `zkml prove`."""
    folder = tmp_path_factory.mktemp("recovery")
    (folder / "model.onnx").write_bytes(MODEL)
    (folder / "input.json").write_text(json.dumps({"input_data": INPUT}))
    made = zkml(
        folder / "home",
        "prove",
        folder / "model.onnx",
        folder / "input.json",
        "-o",
        folder / "out.zkml",
        **FAST,
    )
    assert made.code == 0, made.err
    return folder / "home"


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test that ends its service."""
    return Path(shutil.copytree(built, tmp_path / "home"))


@pytest.fixture(scope="module")
def running(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One service, of a copy too, for the tests that only end parts of it."""
    home = shutil.copytree(built, tmp_path_factory.mktemp("running") / "home")
    with up(home, **FAST) as service:
        yield service


@pytest.fixture
def client(running: Up) -> Iterator[Client]:
    with Client(running.url, timeout_s=300) as open_client:
        yield open_client


def caught_proving(running: Up, client: Client) -> tuple[Job, psutil.Process]:
    """A job whose engine child is stopped (SIGSTOP) in the middle of its proof."""
    for _ in range(10):  # a machine that stands still for a moment may miss a proof
        job = client.create_proof(model=client.upload_model(MODEL).id, input_data=INPUT)
        if not any(event.data.get("stage") == "prove" for event in client.events(job.id)):
            raise AssertionError(client.proof(job.id).problem)
        if (child := stopped_proving(running)) is not None:
            return job, child
    raise AssertionError("no proof was caught")


def stopped_proving(running: Up) -> psutil.Process | None:
    """The engine child that makes a proof, stopped. Others may end while they are looked at."""
    for child in running.engine_children():
        with suppress(psutil.Error, OSError):
            if "witness.json" in os.listdir(child.cwd()):
                child.suspend()
                return child
    return None


def caught_before_its_deadline(
    running: Up, client: Client, given_s: float
) -> tuple[str, datetime, psutil.Process] | None:
    """The same with a deadline: the job, its deadline, the child. None: it came first."""
    model = client.upload_model(MODEL).id
    body = {"model": model, "input_data": INPUT, "deadline_s": given_s}
    asked = httpx.post(f"{running.url}/v1/proofs", json=body, timeout=30).json()
    deadline = datetime.fromisoformat(asked["deadline"])
    for event in client.events(asked["id"]):
        if event.data.get("stage") == "prove":
            child = stopped_proving(running)
            return None if child is None else (asked["id"], deadline, child)
    return None


def succeeds(client: Client) -> bool:
    job = client.create_proof(model=client.upload_model(MODEL).id, input_data=INPUT)
    return client.wait(job.id, timeout_s=300).state == "succeeded"


@pytest.mark.long
def test_what_a_killed_engine_left_is_tried_again_and_the_worker_goes_on(
    running: Up, client: Client
) -> None:
    worker = running.worker()
    job, child = caught_proving(running, client)
    child.kill()

    done = client.wait(job.id, timeout_s=300)
    assert done.state == "succeeded"
    assert done.attempt == 2
    assert running.worker() == worker
    told = [e.data for e in client.events(job.id) if "problem" in e.data]
    assert [(e["state"], e["problem"]["code"]) for e in told] == [("queued", "engine_killed")]


def test_a_proof_can_be_canceled_while_it_is_made(running: Up, client: Client) -> None:
    job, child = caught_proving(running, client)
    assert client.cancel(job.id).cancel_requested

    assert client.wait(job.id, timeout_s=300).state == "canceled"
    until(lambda: gone([child]))
    assert [e.data["state"] for e in client.events(job.id) if e.type == "state"][-1] == "canceled"
    assert succeeds(client)


def test_a_deadline_kills_the_engine_within_two_seconds(running: Up, client: Client) -> None:
    """The child is stopped and cannot end by itself; a later request sees that the job expired."""
    for given_s in (4, 15, 60):  # a slow machine needs longer to come as far as the proof
        caught = caught_before_its_deadline(running, client, given_s)
        if caught is not None:
            break
    else:
        raise AssertionError("no proof began within its deadline")
    job_id, deadline, child = caught

    until(lambda: gone([child]), within_s=given_s + 30)
    late = (datetime.now(UTC) - deadline).total_seconds()
    ended = client.wait(job_id, timeout_s=30)
    assert ended.state == "expired"
    assert ended.problem is not None
    assert ended.problem.code == "deadline_passed"
    assert 0 <= late < 2, f"killed {late:.2f} s after the deadline"
    assert succeeds(client)


def test_a_killed_worker_is_replaced_and_its_job_continues(running: Up, client: Client) -> None:
    job, child = caught_proving(running, client)
    worker = running.worker()
    worker.kill()

    done = client.wait(job.id, timeout_s=300)
    assert done.state == "succeeded"
    assert done.attempt == 2
    assert gone([worker, child])
    assert client.verify(client.bundle(job.id)).ok
    assert [e.seq for e in client.events(job.id)] == list(
        range(1, 1 + len(list(client.events(job.id))))
    )


@pytest.mark.long
def test_a_job_outlives_a_queue_that_forgets(running: Up, client: Client) -> None:
    blocking, child = caught_proving(running, client)
    waiting = client.create_proof(
        model=client.upload_model(MODEL).id, input_data=INPUT, context={"nonce": "2"}
    )
    url = (running.home / "redis" / "url").read_text()
    with redis.Redis.from_url(url) as connection:
        connection.flushall()
    child.resume()

    assert client.wait(blocking.id, timeout_s=300).state == "succeeded"
    assert client.wait(waiting.id, timeout_s=300).state == "succeeded"


@pytest.mark.long
def test_a_killed_queue_is_started_again(running: Up, client: Client) -> None:
    (queue,) = [p for p in running.children() if "redis-server" in p.name()]
    queue.kill()
    job = client.create_proof(model=client.upload_model(MODEL).id, input_data=INPUT)
    for _ in client.events(job.id):
        pass
    assert client.proof(job.id).state == "succeeded"
    assert running.process.poll() is None
    until(lambda: client.ready().ready)


@pytest.mark.long
def test_jobs_survive_a_restart_of_everything(home: Path) -> None:
    with up(home, **FAST) as first, Client(first.url, timeout_s=300) as client:
        job, _ = caught_proving(first, client)
    with up(home, **FAST) as second, Client(second.url, timeout_s=300) as client:
        assert client.wait(job.id, timeout_s=300).state == "succeeded"


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM]
)
def test_it_ends_in_order_in_the_middle_of_a_proof(home: Path, number: signal.Signals) -> None:
    with up(home, **FAST) as running, Client(running.url, timeout_s=300) as client:
        _, child = caught_proving(running, client)
        below = running.children()
        assert len(below) >= 5  # redis, API, worker, fork server, engine
        running.process.send_signal(number)
        out, _ = running.process.communicate(timeout=300)

    assert running.process.returncode == 0
    assert out == ""
    assert gone([*below, child])
    assert scratch(home) == []
    assert [p.name for p in (home / "tmp").iterdir() if p.suffix != ".lock"] == []
    assert not (home / "redis" / "redis.sock").exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=2)


@pytest.mark.long
def test_nothing_outlives_a_service_that_is_killed(home: Path) -> None:
    with up(home, **FAST) as running, Client(running.url, timeout_s=300) as client:
        job, child = caught_proving(running, client)
        below = [*running.children(), child]
        running.process.kill()
        until(lambda: gone(below))
        assert scratch(home) == []
    with up(home, **FAST) as again, Client(again.url, timeout_s=300) as client:
        assert client.wait(job.id, timeout_s=300).state == "succeeded"


def test_a_home_has_one_service_at_a_time(service: Up) -> None:
    second = zkml(service.home, "up", "--port", "0", "--json")
    assert (second.code, second.problem["code"]) == (2, "already_running")
    assert "ZKML_HOME" in second.problem["advice"]
    assert service.process.poll() is None


@pytest.mark.long
def test_a_port_that_is_taken_is_named(service: Up, tmp_path: Path) -> None:
    """Another service answers there: it must not be taken for the new one."""
    port = service.url.rpartition(":")[2]
    second = zkml(tmp_path / "other", "up", "--port", port, "--json")
    assert (second.code, second.problem["code"]) == (2, "address_unusable")
    assert port in second.problem["detail"]
    third = zkml(tmp_path / "other", "up", "--host", "no.such.host.invalid", "--json")
    assert (third.code, third.problem["code"]) == (2, "address_unusable")


@pytest.mark.long
def test_told_to_stop_while_it_starts_it_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = psutil.Popen([ZKML, "up", "--port", "0"], env=environment(home), stdout=-3, stderr=-3)
    until((home / "redis" / "redis.sock").exists)
    below = process.children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) in (0, 130)
    assert gone(below)


@pytest.mark.long
def test_killed_processes_do_not_fill_the_disk(home: Path) -> None:
    """A worker killed while it builds leaves megabytes of keys: the next build removes them."""
    with up(home, **FAST) as running, Client(running.url, timeout_s=300) as client:
        model = client.upload_model(tiny.wide(48))
        job = client.create_proof(model=model.id, input_data=[[0.5] * 48])

        def built() -> list[Path]:
            return list((home / "tmp").glob("build-*/settings.json"))

        until(built)
        running.worker().kill()
        assert client.wait(job.id, timeout_s=300).state == "succeeded"
        assert not built()
    assert scratch(home) == []
