"""Every route as a value: the request and the parser of its response, for both clients."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from api.client.failures import ServerProblem, UnexpectedAnswer
from api.client.models import (
    Batch,
    Circuit,
    ItemPage,
    Job,
    Model,
    Page,
    Problem,
    Readiness,
    Upload,
    Usage,
    Verification,
    WebhookEndpoint,
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

CHUNK = 1 << 20
#: Bytes per part of a large upload: small enough to send again.
PART_BYTES = 8 << 20
_HOOKS = "/v1/webhook-endpoints"
_BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request. ``wait_s``: how long the service may delay the response. ``safe``: whether the
    request may be repeated. ``body`` makes the body for each attempt."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    body: Callable[[], bytes | Iterator[bytes]] | None = None
    files: Any = None
    form: Mapping[str, str] | None = None
    wait_s: float = 0
    untimed: bool = False
    safe: bool = True


# --- lists: all conditions that are given must hold; times are of creation ---------------------


class Paging(TypedDict, total=False):
    """``limit`` is 1 to 200, 50 if not given; ``cursor`` the ``next_cursor`` of the page before."""

    limit: int
    cursor: str | None


class Filters(Paging, total=False):
    """``created_since`` is included, ``created_before`` is not; both have a zone."""

    created_since: datetime | None
    created_before: datetime | None
    metadata: Mapping[str, str] | None


class ModelFilters(Filters, total=False):
    """``public``: all public models instead of your own."""

    public: bool | None


class CircuitFilters(Filters, total=False):
    """By model too."""

    model: str | None


class BatchFilters(CircuitFilters, total=False):
    """By state and circuit too."""

    state: str | None
    circuit: str | None


class ProofFilters(BatchFilters, total=False):
    """By batch too."""

    batch: str | None


def _page(path: str, shape: type[M], where: Mapping[str, Any]) -> Call[M]:
    params = {"limit": 50, **where, "metadata": _pairs(where.get("metadata"))}
    for name in ("created_since", "created_before"):
        params[name] = _moment(where.get(name))
    return _get(path, shape, **params)


# --- reading ---------------------------------------------------------------------------------


def as_model(shape: type[M]) -> Callable[[httpx.Response], M]:
    """Parses a response as this model; raises ``ServerProblem``, ``UnexpectedAnswer``."""

    def read(answer: httpx.Response) -> M:
        refuse_problem(answer)
        return _parsed(shape, answer)

    return read


def as_bytes(answer: httpx.Response) -> bytes:
    refuse_problem(answer)
    return answer.content


def as_json(answer: httpx.Response) -> dict[str, Any]:
    refuse_problem(answer)
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}")
    return value


def refuse_problem(answer: httpx.Response) -> None:
    """Raises ``ServerProblem`` for an error whose body has been read."""
    if answer.is_error:
        raise ServerProblem(_parsed(Problem, answer))


def _parsed(shape: type[M], answer: httpx.Response) -> M:
    try:
        return shape.model_validate_json(answer.content)
    except ValueError as exc:
        raise UnexpectedAnswer(f"HTTP {answer.status_code} from {answer.url}") from exc


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _get(path: str, shape: type[M], wait_s: float = 0, **params: Any) -> Call[M]:
    return Call(
        method="GET", path=path, read=as_model(shape), params=_given(**params), wait_s=wait_s
    )


def _pairs(metadata: Mapping[str, str] | None) -> list[str] | None:
    """Metadata as query parameters."""
    return [f"{key}:{value}" for key, value in metadata.items()] if metadata else None


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _file(path: str) -> Call[bytes]:
    return Call(method="GET", path=path, read=as_bytes)


def _key(given: str | None) -> dict[str, str]:
    """The header that makes a repeated request harmless."""
    return {"Idempotency-Key": given or uuid.uuid4().hex}


# --- models and circuits -----------------------------------------------------------------------


def upload_model(
    model: Path | bytes, name: str | None = None, *, metadata: Mapping[str, str] | None = None
) -> Call[Model]:
    """Uploads an ONNX file; the same bytes give the same model."""
    if name is None and isinstance(model, Path):
        name = model.name
    return Call(
        method="POST",
        path="/v1/models",
        read=as_model(Model),
        params=_given(name=name, metadata=_pairs(metadata)),
        headers=_BINARY,
        body=lambda: model.read_bytes() if isinstance(model, Path) else model,
    )


def begin_upload(digest: str, size_bytes: int) -> Call[Upload]:
    """Begins an upload in parts, or resumes one."""
    body = {"digest": digest, "size_bytes": size_bytes}
    return Call(method="POST", path="/v1/uploads", read=as_model(Upload), json=body)


def upload_part(upload: Upload, start: int, data: bytes) -> Call[Upload]:
    """Sends the bytes from ``start`` on."""
    end = start + len(data) - 1
    return Call(
        method="PUT",
        path=f"/v1/uploads/{upload.digest}",
        read=as_model(Upload),
        headers={**_BINARY, "Content-Range": f"bytes {start}-{end}/{upload.size_bytes}"},
        body=lambda: data,
    )


def finish_upload(digest: str, name: str, metadata: Mapping[str, str] | None) -> Call[Model]:
    """Creates the model of a complete upload."""
    return Call(
        method="POST",
        path=f"/v1/uploads/{digest}/finish",
        read=as_model(Model),
        params=_given(name=name, metadata=_pairs(metadata)),
    )


def model(model_id: str) -> Call[Model]:
    """A model's signature and the result of inspection."""
    return _get(f"/v1/models/{model_id}", Model)


