"""The one place for hashing: SHA-256 over bytes, files and canonical JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

PREFIX = "sha256:"


def sha256(data: bytes) -> str:
    """``sha256:`` and 64 lower-case hex digits."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    with path.open("rb") as handle:
        return PREFIX + hashlib.file_digest(handle, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string for one JSON value: sorted keys, no spaces, UTF-8, no NaN.

    Floats are printed by ``repr`` (the shortest text that reads back to the same double), so equal
    values give equal bytes in every process.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def parse_canonical_json(data: bytes) -> Any:
    """The value of ``canonical_json`` bytes, which must be exactly what that writes.

    So there is one byte string for each value, whatever another reader makes of duplicate keys,
    spaces, escapes or number formats. Raises ``ValueError`` for anything else.
    """
    try:
        value = json.loads(data)
        same = canonical_json(value) == data
    except (ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"not JSON: {str(error)[:120]}") from error
    if not same:
        raise ValueError("not canonical JSON (sorted keys, no spaces, one form per number)")
    return value


def digest_json(value: Any) -> str:
    """The digest of ``canonical_json(value)``."""
    return sha256(canonical_json(value))


def is_digest(text: str) -> bool:
    """Whether ``text`` is ``sha256:`` and 64 lower-case hex digits."""
    body = text.removeprefix(PREFIX)
    return (
        text.startswith(PREFIX) and len(body) == 64 and all(c in "0123456789abcdef" for c in body)
    )
