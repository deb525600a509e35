"""OpenTelemetry traces from a request to the engine's steps, if the library is loaded.

Start processes with ``opentelemetry-instrument`` to get them (docs/operations.md). Without
it a worker imports nothing and does nothing. Spans carry ids, kinds and codes, no values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from prover.records.job import Job

#: Key in a job's request for the span that created it (W3C Trace Context).
TRACE = "trace"


def carrier() -> dict[str, dict[str, str]]:
    """The current span, as stored in a job's request; empty without one."""
    if _tracer() is None:
        return {}
    from opentelemetry import propagate

    found: dict[str, str] = {}
    propagate.inject(found)
    return {TRACE: found} if found else {}


@contextmanager
def request_span(method: str, headers: Mapping[str, str]) -> Iterator[Span | None]:
    """The span of an HTTP request, a child of the caller's span if it sent one."""
    tracer = _tracer()
    if tracer is None:
        yield None
        return
    from opentelemetry import propagate, trace

    above = propagate.extract(headers)
    with tracer.start_as_current_span(
        method, above, kind=trace.SpanKind.SERVER, record_exception=False
    ) as span:
        yield span


@dataclass
class _Stages:
    """The stage that a job is in."""

    tracer: Tracer
    span: Span | None = None

    def end(self) -> None:
        if self.span is not None:
            self.span.end()
            self.span = None


_stages: ContextVar[_Stages | None] = ContextVar("stages", default=None)


@contextmanager
def job_span(job: Job) -> Iterator[None]:
    """The span of one attempt at a job, a child of the request's. ``stage`` adds to it."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    from opentelemetry import propagate, trace

    attributes: dict[str, Any] = {
        "zkml.job": job.id,
        "zkml.circuit": job.circuit_id,
        "zkml.tenant": job.tenant,
        "zkml.attempt": job.attempt,
    }
    above = propagate.extract(job.request.get(TRACE, {}))
    with tracer.start_as_current_span(
        f"job {job.kind.value}",
        above,
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
        record_exception=False,
    ):
        stages = _Stages(tracer)
        token = _stages.set(stages)
        try:
            yield
        finally:
            stages.end()
            _stages.reset(token)


def stage(name: str) -> None:
    """Ends the span of the previous stage and starts that of the next."""
    stages = _stages.get()
    if stages is not None:
        stages.end()
        stages.span = stages.tracer.start_span(f"stage {name}")


def _tracer() -> Tracer | None:
    trace: Any = sys.modules.get("opentelemetry.trace")
    # FastAPI loads it; with tracing enabled a provider is set.
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    tracer: Tracer = trace.get_tracer("zkml-prover")
    return tracer
