"""``/metrics`` for Prometheus. docs/operations.md describes the metrics.

All values are read from the database on request, so they are the same in every process and survive
restarts. Labels are kinds, states, stages and codes; no job, model, tenant or input appears.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from statistics import quantiles

import anyio
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from api.services import Application
from prover.records.webhook import WebhookCounts
from prover.store import Store
from prover.store.service_metrics import ServiceMetrics

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(app: Application) -> Response:
    """Metrics in Prometheus' text format. If keys are needed, needs the scope ``operator``, since
    it counts all tenants."""
    text = await anyio.to_thread.run_sync(render, app.store)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def render(store: Store) -> bytes:
    """All current metrics. Raises ``StoreUnavailable``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Of(store.service_metrics()))
    registry.register(_OfWebhooks(store.every_tenant().count_webhooks()))
    return bytes(generate_latest(registry))


class _Of(Collector):
    def __init__(self, metrics: ServiceMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        build = InfoMetricFamily("zkml_build", "Version of the service.")
        build.add_metric([], {"version": version("zkml-prover")})
        yield build
        yield _gauge("zkml_jobs", "Jobs by state.", ("kind", "state"), metrics.states.items())
        yield _gauge(
            "zkml_queue_jobs",
            "Jobs that have not ended, by size class.",
            ("class", "state"),
            metrics.sizes.items(),
        )
        yield _gauge(
            "zkml_jobs_ended",
            "Jobs that have ended, by state or by the code of their problem.",
            ("kind", "outcome"),
            metrics.ends.items(),
        )
        yield _gauge(
            "zkml_queue_oldest_seconds",
            "Age of the oldest waiting job.",
            ("kind",),
            (((kind,), age) for kind, age in metrics.oldest_s.items()),
        )
        yield _gauge(
            "zkml_attempts_lost",
            "Repeated attempts: worker, its lease expired; other, a transient error.",
            ("reason",),
            ((("worker",), metrics.deaths), (("other",), metrics.lost)),
        )
        stages = sorted({name for timings in metrics.timings for name in timings})
        yield _gauge(
            "zkml_recent_stage_seconds",
            "Seconds of a stage, over the newest ended jobs.",
            ("stage", "quantile"),
            (
                ((stage, q), value)
                for stage in stages
                for q, value in _spread([t[stage] for t in metrics.timings if stage in t])
            ),
        )
        yield _gauge(
            "zkml_recent_peak_memory_bytes",
            "Peak memory of the engine's child process, over the newest ended jobs.",
            ("quantile",),
            (((q,), value) for q, value in _spread(metrics.peak_bytes)),
        )
        yield _gauge(
            "zkml_recent_predicted_memory_bytes",
            "Memory predicted for the same proofs when they were requested.",
            ("quantile",),
            (((q,), value) for q, value in _spread([p for p, _ in metrics.predicted_bytes])),
        )
        yield _gauge(
            "zkml_recent_memory_over_predicted",
            "Peak memory divided by predicted memory, for each of these.",
            ("quantile",),
            (
                ((q,), value)
                for q, value in _spread([real / p for p, real in metrics.predicted_bytes])
            ),
        )
        yield _gauge(
            "zkml_recent_circuits",
            "Newest proofs whose circuit existed (found), or had to be built.",
            ("how",),
            ((("found",), metrics.found), (("built",), metrics.built)),
        )


class _OfWebhooks(Collector):
    def __init__(self, counts: WebhookCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield _gauge(
            "zkml_webhook_endpoints",
            "Webhook endpoints, enabled and disabled.",
            ("state",),
            ((("enabled",), counts.enabled), (("disabled",), counts.disabled)),
        )
        states = ("pending", "delivered", "failed", "missed")
        yield _gauge(
            "zkml_webhook_deliveries",
            "Deliveries of stored events, by state.",
            ("state",),
            (((state,), getattr(counts, state)) for state in states),
        )
        yield _gauge(
            "zkml_webhook_late_seconds",
            "Delay of the most overdue delivery.",
            (),
            [((), counts.oldest_due_s)],
        )


def _gauge(
    name: str,
    says: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    family = GaugeMetricFamily(name, says, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def _spread(values: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Median, 95th percentile and maximum, if there are values."""
    if not values:
        return
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    yield from (("0.5", cuts[9]), ("0.95", cuts[18]), ("1", max(values)))
