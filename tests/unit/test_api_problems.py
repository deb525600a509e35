"""Whatever is sent, the answer is a problem document that says what to do, and nothing more."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApp]:
    fake = FakeApp(tmp_path_factory.mktemp("home"), max_model_bytes=100_000, max_input_bytes=50_000)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(app) as url, http_client(url) as client:
        yield client


@pytest.fixture(scope="module")
def model(app: FakeApp) -> str:
    return app.add_model(MODEL, "m.onnx")[0].id


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {"title", "detail", "fault", "retryable", "instance"} <= set(problem)
    return problem


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json_invalid"),
        (b"{", 400, "json_invalid"),
        (b'{"model": "MODEL", "inputs": {"x": [NaN, 1, 2]}}', 400, "json_invalid"),
        (b'{"model": "MODEL", "inputs": {"x": [-Infinity, 1, 2]}}', 400, "json_invalid"),
        (b'{"model": "MODEL", "inputs": {"x": [1, 2, 3,]}}', 400, "json_invalid"),
        (b'{"inputs": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400, "json_invalid"),
        (b'{"model": "MODEL", "inputs": {"x": [' + b"9" * 5000 + b"]}}", 400, "json_invalid"),
        (b'"\xff"', 400, "json_invalid"),
        (b"[]", 422, "request_invalid"),
        (b"{}", 422, "request_invalid"),
        (b'{"model": "MODEL"}', 422, "request_invalid"),
        (b'{"model": "MODEL", "circuit": "c", "inputs": {}}', 422, "request_invalid"),
        (b'{"model": "MODEL", "inputs": {}, "input_data": []}', 422, "request_invalid"),
        (b'{"model": "MODEL", "inputs": {}, "surprise": 1}', 422, "request_invalid"),
        (b'{"model": "MODEL", "inputs": [1, 2, 3]}', 422, "request_invalid"),
        (b'{"model": "a b\\u0000", "inputs": {}}', 422, "request_invalid"),
        (b'{"model": "MODEL", "inputs": {}, "profile": []}', 422, "request_invalid"),
        (b'{"model": "MODEL", "inputs": {}, "context": {"chain_id": 1.5}}', 422, "request_invalid"),
        (b'{"model": "sha256:0", "inputs": {"x": [1, 2, 3]}}', 404, "model_not_found"),
        (b'{"circuit": "sha256:0", "inputs": {"x": [1, 2, 3]}}', 404, "circuit_not_found"),
        (b'{"model": "MODEL", "inputs": {"z": [1, 2, 3]}}', 422, "input_names"),
        (b'{"model": "MODEL", "inputs": {"x": [1, 2]}}', 422, "input_shape"),
        (b'{"model": "MODEL", "inputs": {"x": ["0x1", 2, 3]}}', 422, "input_dtype"),
        (b'{"model": "MODEL", "input_data": []}', 422, "input_names"),
        (
            b'{"inputs": {"x": [' + b"1," * 40_000 + b"1]}}",
            413,
            "upload_too_large",
        ),
    ],
)
def test_a_proof_request_that_cannot_be_served_is_refused_by_name(
    http: httpx.Client, app: FakeApp, model: str, body: bytes, status: int, code: str
) -> None:
    before = sum(app.store.count_jobs().values())
    sent = body.replace(b"MODEL", model.encode())
    refused(http.post("/v1/proofs", content=sent, headers=JSON), status, code)
    assert sum(app.store.count_jobs().values()) == before


@pytest.mark.parametrize(
    "profile",
    [
        '{"max_error": "1"}',
        '{"max_error": 1e999}',
        '{"max_error": true}',
        '{"max_error": 0}',
        '{"agreement": 1.1}',
        '{"target": "x"}',
        '{"visibility": null}',
        '{"unknown": 1}',
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(
    http: httpx.Client, model: str, profile: str
) -> None:
    body = f'{{"model": "{model}", "profile": {profile}}}'
    refused(http.post("/v1/circuits", content=body, headers=JSON), 422, "request_invalid")


def test_a_wrong_field_is_named_and_its_value_is_not_repeated(
    http: httpx.Client, model: str
) -> None:
    body = {"model": model, "inputs": {}, "profile": {"max_error": "my secret", "agreement": 7}}
    answer = http.post("/v1/proofs", json=body)
    problem = refused(answer, 422, "request_invalid")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert [e["field"] for e in errors] == ["body.profile.max_error", "body.profile.agreement"]
    assert "secret" not in answer.text


def test_json_must_say_that_it_is_json(http: httpx.Client) -> None:
    form = http.post("/v1/proofs", data={"model": "m"})
    problem = refused(form, 415, "media_type_unsupported")
    assert "application/json" in str(problem["advice"])


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(http: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100_000):
            sent += 10_000
            yield b"\x08" * 10_000

    # The server answers and closes while the client still sends: either is seen first.
    try:
        answer = http.post(
            "/v1/models", content=endless(), headers={"Content-Type": "application/octet-stream"}
        )
        refused(answer, 413, "upload_too_large")
    except httpx.WriteError:
        pass
    assert sent < 100_000_000


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_an_announced_length_over_the_limit_is_refused_before_it_is_sent(
    http: httpx.Client, expect: bytes
) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), 5) as raw:
        raw.sendall(
            b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/octet-stream\r\n"
            b"Content-Length: 100001\r\n" + expect + b"\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"wrong": b"\x08\x08"}, "request_invalid"),
        ({"file": b"not onnx"}, "model_not_onnx"),
        ({"file": b"\x08" * 200_000}, "upload_too_large"),
        ({"file": b"\x08", "more": b"\x08"}, "multipart_invalid"),
    ],
)
def test_a_form_that_holds_no_model_is_refused(
    http: httpx.Client, files: dict[str, bytes], code: str
) -> None:
    answer = http.post("/v1/models", files=files)
    assert answer.json()["code"] == code


def test_a_broken_form_is_refused(http: httpx.Client) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = http.post("/v1/models", content=b"--y\r\n", headers={"Content-Type": kind})
        refused(answer, 400, "multipart_invalid")


def test_what_is_not_there_is_not_found(http: httpx.Client) -> None:
    refused(http.get("/v1/nothing"), 404, "route_not_found")
    refused(http.get("/v1/models/"), 404, "route_not_found")
    refused(http.get("/v1/models/sha256:00"), 404, "model_not_found")
    refused(http.get("/v1/circuits/sha256:00"), 404, "circuit_not_found")
    refused(http.get("/v1/circuits/sha256:00/vk"), 404, "circuit_not_found")
    refused(http.get("/v1/circuits/sha256:00/events"), 404, "circuit_not_found")
    refused(http.get("/v1/proofs/00"), 404, "job_not_found")
    refused(http.post("/v1/proofs/00/cancel"), 404, "job_not_found")
    refused(http.get("/v1/proofs/00/events"), 404, "job_not_found")
    refused(http.get("/problems/none"), 404, "route_not_found")


def test_a_disallowed_method_lists_the_allowed_ones(http: httpx.Client) -> None:
    answer = http.delete("/healthz")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=999", "cursor=!", "cursor=AAAA"])
def test_a_page_that_cannot_be_is_refused(http: httpx.Client, query: str) -> None:
    code = "cursor_invalid" if "cursor" in query else "request_invalid"
    refused(http.get(f"/v1/models?{query}"), 422, code)


def test_an_unexpected_exception_reveals_nothing(
    http: httpx.Client, app: FakeApp, model: str
) -> None:
    app.broken = RuntimeError("the private value Umbelliferae")
    try:
        with capture_logs() as logs:
            answer = http.post("/v1/proofs", json={"model": model, "inputs": {"x": [1, 2, 3]}})
    finally:
        app.broken = None
    refused(answer, 500, "internal")
    assert "Umbelliferae" not in answer.text
    assert "RuntimeError" not in answer.text
    (logged,) = [line for line in logs if line["event"] == "unexpected_error"]
    assert logged["error"] == "RuntimeError"
    assert "fake_app.py" in logged["frames"][-1]
    assert "private value" not in str(logs)


def test_a_client_that_disconnects_while_sending_is_no_internal_error(http: httpx.Client) -> None:
    with capture_logs() as logs:
        with socket.create_connection((http.base_url.host, http.base_url.port or 80), 5) as raw:
            raw.sendall(
                b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                b"Content-Type: application/octet-stream\r\n\r\n\x08"
            )
        until = time.monotonic() + 300
        while time.monotonic() < until and not _has(logs, "client_left"):
            time.sleep(0.02)
    assert _has(logs, "client_left")
    assert not _has(logs, "unexpected_error")


def _has(logs: list[EventDict], event: str) -> bool:
    return any(line["event"] == event for line in logs)


def test_every_code_leads_to_its_description(http: httpx.Client) -> None:
    problem = http.get("/v1/models/sha256:00").json()
    described = http.get(problem["type"]).json()
    assert described["title"] == problem["title"]
    assert described["status"] == 404
    assert described in http.get("/problems").json()


def test_the_callers_request_id_is_echoed_when_it_is_plain(http: httpx.Client) -> None:
    def echo(given: str) -> str:
        return http.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"]

    assert echo("trace-7") == "trace-7"
    assert echo("a b\tc") != "a b\tc"
    assert len(echo("x" * 500)) == 32
