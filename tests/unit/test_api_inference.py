"""The Open Inference Protocol at /v2: the published shapes, another's client, and bad requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

from api.client import Client
from api.inference.schemas import InferIn, metadata
from api.inference.tensors import inputs_of
from api.models.schemas import TensorOut
from circuits.errors import EngineTimeout
from prover.records.job import JobState, ModelRecord
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

tritonclient = pytest.importorskip("tritonclient.http")

X = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}
_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
    },
}
#: What the protocol's published REST schema asks of answers (kserve/open-inference-protocol,
#: specification/protocol/open_inference_rest.yaml), by the names that it has there.
PUBLISHED: dict[str, dict[str, Any]] = {
    "metadata_server_response": {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    },
    "metadata_model_response": {
        "type": "object",
        "required": ["name", "platform"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": _TENSOR},
            "outputs": {"type": "array", "items": _TENSOR},
        },
    },
    "inference_response": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "outputs": {
                "type": "array",
                "items": {**_TENSOR, "required": ["name", "shape", "datatype", "data"]},
            },
        },
    },
    "inference_error_response": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"))
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def url(app: FakeApp) -> Iterator[str]:
    with serving(app) as base, Client(base) as zkml:
        zkml.upload_model(MODEL, "net")
        yield base


@pytest.fixture
def worker(app: FakeApp) -> Iterator[None]:
    """Works on every job at once, until the test is over."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.02):
            for job in app.store.jobs(state=JobState.QUEUED).items:
                app.work(job)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join()


def holds(schema: str, answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    jsonschema.validate(answer.json(), PUBLISHED[schema])
    return answer.json()


@pytest.mark.usefixtures("worker")
def test_the_same_key_gets_the_same_proof(url: str) -> None:
    with http_client(url) as http:

        def ask(name: str) -> httpx.Response:
            body, key = {"id": name, "inputs": [X]}, {"Idempotency-Key": "k"}
            return http.post("/v2/models/net/infer", json=body, headers=key)

        first, second = ask("1"), ask("1")
        assert first.json() == second.json()
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        other = ask("2")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.usefixtures("worker")
def test_every_response_has_the_published_schema(url: str) -> None:
    with http_client(url) as http:
        holds("metadata_server_response", http.get("/v2"))
        model = holds("metadata_model_response", http.get("/v2/models/net"))
        version = f"/v2/models/net/versions/{model['versions'][0]}"
        assert holds("metadata_model_response", http.get(version)) == model
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/net/ready"):
            assert http.get(path).status_code == 200
        assert http.get(f"{version}/ready").json() == {"name": "net", "ready": True}
        answer = http.post("/v2/models/net/infer", json={"id": "42", "inputs": [X]})
        body = holds("inference_response", answer)
        assert body["id"] == "42"
        assert body["outputs"] == [
            {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
        ]
        assert http.get(body["parameters"]["bundle"]).content.startswith(b"PK")
        holds("inference_error_response", http.get("/v2/models/nobody"), 404)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_works_unchanged(url: str, app: FakeApp, binary: bool) -> None:
    triton = tritonclient.InferenceServerClient(url.removeprefix("http://"))
    try:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("net")
        assert triton.get_server_metadata()["name"] == "zkml-prover"
        (spec,) = triton.get_model_metadata("net")["inputs"]
        value = tritonclient.InferInput(spec["name"], spec["shape"], spec["datatype"])
        value.set_data_from_numpy(np.array([[1.0, 2.0, 3.0]], np.float32), binary_data=binary)
        result = triton.infer("net", [value], request_id="7", parameters={"nonce": "n"})
        assert result.as_numpy("y").tolist() == [[1.0, 2.0]]
        proof = app.store.job(result.get_response()["parameters"]["proof"])
        assert proof.request["context"] == {"nonce": "n"}
        with pytest.raises(tritonclient.InferenceServerException, match="no model"):
            triton.get_model_metadata("nobody")
    finally:
        triton.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"inputs": [X | {"name": "z"}]}, "input_names"),
        ({"inputs": [X, X]}, "input_names"),
        ({"inputs": [X | {"datatype": "INT64"}]}, "input_dtype"),
        ({"inputs": [X | {"shape": [3]}]}, "input_shape"),
        ({"inputs": [X | {"data": [1.0]}]}, "input_shape"),
        ({"inputs": [X | {"data": [1.0, "2", 3.0]}]}, "input_dtype"),
        ({"inputs": [X | {"parameters": {"binary_data_size": 12}}]}, "request_invalid"),
        ({"inputs": [X], "outputs": [{"name": "nobody"}]}, "input_names"),
        ({"inputs": [X], "parameters": {"nonse": "typo"}}, "request_invalid"),
        ({"inputs": [X], "parameters": {"wait_s": 1e9}}, "request_invalid"),
        ({"inputs": [X], "parameters": {"nonce": ""}}, "request_invalid"),
        ({"inputs": [X], "parameters": {"circuit": "nobody"}}, "circuit_not_found"),
        ({"inputs": [X], "extra": 1}, "request_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_inferred_makes_no_job(
    url: str, app: FakeApp, change: dict[str, Any], code: str
) -> None:
    before = app.store.count_jobs()
    answer = httpx.post(f"{url}/v2/models/net/infer", json=change)
    body = holds("inference_error_response", answer, 404 if code == "circuit_not_found" else 422)
    assert body["code"] == code
    assert app.store.count_jobs() == before


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        (b"{", None, "json_invalid"),
        (b"[" * 100_000, None, "json_invalid"),
        (b"\xff\xfe", None, "json_invalid"),
        (b"{}", "9", "request_invalid"),
        (b"{}", "-1", "request_invalid"),
        (json.dumps({"inputs": [X]}).encode() + b"1234", None, "json_invalid"),
    ],
    ids=range(6),
)
def test_a_body_that_is_no_request(url: str, body: bytes, length: str | None, code: str) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    answer = httpx.post(f"{url}/v2/models/net/infer", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] == code


