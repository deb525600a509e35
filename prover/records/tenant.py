"""Tenants: whose models, circuits, jobs and batches are whose.

A tenant is a name, and exists as soon as an API key or a row carries it. ``Store.for_tenant`` and
``App.for_tenant`` give a view in which nothing of another tenant can be found.
"""

from __future__ import annotations

import re

from prover.errors import TenantInvalid

#: Whose everything is where nobody made an API key: the command line, and a service on loopback.
DEFAULT_TENANT = "default"

#: Characters of a tenant's name at most; columns have this width.
MAX_TENANT = 63

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")


def read_tenant(name: str) -> str:
    """``name`` if it can be a tenant's. Raises ``TenantInvalid``."""
    if len(name) > MAX_TENANT or not _TENANT.fullmatch(name):
        raise TenantInvalid(f"{name[:100]!r} cannot be a tenant's name.")
    return name
