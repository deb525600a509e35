"""Ids in addresses and bodies: printable ASCII, as this service gives them out.

What cannot be an id never reaches the database, some of which refuse a NUL in a text.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

#: A client's own name for a proof. Not "." or "..", which are other paths (RFC 3986, 5.2.4).
ClientId = Annotated[
    str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$")
]
Id = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[!-~]+$")]
