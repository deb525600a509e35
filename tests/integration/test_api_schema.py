"""Requests that schemathesis makes from docs/openapi.json, well-formed and not, against the real
application: no 5xx, and no status, media type or body that the document does not tell of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from circuits.format.profile import Profile
from prover.app import App
from prover.records.api_key import ALL_SCOPES, new_api_key
from prover.records.job import JobKind
from prover.records.tenant import DEFAULT_TENANT
from prover.records.webhook import SignatureScheme
from prover.settings import Settings
from tests.effort import examples
from tests.unit.fake_app import serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "benchmarks" / "demo" / "digits" / "digits.onnx"
MODEL = "sha256:0835b0fb95cb86c62bc3f10fe2b83d7935f09015b89fa83f625834df8e186566"
CIRCUIT, JOB = "sha256:" + "1" * 64, "job-that-was-canceled"
#: Ids that exist, beside those that schemathesis makes up.
ENDPOINT = "whe_that_is_there"
KNOWN = {
    "model_id": MODEL,
    "circuit_id": CIRCUIT,
    "job_id": JOB,
    "endpoint_id": ENDPOINT,
    "client_id": "order-4711",
    "batch_id": "nobody",
    "number": 1,
    "code": "model_not_onnx",
    "name": "digits.onnx",
    "version": MODEL[7:19],
}
#: One check more than these, of refusing what the document does not allow, is left out: a header
#: or a query parameter that nobody knows is no error over HTTP.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

#: A key that may do everything: what happens without one is tested elsewhere.
KEY: dict[str, str] = {}

schema = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.json")


@schema.hook("before_generate_path_parameters")
def known_ids(context: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Half of the well-formed paths lead to something."""
    return strategy | strategy.map(_known)


def _known(made: Any) -> Any:
    # What is malformed on purpose comes in a wrapper: it stays as it is.
    return {name: KNOWN.get(name, made[name]) for name in made} if isinstance(made, dict) else made


@schemathesis.serializer(
    "application/zip",
    "application/onnx",
    "application/x-protobuf",
    "application/jsonl",
    "application/x-ndjson",
)
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = App.open(Settings(home=tmp_path_factory.mktemp("home"), verifications_per_minute=0))
    model, _ = app.add_model(DIGITS.read_bytes(), "digits.onnx")
    assert model.id == MODEL
    request = {"profile": Profile().to_json(), "context": None}
    for kind, job_id in ((JobKind.CIRCUIT, "build"), (JobKind.PROOF, JOB)):
        app.store.create_job(kind, MODEL, CIRCUIT, request, None, id=job_id)
        app.store.request_cancel(job_id)
    key, token = new_api_key(
        tenant=DEFAULT_TENANT, name="test", scopes=ALL_SCOPES, now=datetime.now(UTC)
    )
    app.store.add_api_key(key)
    KEY["Authorization"] = f"Bearer {token}"
    app.store.create_webhook_endpoint(
        "https://example.com/",
        events=None,
        description="",
        scheme=SignatureScheme.HMAC,
        secret="whsec_c2VjcmV0",
        id=ENDPOINT,
    )
    with serving(app) as base:
        yield base
    app.close()


@schema.parametrize()
@settings(
    max_examples=examples(3, 12),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_response_is_undocumented(case: schemathesis.Case[Any], url: str) -> None:
    case.call_and_validate(base_url=url, headers=KEY, checks=CHECKS, timeout=300)
