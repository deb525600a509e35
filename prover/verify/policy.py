"""What a verifier expects beyond a valid proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from circuits.format.digests import canonical_json, is_digest
from circuits.format.profile import Soundness
from prover.errors import PolicyInvalid
from prover.statement.keys import PublicKey, parse_public_document

#: Fields of a context that a policy may expect.
CONTEXT_FIELDS = frozenset({"job_id", "nonce", "chain_id", "consumer", "expires_at"})
_MAX_SECONDS = 1 << 40


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Everything is optional. The default accepts any model and reports what it could not check.

    ``trusted`` and ``keyids`` name the signers to accept (an empty set: none). With neither, a
    signature is checked against the key in the bundle and the unknown signer is a warning.
    ``own`` are the keys of the verifying deployment: without named signers they are trusted, and
    other signers are a warning. ``manifest_sha256`` pins a circuit with the units of its inputs and
    outputs, which ``circuit_id`` and ``vk_sha256`` alone do not fix; ``weights_identity`` pins
    private weights with key, settings and claim, ``input_identity`` an input whatever the circuit.
    ``revoked`` adds keyids to refuse. ``context`` maps names in ``CONTEXT_FIELDS`` to expected
    values. ``engine_versions`` lists accepted ones. ``allow_insecure_srs``: a reference string that
    is not the public ceremony's is a warning, not a failure. ``strict``: every warning is a
    failure. ``clock_skew_s`` is how far in the future a time of issue may be.
    """

    trusted: tuple[PublicKey, ...] | None = None
    keyids: frozenset[str] | None = None
    revoked: frozenset[str] = frozenset()
    own: tuple[PublicKey, ...] = ()
    model_sha256: str | None = None
    circuit_id: str | None = None
    vk_sha256: str | None = None
    manifest_sha256: str | None = None
    weights_identity: str | None = None
    input_identity: str | None = None
    context: dict[str, str | int | None] = field(default_factory=dict)
    max_age_s: int | None = None
    engine_versions: frozenset[str] = frozenset({"23.0.5"})
    minimum_soundness: Soundness = Soundness.STANDARD
    allow_insecure_srs: bool = True
    strict: bool = False
    clock_skew_s: int = 300

    @property
    def names_signers(self) -> bool:
        """Whether the policy names signers."""
        return self.trusted is not None or self.keyids is not None

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> Policy:
        """Reads a policy as sent to ``POST /v1/verifications``: the fields above, ``trusted`` as a
        published key set. Raises ``PolicyInvalid`` naming the field."""
        given = dict(data or {})
        unknown = sorted(set(given) - set(_READ))
        if unknown:
            raise PolicyInvalid(f"a policy has no field {unknown[0]!r}", field=unknown[0])
        return cls(**{name: _READ[name](name, value) for name, value in given.items()})


def _trusted(name: str, value: Any) -> tuple[PublicKey, ...] | None:
    return None if value is None else parse_public_document(canonical_json(value))


def _texts(name: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise PolicyInvalid(f"policy.{name} is not a list of strings", field=name)
    return frozenset(value)


def _digest(name: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and is_digest(value)):
        raise PolicyInvalid(f"policy.{name} is not sha256: and 64 hex digits", field=name)
    return value


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PolicyInvalid(f"policy.{name} is not a string", field=name)
    return value


def _context(name: str, value: Any) -> dict[str, str | int | None]:
    if not isinstance(value, dict) or not set(value) <= CONTEXT_FIELDS:
        raise PolicyInvalid(
            f"policy.context may name {', '.join(sorted(CONTEXT_FIELDS))}", field=name
        )
    if not all(v is None or type(v) in (str, int) for v in value.values()):
        raise PolicyInvalid("policy.context has a value that is no string or number", field=name)
    return value


def _seconds(name: str, value: Any) -> int | None:
    if value is None and name == "max_age_s":
        return None
    if type(value) is not int or not 0 <= value < _MAX_SECONDS:
        raise PolicyInvalid(f"policy.{name} is not an integer of seconds", field=name)
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PolicyInvalid(f"policy.{name} is not a boolean", field=name)
    return value


def _soundness(name: str, value: Any) -> Soundness:
    if value not in (Soundness.STANDARD, Soundness.CONSERVATIVE):
        raise PolicyInvalid(f"policy.{name} is neither standard nor conservative", field=name)
    return Soundness(value)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "trusted": _trusted,
    "keyids": _texts,
    "revoked": _texts,
    "model_sha256": _digest,
    "circuit_id": _text,
    "vk_sha256": _digest,
    "manifest_sha256": _digest,
    "weights_identity": _digest,
    "input_identity": _digest,
    "context": _context,
    "max_age_s": _seconds,
    "engine_versions": _texts,
    "minimum_soundness": _soundness,
    "allow_insecure_srs": _flag,
    "strict": _flag,
    "clock_skew_s": _seconds,
}
