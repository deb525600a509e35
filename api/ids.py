"""Ids in addresses and bodies: printable ASCII, as this service gives them out.

What cannot be an id never reaches the database, some of which refuse a NUL in a text.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Id = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[!-~]+$")]
