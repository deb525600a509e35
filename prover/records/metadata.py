"""A tenant's metadata of a job, a batch or a model: short strings to filter lists by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prover.errors import MetadataInvalid

MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 256

_KEY = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_KEY}}}")


def read_metadata(pairs: Mapping[str, str]) -> dict[str, str]:
    """``pairs`` if they are valid. Raises ``MetadataInvalid``."""
    if len(pairs) > MAX_PAIRS:
        raise MetadataInvalid(f"There are {len(pairs)} pairs, {MAX_PAIRS} are allowed.")
    for key, value in pairs.items():
        if not _KEY.fullmatch(key):
            raise MetadataInvalid(f"{key[:MAX_KEY]!r} is not a valid key.")
        if len(value) > MAX_VALUE or "\x00" in value:
            raise MetadataInvalid(f"The value of {key!r} is too long or contains a NUL.")
    return dict(pairs)


def read_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Metadata from strings ``key:value`` of a query. Raises ``MetadataInvalid``."""
    found: dict[str, str] = {}
    for text in texts:
        key, colon, value = text.partition(":")
        if not colon or key in found:
            raise MetadataInvalid(f"{text[:MAX_KEY]!r} is not key:value, or the key is repeated.")
        found[key] = value
    return read_metadata(found)
