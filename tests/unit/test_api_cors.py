"""CORS: off by default, and for each key only the origins that it names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api import authentication, cors
from prover.errors import OriginInvalid, StoreUnavailable
from prover.records.api_key import ALL_SCOPES, new_api_key, read_origin
from prover.store import Store
from tests.unit.fake_app import FakeApp, http_client, serving

APP, EVIL = "https://app.example", "https://evil.example"
ALLOW = "access-control-allow-origin"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    made = FakeApp(tmp_path)
    yield made
    made.close()


@pytest.fixture
def http(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(authentication, "FRESH_S", 0.0)
    monkeypatch.setattr(cors, "FRESH_S", 0.0)
    with serving(app) as base, http_client(base) as client:
        yield client


def key(app: FakeApp, *origins: str) -> dict[str, str]:
    made, token = new_api_key(
        tenant="acme",
        name="page",
        scopes=ALL_SCOPES,
        now=datetime.now(UTC),
        origins=frozenset(origins),
    )
    app.store.add_api_key(made)
    return {"Authorization": f"Bearer {token}"}


def preflight(http: httpx.Client, origin: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return http.options("/v1/proofs", headers=headers)


def test_it_is_off_until_a_key_names_an_origin(app: FakeApp, http: httpx.Client) -> None:
    assert ALLOW not in http.get("/v1/models", headers={"Origin": APP}).headers
    assert preflight(http, APP).status_code >= 400
    key(app)
    assert ALLOW not in preflight(http, APP).headers


def test_a_page_uses_the_key_that_names_it_and_no_other(app: FakeApp, http: httpx.Client) -> None:
    named, other, plain = key(app, APP), key(app, EVIL), key(app)
    asked = preflight(http, APP)
    assert (asked.status_code, asked.headers[ALLOW]) == (204, APP)
    assert "Idempotency-Key" in asked.headers["access-control-allow-headers"]
    assert asked.headers["vary"] == "Origin"

    answer = http.get("/v1/models", headers=named | {"Origin": APP})
    assert (answer.status_code, answer.headers[ALLOW]) == (200, APP)
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    for held in (other, plain):
        answer = http.get("/v1/models", headers=held | {"Origin": APP})
        assert ALLOW not in answer.headers
        assert "Origin" in answer.headers["vary"]
    # A page that is told "401" must be able to read so.
    assert http.get("/v1/models", headers={"Origin": APP}).headers[ALLOW] == APP
    assert http.get("/healthz", headers={"Origin": APP}).headers[ALLOW] == APP


def test_a_revoked_key_takes_its_origins_along(app: FakeApp, http: httpx.Client) -> None:
    key(app, APP)
    assert preflight(http, APP).status_code == 204
    app.store.revoke_api_key(app.store.api_keys()[0].id)
    assert preflight(http, APP).status_code >= 400


def test_without_the_key_store_no_origin_is_known(
    app: FakeApp, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    key(app, APP)

    def away(_: Store) -> frozenset[str]:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(Store, "origins", away)
        with serving(app) as base:
            assert ALLOW not in httpx.get(f"{base}/healthz", headers={"Origin": APP}).headers


NO_ORIGINS: tuple[str, ...] = ("*", "null", "", "app.example", "ftp://app.example", "https://a b")
NO_ORIGINS += ("https://app.example/", "https://App.example", "https://user@app.example")
NO_ORIGINS += ("https://app.example:0",)


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(OriginInvalid):
        read_origin(text)


@pytest.mark.parametrize(
    "text", [APP, "http://localhost:5173", "http://127.0.0.1", "https://a-b.c"]
)
def test_what_is_an_origin(text: str) -> None:
    assert read_origin(text) == text
