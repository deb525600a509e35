"""The API as a process: its imports, its shutdown, and a missing queue."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from api.client import Client
from benchmarks.servers.postgres import server
from prover.admission import SizeClass
from prover.host.redis_server import RedisServer
from prover.jobs.queue import RUN_JOB
from prover.records.api_key import ALL_SCOPES, new_api_key
from prover.records.job import JobKind
from prover.store import Store
from prover.testing import model_record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "benchmarks" / "demo" / "digits" / "digits.onnx"
BLANK = {"image": [[[[0.0] * 8] * 8]]}

#: Serves the real application in a thread, runs `exercise` against it, and tells what is loaded.
LOADED = """
import json, sys, threading, uvicorn
from pathlib import Path
from api.__main__ import listen
from api.application import create_app
from api.client import Client
from prover.app import App
from prover.settings import Settings

app = App.open(Settings.load())
config = uvicorn.Config(create_app(app, allow_anonymous=True), log_config=None, access_log=False)
listener = listen("127.0.0.1", 0)
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
thread.start()
try:
    with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as zkml:
        model = zkml.upload_model(Path(sys.argv[1]))
        job = zkml.create_proof(model=model.id, inputs={"image": [[[[0.0] * 8] * 8]]})
        zkml.create_circuit(model.id)
        zkml.cancel(job.id)
        states = [e.data["state"] for e in zkml.events(job.id)]
        verdict = zkml.verify(b"no bundle").ok
        ready = zkml.ready().ready
finally:
    server.should_exit = True
    thread.join()
    app.close()
roots = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"states": states, "ok": verdict, "ready": ready, "roots": roots}))
"""


@contextmanager
def api(home: Path, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`python -m api` on a free port; killed at the end if it is still there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "--port", str(port)],
            cwd=ROOT,
            env=environment(home) | env,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, process)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ZKML_")}
    return kept | {"ZKML_HOME": str(home), "ZKML_LOG_JSON": "1"}


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the API did not start")


def until(true: Callable[[], bool]) -> None:
    """Waits for it, with a timeout against hanging."""
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_api_never_loads_the_engine_or_the_compiler(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(DIGITS)],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["states"] == ["queued", "canceled"]
    assert (found["ok"], found["ready"]) == (False, True)
    assert "fastapi" in found["roots"]
    assert {"ezkl", "onnx", "onnxruntime", "onnx_ir", "onnxscript"}.isdisjoint(found["roots"])


@pytest.mark.long
def test_an_accepted_job_is_announced_on_the_queue(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path / "redis") as server:
        env = {"ZKML_REDIS_URL": server.url}
        with api(tmp_path, **env) as (_, url), Client(url) as zkml:
            model = zkml.upload_model(DIGITS)
            job = zkml.create_proof(model=model.id, inputs=BLANK)
            with redis.Redis.from_url(server.url) as queue:
                while not (messages := queue.lrange(f"zkml:{SizeClass.COMPILE}", 0, -1)):
                    time.sleep(0.02)
    (message,) = messages
    assert json.loads(message)["headers"]["task"] == RUN_JOB
    assert job.id in json.loads(message)["headers"]["argsrepr"]


@pytest.mark.long
@pytest.mark.parametrize(
    "silent",
    [
        pytest.param(False, marks=pytest.mark.long, id="refuses"),
        pytest.param(True, id="says nothing"),
    ],
)
def test_a_job_is_accepted_while_the_queue_is_away(tmp_path: Path, silent: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        gone = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        if not silent:
            nobody.close()
        with api(tmp_path, ZKML_REDIS_URL=gone) as (process, url), Client(url) as zkml:
            model = zkml.upload_model(DIGITS)
            job = zkml.create_proof(model=model.id, inputs=BLANK)
            assert zkml.proof(job.id).state == "queued"
            assert not zkml.ready().ready
            process.terminate()
            process.wait(300)
    assert b"job_not_announced" in (tmp_path / "api.log").read_bytes()


@pytest.mark.long
def test_while_the_database_is_away_nobody_gets_in(tmp_path: Path) -> None:
    """Keys are looked up there: neither a key that is good nor one that was seen a moment ago opens
    anything, and streams end. Once it is back the service is, without anybody's help."""
    with server() as database:
        store = Store.open(database.url)
        key, token = new_api_key(tenant="a", name="a", scopes=ALL_SCOPES, now=datetime.now(UTC))
        store.add_api_key(key)
        store.for_tenant("a").add_model(model_record())
        job = store.for_tenant("a").create_job(JobKind.PROOF, model_record().id, "c", {}, None)
        store.close()
        held = {"Authorization": f"Bearer {token}"}
        forged = {"Authorization": f"Bearer {token[:-4]}AAAA"}
        with (
            api(tmp_path, ZKML_DATABASE_URL=database.url) as (_, url),
            httpx.Client(base_url=url, headers=held, timeout=60) as http,
        ):
            proof = f"/v1/proofs/{job.id}"
            assert http.get(proof).json()["state"] == "queued"
            with http.stream("GET", f"{proof}/events") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "id: 1"
                database.stop()
                with suppress(httpx.RemoteProtocolError):  # cut off: the client is to come back
                    assert not any(line.startswith("id:") for line in lines)
            for _ in range(3):
                for path, headers in (
                    (proof, held),
                    ("/v1/models", held),
                    (proof, forged),
                    ("/v1/models", {"Authorization": ""}),
                ):
                    answer = http.get(path, headers=headers)
                    assert answer.status_code in (401, 503), (path, answer.text)
                    assert answer.status_code == 503 or headers is not held
                    assert job.id not in answer.text.replace(path, "")
            refused = http.post("/v1/proofs", json={"circuit": "c", "inputs": {}})
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert refused.headers["retry-after"]
            assert http.get("/healthz").status_code == 200
            assert http.get("/readyz").status_code == 503
            database.start()
            until(lambda: http.get(proof).status_code == 200)
            assert http.get(proof).json()["state"] == "queued"
            assert http.get(proof, headers=forged).status_code == 401


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_it_stops_cleanly_with_a_stream_open(tmp_path: Path, number: signal.Signals) -> None:
    with api(tmp_path) as (process, url), Client(url) as zkml:
        model = zkml.upload_model(DIGITS)
        job = zkml.create_proof(model=model.id, inputs=BLANK)
        events = zkml.events(job.id)
        next(events)
        process.send_signal(number)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert out == b""
        with pytest.raises(httpx.ConnectError):
            list(events)


@pytest.mark.long
def test_settings_that_cannot_be_used_end_the_process_with_2(tmp_path: Path) -> None:
    for env in ({"ZKML_LEASE_S": "soon"}, {"ZKML_DATABASE_URL": "nonsense"}):
        done = subprocess.run(
            [sys.executable, "-m", "api", "--port", "0"],
            cwd=ROOT,
            env=environment(tmp_path) | env,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 2, done.stderr.decode()
        assert b"Traceback" not in done.stderr
