"""The job store: models, circuits, jobs and their events in SQL. Rows are the source of truth.

One module per table, and one class that combines them::

    store = Store.open("sqlite:////var/lib/zkml/zkml.db")
    job = store.create_job(JobKind.PROOF, model_id, circuit_id, request, input_key)
    lease = store.claim(job.id, owner="host:1", ttl_s=30)  # None: another worker has it

A store is one tenant's view, which does not contain the rows of other tenants. ::

    theirs = store.for_tenant("acme")
    all_of_them = store.every_tenant()  # for workers and maintenance; cannot create rows

Methods with a lease (``Leases``) need no view: only the worker that claimed the job has one.

Every method is one transaction and is thread-safe. Every method may raise ``StoreUnavailable``
(transient) and, when writing, ``StorageFull``.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from prover.admission import Sizing
from prover.records.quotas import NO_LIMITS, Quota
from prover.records.tenant import DEFAULT_TENANT
from prover.store.api_keys import ApiKeys
from prover.store.batches import Batches
from prover.store.circuits import Circuits
from prover.store.database import Clock, Database, utc_now
from prover.store.deadlines import Deadlines
from prover.store.events import Events
from prover.store.idempotency_keys import IdempotencyKeys
from prover.store.jobs import Jobs
from prover.store.migrate import bring_up_to_date
from prover.store.models import Models
from prover.store.pages import Page
from prover.store.retention import Retention
from prover.store.service_metrics import ServiceMetricsReader
from prover.store.turns import Turns
from prover.store.uploads import Uploads
from prover.store.usage import Usage
from prover.store.webhook_endpoints import WebhookEndpoints
from prover.store.webhook_queue import WebhookQueue

__all__ = ["Clock", "Page", "Store"]


class Store(
    ApiKeys,
    Models,
    Circuits,
    Jobs,
    Turns,
    Deadlines,
    Events,
    Batches,
    Usage,
    Uploads,
    ServiceMetricsReader,
    Retention,
    IdempotencyKeys,
    WebhookEndpoints,
    WebhookQueue,
):
    """The job store, opened as the view of the tenant ``DEFAULT_TENANT``.

    ``max_attempts`` is how many attempts at a job may be lost before it fails,
    ``quarantine_after`` how many of its workers may die, ``quota`` the tenants' default quota,
    ``sizing`` the rules for size classes.
    """

    @classmethod
    def open(
        cls,
        url: str,
        *,
        max_attempts: int = 5,
        quarantine_after: int = 2,
        quota: Quota = NO_LIMITS,
        sizing: Sizing | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Connects, and creates or migrates the tables if needed.

        Many processes may open the same database at once. ``clock`` gives the time of leases and
        events. Clocks of machines that share a database must agree to a fraction of a lease: a
        wrong clock causes repeated work but no wrong result, since fencing tokens guard writes.
        """
        database = Database.connect(url)
        try:
            bring_up_to_date(database)
        except BaseException:
            database.close()
            raise
        store = cls(
            database,
            max_attempts=max_attempts,
            quarantine_after=quarantine_after,
            clock=clock,
            tenant=DEFAULT_TENANT,
            default_quota=quota,
            sizing=sizing or Sizing(),
        )
        store._limits, store._counts = {}, {}
        return store

    def for_tenant(self, tenant: str, key_id: str | None = None) -> Self:
        """The view of ``tenant``, for one of its API keys. It shares the connections: close only
        one of the views."""
        return self._view(tenant, key_id)

    def every_tenant(self) -> Self:
        """The view over all tenants."""
        return self._view(None)

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads of this thread inside the block share one read-only transaction."""
        return self._db.snapshot()

    def at_hand(self) -> Self | None:
        """The same view for reads by key inside an event loop (``Database.at_hand``). Close it
        separately."""
        database = self._db.at_hand()
        if database is None:
            return None
        view = copy.copy(self)
        view._db = database
        return view

    def _view(self, tenant: str | None, key_id: str | None = None) -> Self:
        view = copy.copy(self)
        view.tenant, view.key_id = tenant, key_id
        return view

    def ping(self) -> None:
        """Returns if the database responds; raises ``StoreUnavailable`` otherwise."""
        with self._db.read() as conn:
            conn.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