def models(**where: Unpack[ModelFilters]) -> Call[Page[Model]]:
    """A page of your own models, or of all public ones, newest first."""
    return _page("/v1/models", Page[Model], where)


def change_model(
    model_id: str,
    *,
    visibility: str | None = None,
    others_may_prove: bool | None = None,
    licence: str | None = None,
) -> Call[Model]:
    """Changes what others may do with your model; absent fields stay unchanged."""
    body = _given(visibility=visibility, others_may_prove=others_may_prove, licence=licence)
    return Call(method="PATCH", path=f"/v1/models/{model_id}", read=as_model(Model), json=body)


def model_manifest(model_id: str) -> Call[bytes]:
    """The bytes that a model's owner signs."""
    return _file(f"/v1/models/{model_id}/manifest")


def sign_model(model_id: str, *, scheme: str, signer: str, signature: str) -> Call[Model]:
    """Submits the owner's signature of the manifest (``ed25519``, ``eip191``), in hex."""
    return Call(
        method="PUT",
        path=f"/v1/models/{model_id}/signature",
        read=as_model(Model),
        json={"scheme": scheme, "signer": signer, "signature": signature},
    )


def create_circuit(
    model: str,
    *,
    profile: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    wait_s: int = 0,
    idempotency_key: str | None = None,
) -> Call[Circuit]:
    """Builds a circuit; returns at once, or after at most ``wait_s`` (60) seconds."""
    return Call(
        method="POST",
        path="/v1/circuits",
        read=as_model(Circuit),
        headers=_key(idempotency_key),
        json=_given(model=model, profile=profile, calibration=calibration),
        wait_s=wait_s,
    )


def circuit(circuit_id: str) -> Call[Circuit]:
    """A ready circuit, or the job that builds it."""
    return _get(f"/v1/circuits/{circuit_id}", Circuit)


def circuits(**where: Unpack[CircuitFilters]) -> Call[Page[Circuit]]:
    """A page of ready circuits, newest first."""
    return _page("/v1/circuits", Page[Circuit], where)


def circuit_file(circuit_id: str, name: str) -> Call[bytes]:
    """``settings``, ``vk`` or ``plan``."""
    return _file(f"/v1/circuits/{circuit_id}/{name}")


# --- proofs ------------------------------------------------------------------------------------


