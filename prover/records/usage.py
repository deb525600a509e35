"""The ledger of usage, by tenant and model: sums of its entries."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date


class Grouping(enum.StrEnum):
    """What to group the ledger's sums by."""

    MODEL = "model"
    CALLER = "caller"
    KEY = "key"
    OWNER = "owner"
    CIRCUIT = "circuit"
    DAY = "day"


@dataclass(frozen=True, kw_only=True)
class Used:
    """A sum of the ledger's entries; fields that are not grouped by are None.

    ``proofs`` counts receipts; ``proving_s`` is the engine's seconds for witness, proof and
    verification (a shared proof is divided), ``building_s`` those for circuits. ``jobs`` includes
    failed jobs. ``peak_bytes`` is the maximum. ``key`` is the caller's API key, shown only to its
    own tenant.
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
