"""What was used, by whom, of whose model: entries of the ledger, and sums of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date


class Grouping(enum.StrEnum):
    """What sums of the ledger are made by."""

    MODEL = "model"
    CALLER = "caller"
    KEY = "key"
    OWNER = "owner"
    CIRCUIT = "circuit"
    DAY = "day"


@dataclass(frozen=True, kw_only=True)
class Used:
    """A sum of the ledger's entries; a field that sums are not made by is None.

    ``proofs`` counts receipts, ``proving_s`` the engine's seconds for witness, proof and our own
    verification (shared proofs: a part for each), ``building_s`` those for circuits. ``jobs``
    counts entries of jobs that failed, too. ``peak_bytes`` is the largest. ``key`` is the caller's
    API key, shown to its own tenant only.
    """

    model: str | None
    caller: str | None
    key: str | None
    owner: str | None
    circuit: str | None
    day: date | None
    jobs: int
    proofs: int
    verifications: int
    proving_s: float
    building_s: float
    peak_bytes: int | None
