"""`/v1/capabilities`."""

from __future__ import annotations

import json

from fastapi import APIRouter

from api.caller import Caller, Who
from api.capabilities.schemas import CapabilitiesOut, LimitsOut, UsedOut
from api.errors import responses
from api.keys.schemas import KeyOut
from api.services import Use
from prover.app import App

router = APIRouter(prefix="/v1/capabilities", tags=["reference"])


@router.get("", summary="Show what this service can do", responses=responses())
async def capabilities(services: Use, caller: Who) -> CapabilitiesOut:
    """Supported operators, available reference strings, limits, signing keys. The first response
    takes some seconds."""
    return await services.run_heavy(lambda: _capabilities(services.app, caller))


def _capabilities(app: App, caller: Caller) -> CapabilitiesOut:
    settings, quota = app.settings, app.store.quota(caller.tenant)
    rate = caller.requests_per_minute
    return CapabilitiesOut(
        **app.capabilities(),
        limits=LimitsOut(
            max_model_bytes=settings.max_model_bytes,
            max_input_bytes=settings.max_input_bytes,
            max_batch_bytes=settings.max_batch_bytes,
            max_bundle_bytes=settings.max_bundle_bytes,
            requests_per_minute=settings.requests_per_minute if rate is None else rate,
            **vars(quota),
        ),
        used=UsedOut(**vars(app.store.used(caller.tenant))),
        signing_keys=[KeyOut(**key) for key in json.loads(app.key_set())["keys"]],
    )
