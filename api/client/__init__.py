"""The client of the HTTP API, synchronous and asynchronous, with the same methods in both.

    from api.client import Client

    with Client("http://127.0.0.1:8000", api_key="zkml_…") as zkml:
        model = zkml.upload_model(Path("digits.onnx"))
        job = zkml.prove(model=model.id, inputs={"image": image}, on_event=print)
        bundle = zkml.bundle(job.id)
        assert verify_offline(bundle, trusted=keys_from_elsewhere).ok

    async with AsyncClient("http://127.0.0.1:8000") as zkml:
        job = await zkml.create_proof(model=model_id, inputs={"image": image})
        async for event in zkml.events(job.id):
            print(event.type, event.data)

Requests are retried where that is safe: after failed connections, and after responses that ask for
it. Requests that create something carry an ``Idempotency-Key``, so that it is created once.

This package imports neither the server nor the engine. Only ``verify_offline`` needs the rest of
zkml-prover, which it loads when called.
"""

from __future__ import annotations

from api.client.aio import AsyncClient
from api.client.failures import ServerProblem, UnexpectedAnswer
from api.client.models import (
    Batch,
    Check,
    Circuit,
    Event,
    Item,
    Job,
    Model,
    Page,
    Problem,
    Readiness,
    Usage,
    Verification,
)
from api.client.offline import EngineMissing, verify_offline
from api.client.retries import Retries
from api.client.sync import Client
from api.client.webhooks import Delivery, WebhookRefused, verify_webhook

__all__ = [
    "AsyncClient",
    "Batch",
    "Check",
    "Circuit",
    "Client",
    "Delivery",
    "EngineMissing",
    "Event",
    "Item",
    "Job",
    "Model",
    "Page",
    "Problem",
    "Readiness",
    "Retries",
    "ServerProblem",
    "UnexpectedAnswer",
    "Usage",
    "Verification",
    "WebhookRefused",
    "verify_offline",
    "verify_webhook",
]
