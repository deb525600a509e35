"""The job store: models, circuits, jobs and their events in SQL. The row is the truth.

One module per table, one class over them all::

    store = Store.open("sqlite:////var/lib/zkml/zkml.db")
    job = store.create_job(JobKind.PROOF, model_id, circuit_id, request, input_key)
    lease = store.claim(job.id, owner="host:1", ttl_s=30)  # None: somebody else has it

A store is one tenant's view: another tenant's id is not found in it, as one that never was. ::

    theirs = store.for_tenant("acme")
    all_of_them = store.every_tenant()  # for workers and maintenance; it creates nothing

What names a lease (``Leases``) needs no view: only a worker that claimed the job has one.

Every method is one transaction and may be called from any thread. All of them may raise
``StoreUnavailable`` (try again) and, when writing, ``StorageFull``.
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
from prover.store.figures import Operations
from prover.store.idempotency_keys import IdempotencyKeys
from prover.store.jobs import Jobs
from prover.store.keeping import Keeping
from prover.store.migrate import bring_up_to_date
from prover.store.models import Models
from prover.store.pages import Page
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
    Operations,
    Keeping,
    IdempotencyKeys,
    WebhookEndpoints,
    WebhookQueue,
):
    """The job store, as the tenant ``DEFAULT_TENANT`` sees it when it is opened.

    ``max_attempts`` is how many attempts at a job may be lost before it fails,
    ``quarantine_after`` how many of its workers may die, ``quota`` what a tenant may use that has
    no limits of its own, ``sizing`` how jobs are put into classes.
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
        """Connects, and creates or migrates the tables when they are not current.

        Safe when many processes open the same database at once. ``clock`` gives the time that
        leases and events carry; machines that share a database need clocks that agree to within
        a fraction of a lease (a wrong clock costs repeated work, never a wrong result: writes are
        fenced by token, not by time).
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
        store._counts = {}
        return store

    def for_tenant(self, tenant: str, key_id: str | None = None) -> Self:
        """The same store as ``tenant`` sees it, asked with an API key of its own. It shares the
        connections: close one of them."""
        return self._view(tenant, key_id)

    def every_tenant(self) -> Self:
        """The same store with what all tenants have."""
        return self._view(None)

    def snapshot(self) -> AbstractContextManager[None]:
        """All that this thread reads inside is as it was at one moment, and costs one transaction.
        Nothing may be written inside."""
        return self._db.snapshot()

    def at_hand(self) -> Self | None:
        """The same view, whose reads by key an event loop may make itself (``Database.at_hand``).
        To be closed by itself."""
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
        """Returns if the database answers; raises ``StoreUnavailable`` otherwise."""
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
