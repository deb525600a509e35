"""Lines of a file whose length nobody has promised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuits.errors import ZkmlError
from prover.records.batch_errors import RowTooLong

_SKIP = 1 << 20


def bounded_lines(path: Path, limit: int) -> Iterator[tuple[int, bytes | ZkmlError]]:
    """Numbered lines without their ends; an error in place of one longer than ``limit`` bytes,
    which is skipped in pieces and never held."""
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
