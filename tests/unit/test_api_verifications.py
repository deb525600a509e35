"""Verification for everybody: no key, a limit for each client, and whom to trust."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import Request

from api.client import Client, Retries, ServerProblem
from api.problem import Problem
from api.rate import client_of
from prover.statement.keys import KeyRing, parse_public_document
from tests.unit.fake_app import FakeApp, http_client, serving


def test_verification_needs_no_key_and_is_rate_limited(tmp_path: Path) -> None:
    app = FakeApp(tmp_path, verifications_per_minute=2)
    zipped = {"Content-Type": "application/zip"}
    with serving(app) as url, http_client(url) as http:
        answers = [http.post("/v1/verifications", content=b"PK", headers=zipped) for _ in range(3)]
        assert http.get("/healthz").status_code == 200
    app.close()
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited"
    assert answers[2].json()["retryable"] is True
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60


def test_the_client_honours_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("api.client.sync.time.sleep", waited.append)
    busy = Problem.model_validate(
        {"type": "about:blank", "title": "", "status": 429, "detail": "", "code": "rate_limited"}
        | {"fault": "busy", "retryable": True}
    )
    report = {"ok": True, "checks": [], "statement": None, "words": [], "not_claimed": []}

    def answer(request: httpx.Request) -> httpx.Response:
        assert b"PK" in request.read()
        if len(waited) % 3 != 2:
            body = busy.model_dump(mode="json", exclude_none=True)
            return httpx.Response(429, json=body, headers={"Retry-After": "7"})
        return httpx.Response(200, json=report)

    transport = httpx.MockTransport(answer)
    with Client("http://service", transport=transport) as client:
        assert client.verify(b"PK").ok
        assert waited == [7, 7]
        waited.clear()
    client = Client("http://service", transport=transport, retries=Retries(longest_s=5))
    with client, pytest.raises(ServerProblem) as refused:
        client.verify(b"PK")
    assert refused.value.problem.code == "rate_limited"
    assert waited == []


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
    ],
)
def test_whom_a_request_is_counted_for(first: str, second: str, same: bool) -> None:
    one, two = (client_of(Request({"type": "http", "client": (h, 1)})) for h in (first, second))
    assert (one == two) is same


def test_the_key_set_is_what_a_policy_trusts(tmp_path: Path) -> None:
    app = FakeApp(tmp_path)
    with serving(app) as url:
        answer = httpx.get(f"{url}/.well-known/zkml-keys.json")
    app.close()
    assert parse_public_document(answer.content) == KeyRing(app.settings.key_path).keys
    assert answer.headers["Cache-Control"] == "max-age=60"
    assert "PRIVATE" not in answer.text


def test_a_bare_proof_is_sent_in_parts(tmp_path: Path) -> None:
    app = FakeApp(tmp_path)
    parts = {"proof": b"PK", "settings": b"{}", "vk": b"key"}
    with serving(app) as url, http_client(url) as http:
        whole = http.post("/v1/verifications", files=parts)
        pinned = http.post("/v1/verifications", files=parts | {"srs_part": b"516"})
        refused = [
            http.post("/v1/verifications", files=files)
            for files in (
                {"proof": b"PK", "settings": b"{}"},
                parts | {"bundle": b"PK"},
                parts | {"strange": b""},
            )
        ]
    app.close()
    assert (whole.json()["ok"], whole.json()["words"]) == (True, ["srs part: False"])
    assert pinned.json()["words"] == ["srs part: True"]
    assert {(a.status_code, a.json()["code"]) for a in refused} == {(422, "request_invalid")}
