"""A summary of a batch bundle, unverified."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import IO, Any

from circuits.format.digests import parse_canonical_json
from circuits.format.manifest import CircuitManifest
from prover.batch.bundle import BatchBundle, Entry, open_batch_bundle
from prover.errors import BundleInvalid


@dataclass(frozen=True, kw_only=True)
class CircuitUse:
    """One circuit of the bundle, with the number of its proofs and items.

    ``free``: lanes of these proofs without an item in this bundle.
    """

    circuit: str
    model_sha256: str
    visibility: str
    soundness: str
    srs_origin: str
    lanes: int
    proofs: int
    items: int

    @property
    def free(self) -> int:
        return self.proofs * self.lanes - self.items


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A batch bundle's items (all proved) by circuit, most lanes first."""

    batch: str
    items: int
    first: tuple[Entry, ...]
    circuits: tuple[CircuitUse, ...]

    @property
    def proofs(self) -> int:
        return sum(use.proofs for use in self.circuits)

    def to_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "items": self.items,
            "proofs": self.proofs,
            "circuits": [asdict(use) | {"free_lanes": use.free} for use in self.circuits],
        }


def contents_of(file: IO[bytes], shown: int = 0) -> Contents:
    """Reads a batch bundle; lists up to ``shown`` items. Raises ``BundleInvalid``."""
    bundle = open_batch_bundle(file)
    by_manifest: dict[str, list[Entry]] = {}
    try:
        for entry in bundle.entries:
            by_manifest.setdefault(entry.members["manifest"], []).append(entry)
        uses = [_use(bundle, entries) for entries in by_manifest.values()]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleInvalid(f"a manifest of the bundle cannot be read: {error!r}") from None
    return Contents(
        batch=bundle.batch_id,
        items=len(bundle.entries),
        first=bundle.entries[:shown],
        circuits=tuple(sorted(uses, key=lambda use: -use.lanes)),
    )


def _use(bundle: BatchBundle, entries: list[Entry]) -> CircuitUse:
    manifest = CircuitManifest.from_json(parse_canonical_json(bundle.bundle(entries[0]).manifest))
    return CircuitUse(
        circuit=manifest.circuit_id,
        model_sha256=manifest.model_sha256,
        visibility=manifest.profile.visibility.value,
        soundness=manifest.profile.soundness.value,
        srs_origin=manifest.srs.origin,
        lanes=manifest.lanes,
        proofs=len({entry.members["proof"] for entry in entries}),
        items=len(entries),
    )