def create_proof(
    *,
    model: str | None = None,
    circuit: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    input_data: list[Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    isolate: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
    deduplicate: bool | None = None,
    urgency: int | None = None,
    client_id: str | None = None,
    wait_s: int = 0,
    idempotency_key: str | None = None,
) -> Call[Job]:
    """Proves one input; returns at once, or after at most ``wait_s`` (60) seconds.

    ``isolate``: never share the proof with other jobs. ``deadline_s``: an unfinished job expires
    then. ``deduplicate``: return an existing proof of the same input, circuit and context.
    ``urgency``: order among your own jobs, 0 before 7; default 3. ``client_id``: your own id for
    the proof. ``idempotency_key``: random by default; pass your own to repeat a request after a
    crash.
    """
    body = _given(
        model=model,
        circuit=circuit,
        inputs=inputs,
        input_data=input_data,
        profile=profile,
        context=context,
        isolate=isolate,
        metadata=metadata,
        deadline_s=deadline_s,
        deduplicate=deduplicate,
        urgency=urgency,
    )
    return Call(
        method="POST" if client_id is None else "PUT",
        path="/v1/proofs" if client_id is None else f"/v1/proofs/{quote(client_id, safe='')}",
        read=as_model(Job),
        headers=_key(idempotency_key) if client_id is None else {},
        json=body,
        wait_s=wait_s,
    )


def proof(job_id: str, *, wait_s: int = 0) -> Call[Job]:
    """A proof's job; with ``wait_s`` once it has ended, or after that time (at most 60 s)."""
    return _get(f"/v1/proofs/{job_id}", Job, wait_s=wait_s)


def proofs(**where: Unpack[ProofFilters]) -> Call[Page[Job]]:
    """A page of proofs, newest first. The proofs of a batch are listed only with its ``batch``."""
    return _page("/v1/proofs", Page[Job], where)


def cancel(job_id: str) -> Call[Job]:
    """Cancels a queued proof, or requests cancellation of a running one."""
    return Call(method="POST", path=f"/v1/proofs/{job_id}/cancel", read=as_model(Job))


def receipt(job_id: str) -> Call[bytes]:
    """The signed statement, a DSSE envelope."""
    return _file(f"/v1/proofs/{job_id}/receipt")


def proof_file(job_id: str) -> Call[bytes]:
    """The bare proof."""
    return _file(f"/v1/proofs/{job_id}/proof")


def bundle(job_id: str) -> Call[bytes]:
    """Everything that verification needs, in one file."""
    return _file(f"/v1/proofs/{job_id}/bundle")


# --- batches -----------------------------------------------------------------------------------


def create_batch(
    rows: Path | Iterable[Mapping[str, Any]],
    *,
    model: str | None = None,
    circuit: str | None = None,
    isolate: bool | None = None,
    lanes: int | None = None,
    deadline_s: float | None = None,
    on_inexact: str | None = None,
    profile: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Call[Batch]:
    """Proves many inputs; returns when the service has read all rows.

    ``rows`` is a file (JSON lines, ``.csv`` or ``.npz``) or an iterable of rows, each
    ``{"id": …, "inputs": {name: nested list or array}}``; neither is loaded into memory. An
    iterator cannot be sent twice, so such a request is not retried.
    ``on_inexact``: ``report``, ``fail`` or ``isolate`` rows whose output misses the tolerance.
    """
    query = _given(
        model=model,
        circuit=circuit,
        isolate=isolate,
        lanes=lanes,
        deadline_s=deadline_s,
        on_inexact=on_inexact,
        metadata=_pairs(metadata),
    )
    media = "application/octet-stream" if isinstance(rows, Path) else "application/x-ndjson"
    return Call(
        method="POST",
        path="/v1/batches",
        read=as_model(Batch),
        params={**query, **(profile or {}), **(context or {})},
        headers={"Content-Type": media, **_key(idempotency_key)},
        body=lambda: _chunks(rows) if isinstance(rows, Path) else map(_line, rows),
        # The response arrives after the last row was read, not while rows are sent.
        untimed=True,
        safe=isinstance(rows, Path | Sequence),
    )


def batch(batch_id: str) -> Call[Batch]:
    """State, progress, rate and remaining time."""
    return _get(f"/v1/batches/{batch_id}", Batch)


def batches(**where: Unpack[BatchFilters]) -> Call[Page[Batch]]:
    """A page of batches, newest first."""
    return _page("/v1/batches", Page[Batch], where)


def cancel_batch(batch_id: str) -> Call[Batch]:
    """Cancels a batch; proved items stay."""
    return Call(method="POST", path=f"/v1/batches/{batch_id}/cancel", read=as_model(Batch))


def items(batch_id: str, after: int, state: str | None) -> Call[ItemPage]:
    """A page of a batch's items, in the order of the file."""
    path = f"/v1/batches/{batch_id}/items"
    return _get(path, ItemPage, after=after, limit=200, state=state)


def item_bundle(batch_id: str, number: int) -> Call[bytes]:
    """Everything that verifying one item needs."""
    return _file(f"/v1/batches/{batch_id}/items/{number}/bundle")


def item_receipt(batch_id: str, number: int) -> Call[bytes]:
    """The signed statement about one item."""
    return _file(f"/v1/batches/{batch_id}/items/{number}/receipt")


# --- webhooks ------------------------------------------------------------------------------------


def create_webhook_endpoint(
    url: str,
    *,
    events: Sequence[str] | None = None,
    description: str | None = None,
    signature: str | None = None,
    idempotency_key: str | None = None,
) -> Call[WebhookEndpoint]:
    """Registers ``url`` for webhooks; only this response has the secret. ``signature``: ``v1`` or
    ``v1a``. ``verify_webhook`` checks deliveries."""
    body = _given(
        url=url,
        events=None if events is None else list(events),
        description=description,
        signature=signature,
    )
    return Call(
        method="POST",
        path=_HOOKS,
        read=as_model(WebhookEndpoint),
        headers=_key(idempotency_key),
        json=body,
    )


def webhook_endpoints(**where: Unpack[Paging]) -> Call[Page[WebhookEndpoint]]:
    """A page of your endpoints, newest first, with their state."""
    return _page(_HOOKS, Page[WebhookEndpoint], where)


def enable_webhook_endpoint(endpoint_id: str, enabled: bool) -> Call[WebhookEndpoint]:
    """Enables or disables an endpoint."""
    return Call(
        method="PATCH",
        path=f"{_HOOKS}/{endpoint_id}",
        read=as_model(WebhookEndpoint),
        json={"enabled": enabled},
    )


def delete_webhook_endpoint(endpoint_id: str) -> Call[bytes]:
    """Ends an endpoint."""
    return Call(method="DELETE", path=f"{_HOOKS}/{endpoint_id}", read=as_bytes)


def replay_webhooks(
    endpoint_id: str, since: datetime, *, include_delivered: bool | None = None
) -> Call[dict[str, Any]]:
    """Resends the events that the endpoint missed since a time within the last seven days."""
    return Call(
        method="POST",
        path=f"{_HOOKS}/{endpoint_id}/replay",
        read=as_json,
        json=_given(since=_moment(since), include_delivered=include_delivered),
    )


# --- verification, health ------------------------------------------------------------------------


def verify(bundle: bytes, policy: Mapping[str, Any] | None = None) -> Call[Verification]:
    """The service's verification of a bundle, valid or not. ``verify_offline`` does the same on
    this machine."""
    return Call(
        method="POST",
        path="/v1/verifications",
        read=as_model(Verification),
        files={"bundle": ("bundle.zkml", bundle, "application/zip")},
        form=_given(policy=None if policy is None else json.dumps(policy)),
    )


def usage(
    *,
    by: Sequence[str] = ("day", "model", "caller"),
    since: datetime | None = None,
    until: datetime | None = None,
    model: str | None = None,
) -> Call[Usage]:
    """Your tenant's usage, and other tenants' usage of its models: sums by ``day``, ``model``,
    ``caller``, ``key``, ``owner``, ``circuit``. Times have a time zone."""
    return Call(
        method="GET",
        path="/v1/usage",
        read=as_model(Usage),
        params=_given(by=list(by), model=model, since=_moment(since), until=_moment(until)),
    )


def keys() -> Call[dict[str, Any]]:
    """The keys that sign the service's receipts: a policy's ``trusted``, if you trust them."""
    return Call(method="GET", path="/.well-known/zkml-keys.json", read=as_json)


def ready() -> Call[Readiness]:
    """The state of the service's parts."""
    return Call(method="GET", path="/readyz", read=lambda a: _parsed(Readiness, a), safe=False)


# --- bodies --------------------------------------------------------------------------------------


def digest_of(path: Path) -> tuple[str, int]:
    """The file's id as a model, and its size. Raises ``OSError``."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"sha256:{digest}", file.tell()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk


def _line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON; arrays as nested lists."""
    return json.dumps(row, default=lambda value: value.tolist()).encode() + b"\n"
