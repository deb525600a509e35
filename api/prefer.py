"""The `Prefer: wait=N` header (RFC 7240): respond at the end, or after N seconds."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

#: The longest wait; a client that needs more repeats the request or follows the events.
MAX_WAIT_S = 60

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


async def _wait(
    prefer: Annotated[
        str | None, Header(description=f"`wait=N`: wait up to N seconds, at most {MAX_WAIT_S}.")
    ] = None,
) -> float:
    # An unknown preference is not an error (RFC 7240, 2).
    found = _WAIT.search(prefer or "")
    return min(float(found[1]), MAX_WAIT_S) if found else 0.0


Wait = Annotated[float, Depends(_wait)]