def test_bytes_after_the_last_input_are_refused(url: str) -> None:
    head = json.dumps({"inputs": [X]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = httpx.post(f"{url}/v2/models/net/infer", content=head + b"1234", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_an_inference_that_takes_too_long_names_its_proof(url: str, app: FakeApp) -> None:
    body = {"inputs": [X], "parameters": {"wait_s": 0}}
    answer = httpx.post(f"{url}/v2/models/net/infer", json=body)
    problem = holds("inference_error_response", answer, 503)
    assert (problem["code"], problem["retryable"]) == ("proof_not_ready", True)
    job = app.store.job(problem["context"]["proof"])
    app.work(job, problem=EngineTimeout().problem())


def test_an_inference_without_a_proof_says_why(url: str, app: FakeApp) -> None:
    def fail() -> None:
        for job in app.store.jobs(state=JobState.QUEUED).items:
            app.work(job, problem=EngineTimeout().problem())

    threading.Timer(0.3, fail).start()
    answer = httpx.post(f"{url}/v2/models/net/infer", json={"inputs": [X]}, timeout=30)
    problem = holds("inference_error_response", answer, 409)
    assert (problem["code"], problem["context"]["code"]) == ("proof_failed", "engine_timeout")


def test_texts_are_bytes_and_a_mask_is_not_sent() -> None:
    tensors: list[dict[str, Any]] = [
        {"name": "x", "dtype": "float32", "shape": [1, 2]},
        {"name": "x/missing", "dtype": "bool", "shape": [1, 2], "missing_of": "x"},
        {"name": "t", "dtype": "int64", "shape": [1, 1], "categories": ["a", "b"], "other": False},
    ]
    now = datetime.now(UTC)
    signature = {"inputs": tensors, "outputs": []}
    record = ModelRecord(
        id="m", name="net", size_bytes=1, signature=signature, summary={}, created_at=now
    )
    shown = metadata("net", [record]).inputs
    assert [(t.name, t.datatype) for t in shown] == [("x", "FP32"), ("t", "BYTES")]
    sent = [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, None]},
        {"name": "t", "shape": [1, 1], "datatype": "BYTES", "data": ["b"]},
    ]
    request = InferIn.model_validate({"inputs": sent})
    assert inputs_of(request, b"", record) == {"x": [[1.5, None]], "t": [["b"]]}
    assert [TensorOut(**t).model_dump() for t in tensors] == tensors
