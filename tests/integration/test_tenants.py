"""What one tenant has, another can neither see nor guess: every route, every method."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog

from api.access import PREFIXES, needed, prefix_of
from api.application import create_app
from circuits.format.profile import Profile
from prover.app import App
from prover.records.api_key import ALL_SCOPES, new_api_key
from prover.records.batch import Item, ItemState, Pack
from prover.records.job import CircuitRecord, JobKind
from prover.records.webhook import SignatureScheme
from prover.settings import Settings
from prover.store import Store
from prover.testing import model_record
from tests.unit.fake_app import SIGNATURE, serving

OWNER, OTHER, THIRD = "owner", "other", "third"
PROFILE = Profile().to_json()
INPUT = {"inputs": {"x": [[1.0, 2.0, 3.0]]}}
JSON = {"Content-Type": "application/json"}
ROWS = {"Content-Type": "application/x-ndjson"}


@dataclass
class World:
    """A service in which one tenant has one of everything."""

    http: httpx.Client
    app: App
    headers: dict[str, dict[str, str]]
    ids: dict[str, str]

    @contextmanager
    def counted(self, request_id: str) -> Iterator[list[str]]:
        """The SQL statements of one request."""
        seen: list[str] = []
        engine = sa.Engine  # any: the event loop reads through a connection of its own

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            ours = structlog.contextvars.get_contextvars().get("request_id") == request_id
            # What is known of keys is remembered for a second: its questions are not counted.
            if ours and "FROM api_keys" not in statement and not statement.startswith("BEGIN"):
                seen.append(statement)

        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    app = App.open(Settings(home=tmp_path_factory.mktemp("home"), redis_url=None))
    headers = {}
    for tenant in (OWNER, OTHER, THIRD):
        key, token = new_api_key(
            tenant=tenant, name=tenant, scopes=ALL_SCOPES, now=datetime.now(UTC)
        )
        app.store.add_api_key(key)
        headers[tenant] = {"Authorization": f"Bearer {token}"}
    ids = one_of_everything(app.for_tenant(OWNER))
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield World(http, app, headers, ids)
    app.close()


def one_of_everything(app: App) -> dict[str, str]:
    """Writes rows as the service would, without an engine; their ids by parameter name."""
    store = app.store
    model = replace(model_record("theirs"), signature=SIGNATURE)
    store.add_model(model)
    files = {name: app.artifacts.put(name.encode()) for name in ("settings", "vk", "plan")}
    circuit = "sha256:" + "c" * 64
    store.add_circuit(
        CircuitRecord(
            id=circuit,
            model_id=model.id,
            profile=PROFILE,
            manifest={"files": files},
            created_at=datetime.now(UTC),
        )
    )
    built = store.create_job(JobKind.CIRCUIT, model.id, circuit, {"profile": PROFILE}, None)
    ended(store, built.id, {})
    parts = {name: app.artifacts.put(name.encode()) for name in ("receipt", "proof", "bundle")}
    proof = store.create_job(
        JobKind.PROOF, model.id, circuit, {"profile": PROFILE, "context": None}, None
    )
    ended(store, proof.id, parts | {"outputs": {}})
    batch = "b" * 32
    request = {"profile": PROFILE, "context": None, "isolate": False, "lanes": None}
    store.create_batch(batch, model.id, request, None)
    store.add_items(
        batch, [Item(batch_id=batch, number=1, id="a", line=1, state=ItemState.QUEUED)], None, None
    )
    store.start_batch(batch, circuit, request)
    shared = Pack(id="a" * 32, circuit_id=circuit, request=request | {"batch": batch}, numbers=(1,))
    store.queue_packs(batch, [shared])
    upload = "sha256:" + "d" * 64
    store.open_upload(upload, 100)
    hook = store.create_webhook_endpoint(
        "https://example.com/",
        events=None,
        description="",
        scheme=SignatureScheme.HMAC,
        secret="whsec_c2VjcmV0",
    )
    return {
        "endpoint_id": hook.id,
        "client_id": "order-4711",
        "digest": upload,
        "model_id": model.id,
        "circuit_id": circuit,
        "job_id": proof.id,
        "batch_id": batch,
        "shared": shared.id,
        "number": "1",
        "name": model.id,
        "version": model.id[7:19],
    }


def ended(store: Store, job_id: str, result: dict[str, Any]) -> None:
    lease = store.claim(job_id, "worker", 30)
    assert lease is not None
    store.succeed(lease, result)


def unknown(ids: dict[str, str]) -> dict[str, str]:
    """Unused ids of the same form."""
    return {name: re.sub("[0-9a-f](?=[0-9a-f]{8})", "0", value) for name, value in ids.items()}


#: Requests that name what they are about in query or body: route to request options.
def requests_of(ids: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    model, circuit = {"model": ids["model_id"]}, {"circuit": ids["circuit_id"]}
    row = json.dumps({"id": "a", **INPUT})

    def body(**fields: Any) -> dict[str, Any]:
        return {"content": json.dumps(fields), "headers": JSON}

    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}
    infer = [body(inputs=[tensor], parameters={"wait_s": 0})]
    signed = {"scheme": "ed25519", "signer": "0" * 64, "signature": "0" * 128}
    return {
        "GET /v1/proofs": [{}, {"params": {"batch": ids["batch_id"]}}],
        "PATCH /v1/models/{model_id}": [body(licence="none")],
        "PUT /v1/models/{model_id}/signature": [body(**signed)],
        "POST /v2/models/{name}/infer": infer,
        "POST /v2/models/{name}/versions/{version}/infer": infer,
        "PUT /v1/proofs/{client_id}": [body(**model, **INPUT)],
        f"PATCH {_HOOK}": [body(description="mine")],
        f"POST {_HOOK}/rotate": [body()],
        f"POST {_HOOK}/replay": [body(since=datetime.now(UTC).isoformat())],
        "POST /v1/proofs": [body(**model, **INPUT), body(**circuit, **INPUT)],
        "POST /v1/circuits": [body(**model)],
        "POST /v1/estimates": [body(**model)],
        "POST /v1/batches": [
            {"params": model, "content": row, "headers": ROWS},
            {"params": circuit, "content": row, "headers": ROWS},
        ],
    }


#: Headers that differ from answer to answer.
_EACH_ITS_OWN = ("date", "x-request-id", "ratelimit")

#: Routes that name nothing of a tenant's: what they take is content, or they list.
NAMELESS = {
    "POST /v1/models",
    "POST /v1/uploads",
    "POST /v1/verifications",
    "POST /v1/webhook-endpoints",
}
_HOOK = "/v1/webhook-endpoints/{endpoint_id}"


def routes(app: App) -> Iterator[tuple[str, str]]:
    """Those that delete come last."""
    found = [
        (method.upper(), path)
        for path, operations in create_app(app).openapi()["paths"].items()
        for method in operations
    ]
    yield from sorted(found, key=lambda route: route[0] == "DELETE")


def test_another_tenants_id_behaves_like_an_unknown_one(world: World) -> None:
    """Status, headers, body, and even the number of questions to the database."""
    walked = 0
    for method, path in routes(world.app):
        if needed(method, path) is None or f"{method} {path}" in NAMELESS:
            continue
        named = "{" in path
        theirs = requests_of(world.ids).get(f"{method} {path}", [{}])
        nobodys = requests_of(unknown(world.ids)).get(f"{method} {path}", [{}])
        if method != "GET" and not named:
            assert theirs != [{}], f"say in requests_of what {method} {path} names"
        of_batch = [world.ids | {"job_id": world.ids["shared"]}] if "{job_id}" in path else []
        for ids, (given, made_up) in product(
            (world.ids, *of_batch), zip(theirs, nobodys, strict=True)
        ):
            seen = ask(world, OTHER, method, path, ids, given)
            absent = ask(world, OTHER, method, path, unknown(ids), made_up)
            assert seen == absent, (method, path)
            owners = ask(world, OWNER, method, path, ids, given, wait=False)
            if named or method != "GET":
                assert seen.status == 404, (method, path, seen)
                assert owners.status != 404, (method, path, owners)
            else:
                third = ask(world, THIRD, method, path, ids, given)
                assert seen.body == third.body, (method, path)
                assert owners.body != seen.body or path in ("/v1/capabilities",), (method, path)
            walked += 1
    assert walked > 20


@dataclass(frozen=True)
class Seen:
    """What a caller can tell of an answer; ids and what differs each time are taken out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    statements: tuple[str, ...]


