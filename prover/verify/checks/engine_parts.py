"""What the engine is given of a bundle in check (31), and under which limits.

Loads neither numpy nor the statement, so that a command can begin with the proof.
"""

from __future__ import annotations

from circuits.engine.port import Limits
from circuits.srs import verify_part
from prover.errors import BundleInvalid
from prover.statement.bundle import Bundle
from prover.verify.checks.ezkl_settings import EzklSettings

#: Limits of checking a proof, against hostile settings and key files.
VERIFY_LIMITS = Limits(deadline_s=20.0, memory_bytes=4 << 30)


def engine_parts(bundle: Bundle) -> tuple[bytes, bytes, bytes, bytes]:
    """Proof, settings, key and SRS part, in the order of ``Engine.verify``.

    Raises a ``ZkmlError`` where they must not reach the engine, which hangs on some.
    """
    verify_part.check(bundle.srs_part)
    if not EzklSettings.parse(bundle.settings).fits(bundle.vk):
        raise BundleInvalid("the settings describe a circuit of another size than the key's")
    return bundle.proof, bundle.settings, bundle.vk, bundle.srs_part
