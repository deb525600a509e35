"""Tenants: the owners of models, circuits, jobs and batches.

A tenant is a name that an API key or a row carries. ``Store.for_tenant`` and ``App.for_tenant``
return a view without any data of other tenants.
"""

from __future__ import annotations

import re

from prover.errors import TenantInvalid

#: The tenant without API keys: of the command line, and of a service on loopback.
DEFAULT_TENANT = "default"

#: Maximum length of a tenant's name and of its columns.
MAX_TENANT = 63

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")


def read_tenant(name: str) -> str:
    """``name`` if it is a valid tenant name. Raises ``TenantInvalid``."""
    if len(name) > MAX_TENANT or not _TENANT.fullmatch(name):
        raise TenantInvalid(f"{name[:100]!r} is not a valid tenant name.")
    return name
