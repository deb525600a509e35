"""Fixing a model's dynamic axes from the command line: by ``--shape`` or from the given data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from prover.cli.shapes import parse_shapes
from prover.cli.terminal import Terminal

_BIND = "circuits.frontend.binding:bound_model"
_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
#: Bytes of an input file that are read to find the shape.
_MOST = 64 << 20


def bound(
    sandbox: Sandbox,
    data: bytes,
    shapes: Sequence[str] | None,
    *samples: Path | None,
    terminal: Terminal,
) -> bytes:
    """The model with its dynamic axes fixed: by ``--shape``, else by the first file that holds one
    of its inputs."""
    wanted = parse_shapes(shapes or ())
    sample = next((_start(path) for path in samples if path is not None), None)
    if not wanted and sample is None:
        return data
    made: Any = sandbox.call(_BIND, data, wanted, sample, limits=_LIMITS)
    if made != data:
        terminal.err.print(
            "The model's axes were fixed; the proof is about the resulting file (zkml inspect"
            " --shape … --write FILE writes it).",
            markup=False,
        )
    return bytes(made)


def _start(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError:
        return None  # reading it later reports why
