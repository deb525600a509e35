"""The caller of a request, determined once before the body is read.

A route automatically sees only its caller's data:

* ``Application`` and ``Use`` (``api.services``) provide an application, a store and a watch that
  are views of the caller's tenant (``App.for_tenant``, ``Store.for_tenant``). They do not contain
  other tenants' rows (an id of another tenant does not exist), and rows created through them belong
  to the caller. So a new table with tenants' rows needs a ``tenant`` column, a repository that
  reads with ``self._mine(table)`` and writes ``tenant=self._owner`` (``prover.store``), and a route
  that depends on ``Application`` or ``Use`` as the others do.
* ``Who`` provides the ``Caller``, for quotas, metering and idempotency. ::

      @router.post("")
      def create(body: ThingIn, app: Application, caller: Who) -> ThingOut:
          app.store.create_thing(body.name, key_id=caller.key_id)  # tenant: caller.tenant

* ``api.access`` defines the scope of each route. Add new prefixes there; otherwise only ``admin``
  keys reach them (a test compares the table with the OpenAPI document).
* An id chosen by a client is unique only within its tenant. Make it a row's key only together with
  ``caller.tenant``; otherwise a tenant could discover the ids of another.

Code for all tenants (workers, sweeps, delivery) uses ``store.every_tenant()`` to find work and
``store.for_tenant(row.tenant)`` to do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.types import Scope as AsgiScope

from prover.records.api_key import ALL_SCOPES, Scope
from prover.records.tenant import DEFAULT_TENANT

_STATE = "caller"
#: No tenant has this name: a caller without a key on a public route sees no rows.
_NO_TENANT = ""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller. ``key_id`` (``zkml_…``, not secret) is None if no key was needed."""

    tenant: str
    key_id: str | None
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None  # None: the setting
    origins: frozenset[str] = frozenset()  # web origins that may use the key

    def may(self, needed: frozenset[Scope]) -> bool:
        """Whether the caller has one of the ``needed`` scopes."""
        allowed = self.scopes
        if Scope.ADMIN in allowed:
            allowed = allowed | (ALL_SCOPES - {Scope.OPERATOR})
        return bool(needed & allowed)


#: On loopback, as long as no key exists: full access.
LOCAL = Caller(tenant=DEFAULT_TENANT, key_id=None, scopes=ALL_SCOPES)
#: A caller without a key, on a public route.
NOBODY = Caller(tenant=_NO_TENANT, key_id=None, scopes=frozenset())


def set_caller(scope: AsgiScope, caller: Caller) -> None:
    """Sets the caller. Only ``api.authentication`` does this."""
    scope.setdefault("state", {})[_STATE] = caller


def known_caller(scope: AsgiScope) -> Caller | None:
    """The caller, if it has been determined."""
    caller = scope.get("state", {}).get(_STATE)
    return caller if isinstance(caller, Caller) else None


def caller_of(request: Request) -> Caller:
    """The caller. A request without one is an internal error."""
    caller = request.scope["state"][_STATE]
    assert isinstance(caller, Caller)
    return caller


async def _who(request: Request) -> Caller:
    return caller_of(request)


Who = Annotated[Caller, Depends(_who)]
