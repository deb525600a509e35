"""Who asks: the caller of a request, found once before anything of its body is read.

A route sees only what is its caller's, without doing anything for it:

* ``Application`` and ``Use`` (``api.services``) give an application, a store and a watch that are
  the caller's tenant's views (``App.for_tenant``, ``Store.for_tenant``). A read through them does
  not find another tenant's row, and answers as for an id that never was; a row that is made through
  them is the caller's. So a new table with rows of tenants needs a ``tenant`` column, a repository
  that reads with ``self._mine(table)`` and writes ``tenant=self._owner`` (``prover.store``), and a
  route that asks for ``Application`` or ``Use`` as the others do.
* ``Who`` gives the ``Caller`` itself, for what concerns the key: quotas, metering, idempotency. ::

      @router.post("")
      def create(body: ThingIn, app: Application, caller: Who) -> ThingOut:
          app.store.create_thing(body.name, key_id=caller.key_id)  # of caller.tenant by itself

* Which scope a route needs stands in ``api.access``: a new prefix must be added there, or only
  ``admin`` keys reach it (a test compares the table with the OpenAPI document).
* An id that a client chooses is unique within its tenant only: make it the key of a row together
  with ``caller.tenant``, never alone, or one tenant could find out what another has chosen.

Code that works for all tenants (workers, sweeps, delivery) uses ``store.every_tenant()`` to find
work, and ``store.for_tenant(row.tenant)`` to do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope as AsgiScope

from prover.records.api_key import ALL_SCOPES, Scope
from prover.records.tenant import DEFAULT_TENANT

_STATE = "caller"
#: No tenant has this name: who came without a key to a public route sees nobody's rows.
_NO_TENANT = ""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks. ``key_id`` (``zkml_…``, no secret) is None where no key was needed."""

    tenant: str
    key_id: str | None
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None  # None: as the settings say
    origins: frozenset[str] = frozenset()  # of web pages whose scripts may use the key

    def may(self, needed: frozenset[Scope]) -> bool:
        """Whether one of the scopes that are ``needed`` is the caller's."""
        allowed = self.scopes
        if Scope.ADMIN in allowed:
            allowed = allowed | (ALL_SCOPES - {Scope.OPERATOR})
        return bool(needed & allowed)


#: On loopback, as long as no key was made: whoever can connect may do everything.
LOCAL = Caller(tenant=DEFAULT_TENANT, key_id=None, scopes=ALL_SCOPES)
#: Without a key, on a route that needs none.
NOBODY = Caller(tenant=_NO_TENANT, key_id=None, scopes=frozenset())


def set_caller(scope: AsgiScope, caller: Caller) -> None:
    """Writes down who asks. Only ``api.authentication`` does this."""
    scope.setdefault("state", {})[_STATE] = caller


def known_caller(scope: AsgiScope) -> Caller | None:
    """Who asks, once that has been found out."""
    caller = scope.get("state", {}).get(_STATE)
    return caller if isinstance(caller, Caller) else None


def caller_of(request: Request) -> Caller:
    """Who asks. A request that was not authenticated has no caller: that is a defect of ours."""
    caller = request.scope["state"][_STATE]
    assert isinstance(caller, Caller)
    return caller


async def _who(request: Request) -> Caller:
    return caller_of(request)


Who = Annotated[Caller, Depends(_who)]
