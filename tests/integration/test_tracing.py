"""Traces from a request to the stages of its job, and none if tracing is off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from starlette.types import Receive, Scope, Send

from api.requests import RequestContext
from circuits.format.profile import Profile
from prover import tracing
from prover.app import App
from prover.records.job import JobState
from prover.settings import Settings
from tests.cases import tiny

_ids = count(1)


class Recorded(NonRecordingSpan):
    """A fake of the SDK's span."""

    def __init__(self, name: str, above: SpanContext, attributes: dict[str, Any]) -> None:
        trace_id = above.trace_id if above.is_valid else next(_ids)
        super().__init__(
            SpanContext(trace_id, next(_ids), is_remote=False, trace_flags=TraceFlags(1))
        )
        self.name, self.above, self.attributes, self.ended = name, above, attributes, False

    def update_name(self, name: str) -> None:
        self.name = name

    def set_attributes(self, attributes: Any) -> None:
        self.attributes |= attributes

    def end(self, end_time: int | None = None) -> None:
        self.ended = True


class Provider(trace.TracerProvider, trace.Tracer):
    """Keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self

    def start_span(self, name: str, context: Any = None, *_: Any, **more: Any) -> Recorded:
        above = trace.get_current_span(context).get_span_context()
        span = Recorded(name, above, dict(more.get("attributes") or {}))
        self.spans.append(span)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self, name: str, context: Any = None, **more: Any
    ) -> Iterator[trace.Span]:
        span = self.start_span(name, context, **more)
        with trace.use_span(span, end_on_exit=True):
            yield span

    def named(self, name: str) -> Recorded:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    made = Provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made)
    return made


@pytest.mark.long
@pytest.mark.slow
def test_a_trace_goes_from_the_order_to_the_stages(
    provider: Provider, tmp_path: Path, srs_cache: Path
) -> None:
    app = App.open(Settings.load(home=tmp_path, srs_dir=srs_cache, plan_effort="fast"))
    model, _ = app.add_model(tiny.linear(), "model")
    with tracing.request_span("POST", {}):
        job = app.request_proof(
            model_id=model.id,
            circuit_id=None,
            payload={"inputs": {"x": [[0.81234567, -1.0, 2.0, 0.0]]}},
            profile=Profile(),
            context=None,
        )
    app.run(job.id, "w")
    assert app.store.job(job.id).state is JobState.SUCCEEDED
    app.close()

    request, work = provider.named("POST"), provider.named("job proof")
    ordered = request.get_span_context()
    assert (work.above.trace_id, work.above.span_id) == (ordered.trace_id, ordered.span_id)
    stages = [span for span in provider.spans if span.name.startswith("stage")]
    names = [span.name.removeprefix("stage ") for span in stages]
    assert names == ["compile", "witness", "prove", "verify", "sign"]
    assert all(span.above == work.get_span_context() for span in stages)
    assert all(span.ended for span in provider.spans)
    assert work.attributes["zkml.job"] == job.id
    assert "0.8123" not in str([span.attributes for span in provider.spans])


def test_a_request_is_below_its_callers_span_and_named_by_its_route(provider: Provider) -> None:
    class Route:
        path = "/v1/proofs/{job_id}"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = Route()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> None:
        transport = httpx.ASGITransport(RequestContext(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            await client.get("/v1/proofs/private-name", headers=headers)

    anyio.run(ask)
    span = provider.named("GET /v1/proofs/{job_id}")
    assert span.above.trace_id == int("a" * 32, 16)
    assert span.attributes["http.response.status_code"] == 404
    assert span.ended


def test_without_the_library_nothing_is_loaded() -> None:
    code = (
        "import sys; from prover import app, tracing; from prover.testing import model_record\n"
        "assert tracing.carrier() == {}\n"
        "with tracing.request_span('GET', {}) as span: assert span is None\n"
        "tracing.stage('prove')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
