"""Constants put into a compiled circuit as they are, where EZKL rounded them to float32.

EZKL quantises a constant when it compiles, and keeps the field elements in the compiled circuit:
32 bytes each, little-endian, one after another. Of the settings only one depends on their values:
how many different ones there are, for which it keeps columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from circuits.errors import EngineError
from circuits.format.field import felts_to_bytes, to_felt
from circuits.format.wide_constants import EXACT, exact_constants, stand_ins_of

Numbers = NDArray[Any]


def patch_constants(network: bytes, compiled: Path) -> None:
    """Puts a graph's exact constants (``circuits.format.wide_constants``) in the place of their
    stand-ins.

    These must stand in the compiled circuit exactly once, as a circuit of this engine's version
    holds them; else nothing is written and ``EngineError`` is raised.
    """
    written, exact = _constants(network)
    if not exact:
        return
    circuit = compiled.read_bytes()
    for name, whole in exact.items():
        stand_in = _elements(stand_ins_of(written[name]))
        if circuit.count(stand_in) != 1:
            raise EngineError(f"constant {name!r} is not in the compiled circuit as it was written")
        circuit = circuit.replace(stand_in, _elements(whole))
    compiled.write_bytes(circuit)


def constants_uncounted(network: bytes) -> int:
    """By how many the different constants of a graph are more than with stand-ins, or fewer."""
    written, exact = _constants(network)
    if not exact:
        return 0
    counted = {float(n) for held in written.values() for n in held.reshape(-1)}
    meant = {int(n) for name, held in written.items() for n in exact.get(name, held).reshape(-1)}
    return len(meant) - len(counted)


def _constants(network: bytes) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """The numbers of a graph as they are written, and those of them that are stand-ins as what
    they stand for; nothing where there are none."""
    if EXACT.encode() not in network:
        return {}, {}
    graph = onnx.load_model_from_string(network).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    return {n: a for n, a in arrays.items() if a.dtype.kind == "f"}, exact_constants(arrays)


def _elements(values: Numbers) -> bytes:
    return felts_to_bytes(to_felt(int(n)) for n in values.reshape(-1))
