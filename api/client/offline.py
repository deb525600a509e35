"""Verification on this machine, so that the service that made a proof need not be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.models import Verification


class EngineMissing(Exception):
    """Verifying a proof takes the engine, which is not installed here: install zkml-prover."""


def verify_offline(
    bundle: bytes,
    *,
    trusted: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Verification:
    """The checklist of a bundle, made here: nothing is asked of any service.

    ``trusted``: a published key set whose signers you trust. Fetched from the same service as the
    bundle (``Client.keys``) it says only that both come from one place; keep one from a moment, or
    a place, that you trust. ``policy``: further expectations (docs/receipt.md), such as the
    context's nonce. Raises ``EngineMissing``, and ``ZkmlError`` for a policy that cannot be read.
    """
    try:
        from circuits.engine.ezkl_engine import EzklEngine
        from circuits.engine.sandbox import Sandbox
        from prover.verify.bundle import verify_bundle
        from prover.verify.policy import Policy
    except ImportError as error:
        raise EngineMissing(f"{EngineMissing.__doc__} ({error})") from error
    wanted = dict(policy or {})
    if trusted is not None:
        wanted["trusted"] = dict(trusted)
    read = Policy.from_json(wanted)
    engine = EzklEngine(Sandbox())
    engine.sandbox.start()
    try:
        report = verify_bundle(bundle, policy=read, engine=engine)
    finally:
        engine.sandbox.close()
    return Verification.model_validate(report.to_json())
