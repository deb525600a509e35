"""For any JSON the response is a job or a client error, never an internal error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prover.app import App
from prover.records.job import ModelRecord
from prover.settings import Settings
from prover.testing import START
from tests.effort import examples
from tests.unit.fake_app import serving

#: One model for each kind of input, by id.
MODELS = {"sha256:" + str(n) * 64: d for n, d in enumerate(("float32", "float64", "int64"))}

numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**400, -(10**25), 2**63, 1e300, -0.0])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
row = st.lists(numbers, min_size=3, max_size=3)
fields: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(sorted(MODELS)),
    "inputs": st.fixed_dictionaries({"x": row.map(lambda r: [r])}),
    "profile": st.fixed_dictionaries(
        {},
        optional={
            "visibility": st.sampled_from(["public", "private-input", "hashed-input"]),
            "max_error": st.floats(0.001, 1),
            "agreement": st.floats(0, 1),
            "range_margin": st.floats(0, 1000),
        },
    ),
    "context": st.fixed_dictionaries(
        {},
        optional={
            "nonce": st.text(max_size=300),
            "chain_id": st.integers(0, 1 << 260),
            "consumer": st.just("0x" + "aB" * 20),
            "expires_at": st.just("2030-01-01T00:00:00Z") | st.integers(),
        },
    ),
}


def spoiled(base: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Requests as they should be, with at most one field, at any depth, turned into anything."""
    good = st.fixed_dictionaries(base)
    return good | st.builds(_spoil, good, st.randoms(use_true_random=False), anything)


def _spoil(body: dict[str, Any], random: Random, value: Any) -> dict[str, Any]:
    where: Any = body
    while True:
        key = random.choice(list(where) if isinstance(where, dict) else range(len(where)))
        if not isinstance(where[key], dict | list) or not where[key] or random.random() < 0.3:
            where[key] = value
            return body
        where = where[key]


proofs = spoiled(fields)
circuits = spoiled(
    {
        "model": fields["model"],
        "profile": fields["profile"],
        "calibration": st.fixed_dictionaries(
            {
                "inputs": st.fixed_dictionaries(
                    {"x": st.lists(row.map(lambda r: [r]), min_size=1, max_size=3)}
                )
            }
        ),
    }
)


#: Not "." and "..": a client takes these out of a path (RFC 3986, 5.2.4), and asks for another.
ids = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = App.open(Settings(home=tmp_path_factory.mktemp("home")))
    for model, dtype in MODELS.items():
        signature = {"inputs": [{"name": "x", "dtype": dtype, "shape": [1, 3]}], "outputs": []}
        app.store.add_model(
            ModelRecord(
                id=model,
                name=dtype,
                size_bytes=1,
                signature=signature,
                summary={},
                created_at=START,
            )
        )
    with serving(app) as url, httpx.Client(base_url=url, timeout=300) as client:
        yield client
    app.close()


def answered(http: httpx.Client, path: str, body: Any) -> None:
    answer = http.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 202, 400, 404, 422), answer.text
    if answer.is_error:
        assert answer.json()["fault"] in ("input", "not-found")
        assert answer.json()["detail"]


@settings(max_examples=examples(40, 400), deadline=None, suppress_health_check=list(HealthCheck))
@given(proofs)
def test_any_proof_request(http: httpx.Client, body: Any) -> None:
    answered(http, "/v1/proofs", body)


@settings(max_examples=examples(30, 200), deadline=None, suppress_health_check=list(HealthCheck))
@given(circuits)
def test_any_circuit_request(http: httpx.Client, body: Any) -> None:
    answered(http, "/v1/circuits", body)


@settings(max_examples=examples(30, 200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60) | anything.map(lambda v: json.dumps(v).encode()))
def test_any_body(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/proofs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@settings(max_examples=examples(20, 100), deadline=None, suppress_health_check=list(HealthCheck))
@given(ids)
def test_any_id(http: httpx.Client, name: str) -> None:
    quoted = httpx.URL("http://x", params={"q": name}).query.decode()[2:].replace("+", "%20")
    for path in ("/v1/models/", "/v1/proofs/", "/v1/circuits/"):
        assert http.get(path + quoted).status_code in (404, 422)
