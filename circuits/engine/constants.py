"""Constants put into a compiled circuit as they are, where EZKL rounded them to float32.

EZKL quantises a constant when it compiles, and keeps the field elements in the compiled circuit:
32 bytes each, little-endian, one after another. Layout and settings do not depend on their values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from circuits.errors import EngineError
from circuits.exact import REST, joined
from circuits.field import felts_to_bytes, to_felt


def restore_constants(network: bytes, compiled: Path) -> None:
    """Replaces what EZKL rounded of a graph's constants (``circuits.exact``) by the constants.

    Each must stand in the compiled circuit exactly once, or nothing is written and ``EngineError``
    is raised: a circuit of this engine's version holds them so.
    """
    if REST.encode() not in network:
        return
    graph = onnx.load_model_from_string(network).graph
    written = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    circuit = compiled.read_bytes()
    for name, exact in joined(written).items():
        rounded = _elements(written[name])
        if circuit.count(rounded) != 1:
            raise EngineError(f"constant {name!r} is not in the compiled circuit as it was written")
        circuit = circuit.replace(rounded, _elements(exact))
    compiled.write_bytes(circuit)


def _elements(values: NDArray[np.floating]) -> bytes:
    return felts_to_bytes(to_felt(int(n)) for n in values.reshape(-1))
