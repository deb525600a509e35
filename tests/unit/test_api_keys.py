"""API keys over HTTP: who gets in, who does not, and what is kept of a key."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import authentication
from api.authentication import KeyChecker
from prover.errors import StoreUnavailable
from prover.records.api_key import Scope
from prover.records.job import JobKind
from prover.store import Store
from prover.testing import model_record
from tests.cases.api_keys import made
from tests.unit.fake_app import FakeApp, http_client, serving


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    made = FakeApp(tmp_path)
    yield made
    made.close()


@pytest.fixture
def http(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(authentication, "FRESH_S", 0.0)
    monkeypatch.setattr(authentication, "RECHECK_S", 0.05)
    with serving(app) as base, http_client(base) as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_without_any_key_loopback_is_open_and_the_first_key_closes_it(
    app: FakeApp, http: httpx.Client
) -> None:
    assert http.get("/v1/models").status_code == 200

    _, header = made(app.store)

    refused = http.get("/v1/models")
    assert code(refused) == (401, "api_key_missing")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert http.get("/v1/models", headers=header).status_code == 200


def test_without_a_key_only_names_of_this_machine_are_answered(
    app: FakeApp, http: httpx.Client
) -> None:
    """What a page would need that gives its own name our address."""
    for host in (
        "evil.example",
        "evil.example:80",
        "10.0.0.1",
        "localhost.evil.example",
        "[::2]",
        "[:",
    ):
        answer = http.get("/v1/models", headers={"Host": host})
        assert code(answer) == (403, "host_not_local"), host
    for host in ("localhost", "localhost:8000", "a.localhost", "127.1.2.3:1", "[::1]:8000"):
        assert http.get("/v1/models", headers={"Host": host}).status_code == 200, host
    assert http.get("/healthz", headers={"Host": "probe"}).status_code == 200
    _, header = made(app.store)
    named = header | {"Host": "zkml.example"}
    assert http.get("/v1/models", headers=named).status_code == 200


def test_what_is_no_key_of_ours_gets_one_answer(app: FakeApp, http: httpx.Client) -> None:
    key, header = made(app.store)
    token = header["Authorization"].removeprefix("Bearer ")
    other = "A" if token[-2] != "A" else "B"
    wrong = [
        f"Bearer {token[:-2]}{other}{token[-1]}",  # somebody's id, not his secret
        f"Bearer zkml_{'0' * 12}{token[17:]}",  # nobody's id
        f"Bearer {key.id}",
        f"Basic {token}",
        token,
        "Bearer",
        "Bearer x%00y",
        f"Bearer {token} {token}",
    ]
    for value in wrong:
        answer = http.get("/v1/models", headers={"Authorization": value})
        assert code(answer) == (401, "api_key_invalid"), value
    twice = http.get(
        "/v1/models",
        headers=[("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
    )
    assert code(twice) == (401, "api_key_invalid")
    in_the_address = http.get("/v1/models", params={"api_key": token, "token": token})
    assert code(in_the_address) == (401, "api_key_missing")


def test_a_key_ends_by_revocation_and_by_time(app: FakeApp, http: httpx.Client) -> None:
    key, revoked = made(app.store)
    _, expired = made(app.store, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    app.store.revoke_api_key(key.id)

    assert code(http.get("/v1/models", headers=revoked)) == (401, "api_key_revoked")
    assert code(http.get("/v1/models", headers=expired)) == (401, "api_key_expired")


def test_a_key_is_limited_to_its_scopes(app: FakeApp, http: httpx.Client) -> None:
    _, proofs = made(app.store, scopes=frozenset({Scope.PROOFS}))
    _, models = made(app.store, scopes=frozenset({Scope.MODELS}))
    _, admin = made(app.store, scopes=frozenset({Scope.ADMIN}))

    assert http.get("/v1/models", headers=proofs).status_code == 200
    assert http.get("/v1/proofs", headers=proofs).status_code == 200
    assert code(http.post("/v1/models", headers=proofs)) == (403, "scope_missing")
    assert code(http.get("/v1/proofs", headers=models)) == (403, "scope_missing")
    assert code(http.get("/v1/nothing", headers=models)) == (403, "scope_missing")
    assert http.get("/v1/proofs", headers=admin).status_code == 200
    _, operator = made(app.store, scopes=frozenset({Scope.OPERATOR}))
    assert code(http.get("/metrics", headers=admin)) == (403, "scope_missing")
    assert http.get("/metrics", headers=operator).status_code == 200
    assert code(http.get("/v1/proofs", headers=operator)) == (403, "scope_missing")
    assert code(http.get("/v1/nothing", headers=admin)) == (404, "route_not_found")


def test_a_request_without_a_key_is_refused_before_its_body(
    app: FakeApp, http: httpx.Client
) -> None:
    made(app.store)
    address = (http.base_url.host, http.base_url.port or 80)
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(
            b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_everybody_may_verify_unless_the_operator_says_otherwise(
    tmp_path: Path, app: FakeApp, http: httpx.Client
) -> None:
    _, header = made(app.store, scopes=frozenset({Scope.MODELS}))
    ask: dict[str, Any] = {"url": "/v1/verifications", "content": b"PK"}
    octets = {"Content-Type": "application/octet-stream"}
    assert http.post(**ask, headers=octets).status_code == 200
    assert http.post(**ask, headers=octets | header).status_code == 200
    forged = {"Authorization": "Bearer zkml_no"}
    assert http.post(**ask, headers=octets | forged).status_code == 401

    closed = FakeApp(tmp_path, public_verification=False)
    with serving(closed) as base, http_client(base) as other:
        assert code(other.post(**ask, headers=octets)) == (401, "api_key_missing")
        assert code(other.post(**ask, headers=octets | header)) == (403, "scope_missing")
        _, verify = made(app.store, scopes=frozenset({Scope.VERIFY}))
        assert other.post(**ask, headers=octets | verify).status_code == 200
    closed.close()


@pytest.mark.parametrize("how", ["revoked", "expired", "store away"])
def test_a_stream_ends_with_its_key(
    app: FakeApp, http: httpx.Client, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_moment = datetime.now(UTC) + timedelta(seconds=1) if how == "expired" else None
    key, header = made(app.store, expires_at=in_a_moment)
    store = app.store.for_tenant("acme")
    store.add_model(model_record())
    job = store.create_job(JobKind.PROOF, model_record().id, "c", {}, None)

    with http.stream("GET", f"/v1/proofs/{job.id}/events", headers=header) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "id: 1"
        if how == "revoked":
            app.store.revoke_api_key(key.id)
        elif how == "store away":
            monkeypatch.setattr(Store, "find_api_key", _away)
        rest = list(lines)  # the stream ends, and ends as a stream should

    assert not any(line.startswith("id:") for line in rest)
    assert http.get("/v1/models", headers=header).status_code in (401, 503)


def test_without_the_key_store_requests_are_refused(
    app: FakeApp, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, header = made(app.store)
    monkeypatch.setattr(Store, "find_api_key", _away)
    monkeypatch.setattr(Store, "has_api_keys", _away)

    assert code(http.get("/v1/models", headers=header)) == (503, "store_unavailable")
    assert code(http.get("/v1/models")) == (503, "store_unavailable")


def _away(*_: object) -> None:
    raise StoreUnavailable


def test_no_stored_or_logged_data_contains_the_secret(
    app: FakeApp, http: httpx.Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, header = made(app.store)
    secret = header["Authorization"][len("Bearer ") + 18 :]
    http.get("/v1/models", headers=header)
    http.get("/v1/models", headers={"Authorization": f"Bearer x{secret}"})
    app.broken = RuntimeError("no")
    http.post("/v1/proofs", headers=header, json={"model": "x", "inputs": {"x": []}})

    assert secret not in "".join(capfd.readouterr())
    with sqlite3.connect(tmp_path / "zkml.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert secret.encode() not in (tmp_path / "zkml.db").read_bytes()


def test_the_last_use_is_written_down_now_and_then(app: FakeApp) -> None:
    key, header = made(app.store)
    checker = KeyChecker(app.store, allow_anonymous=False)
    token = header["Authorization"].removeprefix("Bearer ")
    workers = [threading.Thread(target=checker.caller, args=(token,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    before = app.store.find_api_key(key.id)
    checker.write_down_use()
    after = app.store.find_api_key(key.id)

    assert before is not None
    assert after is not None
    assert before.last_used_at is None
    assert after.last_used_at is not None
