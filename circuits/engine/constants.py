"""Constants put into a compiled circuit as they are, where EZKL rounded them to float32.

EZKL quantises a constant when it compiles, and keeps the field elements in the compiled circuit:
32 bytes each, little-endian, one after another. Of the settings only one depends on their values:
how many different ones there are, for which it keeps columns.
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
    parts = _in_two_parts(network)
    if not parts:
        return
    circuit = compiled.read_bytes()
    for name, (held, exact) in parts.items():
        rounded = _elements(held)
        if circuit.count(rounded) != 1:
            raise EngineError(f"constant {name!r} is not in the compiled circuit as it was written")
        circuit = circuit.replace(rounded, _elements(exact))
    compiled.write_bytes(circuit)


def constants_rounded_away(network: bytes) -> int:
    """How many more different constants a graph has than EZKL counts in its float32."""
    return sum(
        len(np.unique(exact)) - len(np.unique(held))
        for held, exact in _in_two_parts(network).values()
    )


def _in_two_parts(network: bytes) -> dict[str, tuple[NDArray[np.floating], NDArray[np.float64]]]:
    """What float32 holds of a constant, and the constant, by name."""
    if REST.encode() not in network:
        return {}
    graph = onnx.load_model_from_string(network).graph
    written = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    return {name: (written[name], exact) for name, exact in joined(written).items()}


def _elements(values: NDArray[np.floating]) -> bytes:
    return felts_to_bytes(to_felt(int(n)) for n in values.reshape(-1))
