"""The scope that a route needs. Unlisted routes need ``admin``."""

from __future__ import annotations

from dataclasses import dataclass

from prover.records.api_key import Scope

_M, _P, _V, _A = Scope.MODELS, Scope.PROOFS, Scope.VERIFY, Scope.ADMIN

#: First path segments that are public: they contain no tenant's data.
PUBLIC = frozenset({"", "healthz", "readyz", "docs", "openapi.json", "problems", ".well-known"})
#: The same, by the first two segments.
PUBLIC_PREFIXES = frozenset({("v2", ""), ("v2", "health")})
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Needs:
    """The scopes, any of which allows to read or to change resources under a prefix."""

    read: frozenset[Scope]
    change: frozenset[Scope]


def _needs(*read: Scope, change: frozenset[Scope] | None = None) -> Needs:
    return Needs(read=frozenset(read), change=frozenset(read) if change is None else change)


#: By the first two segments of a path.
PREFIXES: dict[tuple[str, str], Needs] = {
    ("metrics", ""): _needs(Scope.OPERATOR),
    ("v1", "models"): _needs(_M, _P, change=frozenset({_M})),
    ("v1", "uploads"): _needs(_M),
    ("v1", "capabilities"): _needs(_M, _P, _V),
    ("v1", "circuits"): _needs(_M, _P, change=frozenset({_M})),
    ("v1", "estimates"): _needs(_M, _P),
    ("v1", "proofs"): _needs(_P),
    ("v1", "batches"): _needs(_P),
    ("v1", "verifications"): _needs(_V),
    ("v1", "usage"): _needs(_M, _P),
    ("v1", "webhook-endpoints"): _needs(_P),
    ("v2", "models"): _needs(_M, _P, change=frozenset({_P})),
}
_ADMIN = _needs(_A)

#: Prefixes that need no key unless the operator requires one (``ZKML_PUBLIC_VERIFICATION``).
OPTIONAL = frozenset({("v1", "verifications")})


def prefix_of(path: str) -> tuple[str, str]:
    """The key of the table."""
    parts = path.split("/")
    return (parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else "")


def needed(method: str, path: str) -> frozenset[Scope] | None:
    """The scopes, any of which allows the request; None: it needs no key."""
    prefix = prefix_of(path)
    if prefix[0] in PUBLIC or prefix in PUBLIC_PREFIXES:
        return None
    needs = PREFIXES.get(prefix, _ADMIN)
    return needs.read if method in _SAFE else needs.change
