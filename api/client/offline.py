"""Verification on this machine, without trust in the service that made a proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.models import Verification


class EngineMissing(Exception):
    """Verification needs the engine, which is not installed: install zkml-prover."""


def verify_offline(
    bundle: bytes,
    *,
    trusted: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Verification:
    """Verifies a bundle on this machine, without network access.

    ``trusted``: a published key set whose signers you trust. A key set fetched from the same
    service as the bundle (``Client.keys``) only shows that both have the same source; keep one from
    a trusted time or place. ``policy``: further expectations (docs/receipt.md), such as the
    context's nonce. Raises ``EngineMissing``, and ``ZkmlError`` for an invalid policy.
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
