"""The client: its imports, its retries, and unexpected responses."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.client import AsyncClient, Client, Event, Retries, ServerProblem, calls, models
from prover.testing import START
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
X = {"x": [[1.0, 2.0, 3.0]]}
QUICK = Retries(first_s=0.001, most_s=0.002)
#: Imports the client where nothing of the server or the engine can be imported.
ALONE = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ImportError(name)

sys.meta_path.insert(0, Refused())
import api.client
print(sorted(n for n in sys.modules if n.startswith("api.")))
"""
JOB = {
    "id": "j",
    "kind": "proof",
    "state": "succeeded",
    "terminal": True,
    "progress": 1.0,
    "attempt": 1,
    "cancel_requested": False,
    "model": "m",
    "circuit": "c",
    "created_at": START.isoformat(),
    "links": {},
}
PROBLEM = {
    "type": "/problems/queue_unavailable",
    "title": "t",
    "status": 503,
    "detail": "d",
    "code": "queue_unavailable",
    "fault": "busy",
    "retryable": True,
}

Answer = Callable[[httpx.Request], httpx.Response]


def test_it_is_imported_without_the_server_and_the_engine() -> None:
    names = {"circuits", "prover", "workers", "benchmarks", "ezkl", "onnx", "numpy", "fastapi"}
    names |= {"starlette", "sqlalchemy", "celery", "redis", "typer", "uvicorn"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE.replace("{names}", repr(names))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "api.client.sync" in done.stdout
    assert "schemas" not in done.stdout


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (models.Model, "ModelOut"),
        (models.Circuit, "CircuitOut"),
        (models.Job, "JobOut"),
        (models.Event, "Event"),
        (models.Problem, "Problem"),
        (models.Batch, "BatchOut"),
        (models.Progress, "Progress"),
        (models.Item, "ItemOut"),
        (models.ItemPage, "ItemPage"),
        (models.Check, "CheckOut"),
        (models.Verification, "VerificationOut"),
        (models.Readiness, "Readiness"),
        (models.OwnerSignature, "SignatureOut"),
        (models.Used, "UsageSumOut"),
        (models.Usage, "UsageOut"),
        (models.Upload, "UploadOut"),
        (models.WebhookEndpoint, "EndpointOut"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_its_fields_are_those_of_the_document(own: Any, theirs: str) -> None:
    schema = SCHEMAS[theirs]
    assert set(own.model_fields) == set(schema["properties"])
    needed = {name for name, field in own.model_fields.items() if field.is_required()}
    assert needed <= set(schema["required"])


@pytest.mark.parametrize(
    ("own", "path"),
    [
        (calls.ModelFilters, "/v1/models"),
        (calls.CircuitFilters, "/v1/circuits"),
        (calls.BatchFilters, "/v1/batches"),
        (calls.ProofFilters, "/v1/proofs"),
        (calls.Paging, "/v1/webhook-endpoints"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_filters_lists_by_all_that_the_document_has(own: Any, path: str) -> None:
    parameters = DOCUMENT["paths"][path]["get"]["parameters"]
    assert own.__annotations__.keys() == {p["name"] for p in parameters if p["in"] == "query"}


def test_both_clients_have_the_same_methods() -> None:
    def public(cls: type) -> dict[str, list[str]]:
        found = inspect.getmembers(cls, inspect.isfunction)
        return {n: list(inspect.signature(f).parameters) for n, f in found if n[0] != "_"}

    sync, aio = public(Client), public(AsyncClient)
    assert sync.pop("close") == aio.pop("aclose")
    assert sync == aio


def test_a_state_and_a_field_that_it_does_not_know_stop_nothing() -> None:
    odd = JOB | {"state": "transcended", "moon": "full"}
    with client(lambda request: httpx.Response(200, json=odd)) as zkml:
        job = zkml.wait("j", timeout_s=1)
    assert job.state == "transcended"
    assert job.model_extra == {"moon": "full"}


# --- sending again ---------------------------------------------------------------------------


def client(answer: Answer, **options: Any) -> Client:
    options.setdefault("retries", QUICK)
    return Client("http://service", transport=httpx.MockTransport(answer), **options)


def broken(*failures: Exception | httpx.Response) -> tuple[Answer, list[httpx.Request]]:
    """A service that fails in these ways, and then responds with a job."""
    asked: list[httpx.Request] = []
    left = list(failures)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        asked.append(request)
        if not left:
            return httpx.Response(202, json=JOB)
        failure = left.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure

    return answer, asked


def later(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=PROBLEM | {"status": status}, headers=headers)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        later(503),
        later(429, **{"Retry-After": "0"}),
        later(409, **{"Retry-After": "0"}),
    ],
    ids=lambda f: type(f).__name__ if isinstance(f, Exception) else str(f.status_code),
)
def test_a_proof_is_asked_for_again_under_the_same_key(failure: Exception | httpx.Response) -> None:
    answer, asked = broken(failure)
    with client(answer) as zkml:
        assert zkml.create_proof(model="m", inputs=X).id == "j"
        zkml.create_proof(model="m", inputs=X)
    first, second, other = (request.headers["idempotency-key"] for request in asked)
    assert first == second != other
    assert asked[0].content == asked[1].content


def test_it_gives_up_with_the_last_error() -> None:
    answer, asked = broken(*[later(503) for _ in range(9)])
    with client(answer) as zkml, pytest.raises(ServerProblem) as told:
        zkml.create_proof(model="m", inputs=X)
    assert told.value.problem.code == "queue_unavailable"
    assert len(asked) == QUICK.attempts


def test_it_does_not_wait_for_hours() -> None:
    answer, asked = broken(later(429, **{"Retry-After": "7200"}))
    with client(answer) as zkml, pytest.raises(ServerProblem):
        zkml.create_proof(model="m", inputs=X)
    assert len(asked) == 1


@pytest.mark.parametrize("status", [404, 409, 413, 422, 500])
def test_what_will_be_the_same_next_time_is_not_sent_again(status: int) -> None:
    answer, asked = broken(later(status))
    with client(answer) as zkml, pytest.raises(ServerProblem):
        zkml.create_proof(model="m", inputs=X)
    assert len(asked) == 1


def test_rows_that_come_once_are_sent_once() -> None:
    answer, asked = broken(httpx.ReadTimeout("slow"))
    rows: Iterator[dict[str, Any]] = iter([{"id": "a", "inputs": X}])
    with client(answer) as zkml, pytest.raises(httpx.ReadTimeout):
        zkml.create_batch(rows, model="m")
    assert len(asked) == 1


def test_the_key_is_a_bearer_token_and_nowhere_else() -> None:
    answer, asked = broken()
    with client(answer, api_key="zkml_secret") as zkml:
        zkml.create_proof(model="m", inputs=X)
    assert asked[0].headers["authorization"] == "Bearer zkml_secret"
    assert "secret" not in str(asked[0].url)


# --- against the service ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def url(app: FakeApp) -> Iterator[str]:
    with serving(app) as base:
        yield base


def test_the_asynchronous_client_from_upload_to_bundle(app: FakeApp, url: str) -> None:
    seen: list[Event] = []

    def work_once_seen(event: Event) -> None:
        seen.append(event)
        if event.seq == 1:
            app.work(app.store.job(event.job))

    async def main() -> bytes:
        async with AsyncClient(url) as zkml:
            model = await zkml.upload_model(MODEL)
            job = await zkml.prove(model=model.id, inputs=X, on_event=work_once_seen)
            assert job.state == "succeeded"
            assert (await zkml.wait(job.id)).id == job.id
            assert job.id in [found.id for found in (await zkml.proofs()).items]
            with pytest.raises(ServerProblem):
                await zkml.proof("nobody")
            return await zkml.bundle(job.id)

    assert asyncio.run(main()).startswith(b"PK")
    assert [event.seq for event in seen] == list(range(1, 8))


def test_an_interrupted_upload_in_parts_resumes(url: str, tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(MODEL * 20)
    size = path.stat().st_size
    seen: list[tuple[int, int]] = []

    def cut(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and len(seen) == 2:
            raise httpx.ConnectError("gone")
        return passed(request)

    with http_client(url) as service:

        def passed(request: httpx.Request) -> httpx.Response:
            body = request.read()
            headers = {k: v for k, v in request.headers.items() if k != "host"}
            target = f"{request.url.path}?{request.url.query.decode()}"
            answer = service.request(request.method, target, content=body, headers=headers)
            return httpx.Response(answer.status_code, content=answer.content)

        with client(cut) as zkml, pytest.raises(httpx.ConnectError):
            zkml.upload_in_parts(path, part_bytes=100, on_progress=lambda *p: seen.append(p))
        assert seen == [(100, size), (200, size)]
        with client(passed) as zkml:
            model = zkml.upload_in_parts(
                path, part_bytes=100, on_progress=lambda *p: seen.append(p)
            )
    assert seen[2:] == [(min(n, size), size) for n in range(300, size + 100, 100)]
    assert (model.name, model.size_bytes) == ("large.onnx", size)

    async def again() -> str:
        async with AsyncClient(url) as zkml:
            return (await zkml.upload_in_parts(path, part_bytes=300)).id

    assert asyncio.run(again()) == model.id


def test_what_is_safe_to_repeat_is_one_job_on_the_service(app: FakeApp, url: str) -> None:
    """The answer to the first try is lost on its way; the second finds what the first has made."""
    with http_client(url) as service:
        lost: list[str] = []

        def lossy(request: httpx.Request) -> httpx.Response:
            body = request.read()
            headers = {k: v for k, v in request.headers.items() if k != "host"}
            answer = service.request(
                request.method, request.url.path, content=body, headers=headers
            )
            if not lost:
                lost.append(answer.json()["id"])
                raise httpx.ReadTimeout("lost")
            return httpx.Response(
                answer.status_code, content=answer.content, headers=answer.headers
            )

        with client(lossy) as zkml, Client(url) as plain:
            model = plain.upload_model(MODEL).id
            before = sum(app.store.count_jobs().values())
            assert zkml.create_proof(model=model, inputs=X).id == lost[0]
            assert sum(app.store.count_jobs().values()) == before + 1


def test_an_id_of_ones_own_names_one_job(url: str) -> None:
    with Client(url) as zkml:
        model = zkml.upload_model(MODEL).id
        first = zkml.create_proof(model=model, inputs=X, client_id="order-4711")
        again = zkml.create_proof(model=model, inputs=X, client_id="order-4711")
        assert (first.id, first.client_id) == (again.id, "order-4711")


def test_an_endpoint_is_made_listed_stopped_and_deleted(url: str) -> None:
    with Client(url) as zkml:
        made = zkml.create_webhook_endpoint("https://example.com/hook", events=["proof.*"])
        assert made.secret is not None
        (listed,) = zkml.webhook_endpoints().items
        assert (listed.id, listed.secret, listed.events) == (made.id, None, ["proof.*"])
        assert not zkml.enable_webhook_endpoint(made.id, enabled=False).enabled
        zkml.delete_webhook_endpoint(made.id)
        assert zkml.webhook_endpoints().items == []
