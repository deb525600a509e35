"""Whether the engine lays out the operators that bind what a circuit is given.

A result that is given is bound by the ReLU behind it (``circuits.lower.hinting``). The engine's
importer simplifies graphs: should it come to leave out a ReLU, or elements of one that nobody reads
later, nothing would bind them any more. So both are counted.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter

import onnx

from circuits.errors import EngineError
from circuits.hints import HINT

#: The engine's words for operators that take apart or look up.
_WORDS = {"ABS": "Abs", "LEAKYRELU": "Relu", "HARDSWISH": "HardSwish"}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def has_hints(network: bytes) -> bool:
    """Whether a graph is given results."""
    return HINT.encode() in network


def check_hints(network: bytes, input_visibility: str, table: str) -> None:
    """Compares a graph that is given results with the engine's own table of what it makes of it
    (``ezkl.table``).

    Raises ``EngineError`` where inputs are not public, and where the engine takes other elements
    apart than the graph does.
    """
    if input_visibility != "public":
        raise EngineError("what is given to a circuit has to be public, or outputs are not tied")
    meant, made = _meant(network), _made(table)
    if meant != made:
        raise EngineError(
            f"the engine takes apart {_told(made)} elements of a graph that has {_told(meant)}:"
            " what is given to the circuit might not be bound"
        )


def _told(counts: Counter[tuple[str, int]]) -> str:
    return ", ".join(f"{n} x {op} of {size}" for (op, size), n in sorted(counts.items())) or "no"


def _meant(network: bytes) -> Counter[tuple[str, int]]:
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(network)).graph
    sizes = {
        v.name: math.prod(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in [*graph.input, *graph.value_info, *graph.output]
    }
    found: Counter[tuple[str, int]] = Counter()
    for node in graph.node:
        if node.op_type in _WORDS.values():
            found[node.op_type, sizes[node.output[0]]] += 1
    return found


def _made(table: str) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        word = _WORD.search(cells[2]) if len(cells) > 3 else None
        if word is not None:
            found[_WORDS[word[1]], math.prod(ast.literal_eval(cells[-2]))] += 1
    return found
