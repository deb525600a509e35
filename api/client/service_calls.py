"""Verification by the service, usage, keys and readiness."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from api.client.calls import Call, as_json, as_model, given, moment, parsed
from api.client.models import Readiness, Usage, Verification


def verify(bundle: bytes, policy: Mapping[str, Any] | None = None) -> Call[Verification]:
    """The service's verification of a bundle, valid or not. ``verify_offline`` does the same on
    this machine."""
    return Call(
        method="POST",
        path="/v1/verifications",
        read=as_model(Verification),
        files={"bundle": ("bundle.zkml", bundle, "application/zip")},
        form=given(policy=None if policy is None else json.dumps(policy)),
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
        params=given(by=list(by), model=model, since=moment(since), until=moment(until)),
    )


def keys() -> Call[dict[str, Any]]:
    """The keys that sign the service's receipts: a policy's ``trusted``, if you trust them."""
    return Call(method="GET", path="/.well-known/zkml-keys.json", read=as_json)


def ready() -> Call[Readiness]:
    """The state of the service's parts."""
    return Call(method="GET", path="/readyz", read=lambda a: parsed(Readiness, a), safe=False)
