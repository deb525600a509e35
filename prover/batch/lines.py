"""Lines of an untrusted file, bounded in length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuits.errors import ZkmlError
from prover.records.batch_errors import RowTooLong

_SKIP = 1 << 20


def bounded_lines(path: Path, limit: int) -> Iterator[tuple[int, bytes | ZkmlError]]:
    """Numbered lines without line ends. A line longer than ``limit`` bytes is skipped in pieces and
    yields an error."""
    with path.open("rb") as handle:
        number = 0
        while line := handle.readline(limit + 2):
            number += 1
            if len(line.rstrip(b"\r\n")) > limit:
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = handle.readline(_SKIP)
                yield number, RowTooLong(f"the line is longer than {limit} bytes")
                continue
            yield number, line.rstrip(b"\r\n")
