"""What the jobs of a batch work with."""

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

#: Tells the workers of new jobs, if there are workers; their sweep finds them otherwise.
Announce = Callable[[Sequence[str]], None]


@dataclass(frozen=True, kw_only=True)
class BatchServices:
    """The parts of the application that batches use. ``keys`` is called when something is signed
    for the first time, because that makes the keys."""

    settings: Settings
    store: Store
    artifacts: Artifacts
    notifications: Notifications
    engine: EzklEngine
    library: CircuitRegistry
    keys: Callable[[], KeyRing]
    announce: Announce
