"""Errors of requests about webhooks."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class WebhookEndpointNotFound(ZkmlError):
    """There is no webhook endpoint with this id."""

    code = "webhook_endpoint_not_found"
    fault = Fault.NOT_FOUND


class WebhookUrlRefused(ZkmlError):
    """Webhooks cannot be sent to this URL."""

    code = "webhook_url_refused"
    fault = Fault.INPUT
    default_advice = (
        "Use an https:// URL of a public host. For development the operator may set"
        " ZKML_WEBHOOKS_ALLOW_PRIVATE=true."
    )


class WebhookEndpointLimit(ZkmlError):
    """The tenant has reached its limit of webhook endpoints."""

    code = "webhook_endpoint_limit"
    fault = Fault.CONFLICT
    default_advice = "Delete one that is no longer used; one endpoint can receive all events."


class WebhookReplayWindow(ZkmlError):
    """The replay would begin before the oldest event still stored."""

    code = "webhook_replay_window"
    fault = Fault.INPUT
    default_advice = "Ask for a later `since`, and read older jobs from their own lists."


class WebhookEndpointDisabled(ZkmlError):
    """The webhook endpoint is disabled."""

    code = "webhook_endpoint_disabled"
    fault = Fault.CONFLICT
    default_advice = "Enable it first: PATCH the endpoint with `enabled: true`."
