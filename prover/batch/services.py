"""The services that a batch's jobs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from circuits.engine.ezkl_engine import EzklEngine
from prover.artifacts import Artifacts
from prover.jobs.circuit_registry import CircuitRegistry
from prover.jobs.notifications import Notifications
from prover.settings import Settings
from prover.statement.keys import KeyRing
from prover.store import Store

#: Notifies workers of new jobs, if there are workers; otherwise their sweep finds the jobs.
Announce = Callable[[Sequence[str]], None]


@dataclass(frozen=True, kw_only=True)
class BatchServices:
    """The parts of the application that batches use. ``keys`` is called at the first signature,
    because it creates the keys."""

    settings: Settings
    store: Store
    artifacts: Artifacts
    notifications: Notifications
    engine: EzklEngine
    registry: CircuitRegistry
    keys: Callable[[], KeyRing]
    announce: Announce
