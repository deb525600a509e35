"""The base class of the application's parts: the objects behind it, as one tenant's view."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.format.manifest import CircuitManifest
from circuits.format.tensors import Signature
from prover.admission import Sizing
from prover.artifacts import Artifacts
from prover.cache import Cache
from prover.jobs.bus import open_notifications
from prover.jobs.circuit_registry import CircuitRegistry
from prover.jobs.notifications import Notifications
from prover.settings import Settings
from prover.statement.keys import KeyRing
from prover.store import Store

if TYPE_CHECKING:
    from prover.batch.service import BatchService
    from prover.batch.services import Announce

#: Limits of reading an untrusted model.
INSPECT_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
#: Models whose costs a process caches.
_COSTS_KEPT = 256
#: Circuits whose manifests it caches.
_CIRCUITS_KEPT = 1024


def _no_listener(_: Sequence[str]) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class CachedCircuit:
    """What is needed to read a request for a proof. It never changes; whether the tenant may still
    use the model is checked when the job is created."""

    model_id: str
    signature: Signature
    manifest: CircuitManifest


class Parts:
    """The parts of an application, as one tenant sees them. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        artifacts: Artifacts,
        sandbox: Sandbox | None = None,
    ) -> None:
        """``sandbox``: an already started one; ``close`` closes it."""
        self.settings = settings
        self.store = store
        self.artifacts = artifacts
        self.notifications: Notifications = open_notifications(
            settings.redis_url, settings.redis_prefix
        )
        self.engine = EzklEngine(sandbox or Sandbox(nice=settings.engine_nice))
        self.registry = CircuitRegistry(settings, store, artifacts, self.engine)
        # Cached by tenant: the response time must not reveal what other tenants have.
        self._costs: Cache[tuple[str | None, str], dict[str, Any]] = Cache(_COSTS_KEPT)
        self._cached_circuits: Cache[tuple[str | None, str], CachedCircuit] = Cache(_CIRCUITS_KEPT)
        self._described: dict[str, Any] = {}
        self._ring: list[KeyRing] = []  # shared by the views of all tenants
        #: Called with the ids of jobs that a job has queued. A worker process sends them to the
        #: queue; other processes find them in the store.
        self.announce: Announce = _no_listener

    @classmethod
    def open(cls, settings: Settings, sandbox: Sandbox | None = None) -> Self:
        """Opens (and creates, the first time) everything that the settings name, for the tenant
        ``DEFAULT_TENANT``."""
        settings.prepare()
        store = Store.open(
            settings.database_url,
            max_attempts=settings.max_attempts,
            quarantine_after=settings.quarantine_after,
            quota=settings.quota,
            sizing=Sizing.of(settings),
        )
        artifacts = Artifacts.open(
            settings.artifacts_url, settings.cache_dir, settings.cache_max_mb << 20
        )
        return cls(settings, store, artifacts, sandbox)

    def for_tenant(self, tenant: str, key_id: str | None = None) -> Self:
        """The same application for another tenant: it finds and creates only that tenant's data.
        ``key_id``: the API key of the request. Cheap; close only the opened object."""
        if (tenant, key_id) == (self.store.tenant, self.store.key_id):
            return self
        return self._view(tenant, key_id)

    def _view(self, tenant: str, key_id: str | None = None) -> Self:
        """The tenant's view, which counts the bytes it stores."""
        view = copy.copy(self)
        view.store = self.store.for_tenant(tenant, key_id)
        view.artifacts = self.artifacts.counted()
        view.registry = CircuitRegistry(self.settings, view.store, view.artifacts, self.engine)
        view.__dict__.pop("batches", None)
        return view

    @property
    def keys(self) -> KeyRing:
        """The keys that sign receipts; created on first use."""
        if not self._ring:
            self._ring.append(KeyRing.open(self.settings.key_path))
        return self._ring[0]

    @cached_property
    def batches(self) -> BatchService:
        """The batch service: many inputs, few proofs. Loaded on first use."""
        from prover.batch.service import BatchService
        from prover.batch.services import BatchServices

        services = BatchServices(
            settings=self.settings,
            store=self.store,
            artifacts=self.artifacts,
            notifications=self.notifications,
            engine=self.engine,
            registry=self.registry,
            keys=lambda: self.keys,
            announce=lambda ids: self.announce(ids),  # noqa: PLW0108 - it may be set later
        )
        return BatchService(services=services)

    def close(self) -> None:
        """Kills engine children and closes connections."""
        self.engine.sandbox.close()
        self.notifications.close()
        self.store.close()
