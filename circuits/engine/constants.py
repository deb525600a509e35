"""Constants put into a compiled circuit as they are, where EZKL rounded them to float32.

EZKL quantises a constant when it compiles, and keeps the field elements in the compiled circuit:
32 bytes each, little-endian, one after another. Of the settings only one depends on their values:
how many different ones there are, for which it keeps columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from circuits.errors import EngineError
from circuits.exact import REST, joined
from circuits.field import felts_to_bytes, to_felt

Floats = NDArray[Any]


def restore_constants(network: bytes, compiled: Path) -> None:
    """Replaces what EZKL rounded of a graph's constants (``circuits.exact``) by the constants.

    EZKL keeps equal constants once. Each must stand in the compiled circuit exactly once, as a
    circuit of this engine's version holds it, and no other constant may be rounded to the same
    numbers; else nothing is written and ``EngineError`` is raised.
    """
    written, exact = _constants(network)
    if not exact:
        return
    meant: dict[bytes, Floats] = {}
    for name, held in written.items():
        whole = exact.get(name, held)
        if not np.array_equal(meant.setdefault(held.tobytes(), whole), whole):
            raise EngineError(f"constant {name!r} is rounded to the same numbers as another")
    circuit = compiled.read_bytes()
    for name, held in {written[name].tobytes(): (name, written[name]) for name in exact}.values():
        rounded = _elements(held)
        if circuit.count(rounded) != 1:
            raise EngineError(f"constant {name!r} is not in the compiled circuit as it was written")
        circuit = circuit.replace(rounded, _elements(exact[name]))
    compiled.write_bytes(circuit)


def constants_rounded_away(network: bytes) -> int:
    """How many more different constants a graph has than EZKL counts in its float32."""
    written, exact = _constants(network)
    if not exact:
        return 0
    meant = [exact.get(name, held).reshape(-1) for name, held in written.items()]
    counted = [held.reshape(-1) for held in written.values()]
    return len(np.unique(np.concatenate(meant))) - len(np.unique(np.concatenate(counted)))


def _constants(network: bytes) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The numbers of a graph as float32 holds them, and those that it does not hold as they are;
    nothing where it holds all."""
    if REST.encode() not in network:
        return {}, {}
    graph = onnx.load_model_from_string(network).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    written = {name: array for name, array in numbers.items() if not name.endswith(REST)}
    return written, dict(joined(numbers))


def _elements(values: Floats) -> bytes:
    return felts_to_bytes(to_felt(int(n)) for n in values.reshape(-1))
