"""Ids in paths and bodies: printable ASCII.

Invalid ids never reach the database: some databases reject a NUL in a string.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

#: A client's own name for a proof. Not "." or "..", which are other paths (RFC 3986, 5.2.4).
ClientId = Annotated[
    str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$")
]
_BARE = re.compile(r"[0-9a-f]{64}")


def _prefixed(text: str) -> str:
    """Adds the prefix ``sha256:`` to a bare SHA-256 of other tools."""
    return f"sha256:{text}" if _BARE.fullmatch(text) else text


Id = Annotated[
    str, Field(min_length=1, max_length=80, pattern=r"^[!-~]+$"), AfterValidator(_prefixed)
]