def ask(
    world: World,
    tenant: str,
    method: str,
    path: str,
    ids: dict[str, str],
    options: dict[str, Any],
    *,
    wait: bool = True,
) -> Seen:
    address = path.format(**ids)
    request_id = secrets.token_hex(8)
    headers = options.get("headers", {}) | world.headers[tenant] | {"X-Request-ID": request_id}
    with world.counted(request_id) as statements:
        if path.endswith("/events") and not wait:
            with world.http.stream(method, address, headers=headers) as stream:
                return Seen(stream.status_code, (), "", ())
        answer = world.http.request(method, address, **(options | {"headers": headers}))
    text = answer.text
    for value in ids.values():
        if len(value) > 8:
            text = text.replace(value, "ID")
    text = re.sub(r'"request_id":"\w+"', "", text)
    kept = [(k, v) for k, v in answer.headers.items() if k not in _EACH_ITS_OWN]
    return Seen(answer.status_code, tuple(kept), text, tuple(statements))


def test_every_route_has_its_scopes(world: World) -> None:
    assert {prefix_of(p) for m, p in routes(world.app) if needed(m, p) is not None} <= set(PREFIXES)


@pytest.mark.slow
def test_the_same_bytes_are_each_tenants_own_model(world: World) -> None:
    """Neither the response nor its work reveals that another tenant has the model."""
    digits = Path(__file__).parents[2] / "benchmarks" / "demo" / "digits" / "digits.onnx"
    octets = {"Content-Type": "application/octet-stream"}
    first = world.http.post(
        "/v1/models?name=mine",
        content=digits.read_bytes(),
        headers=octets | world.headers[OWNER],
    )
    with world.counted("second") as statements:
        second = world.http.post(
            "/v1/models?name=yours",
            content=digits.read_bytes(),
            headers=octets | world.headers[OTHER] | {"X-Request-ID": "second"},
        )
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["name"], second.json()["name"]) == ("mine", "yours")
    assert first.json()["id"] == second.json()["id"]
    assert first.json()["created_at"] != second.json()["created_at"]
    assert statements
