"""Whether the engine lays out the operators that soundness and secrecy lean on.

A committed hint is bound by the table behind it (``circuits.committed``), an input that is not
shown by two ReLUs of its own, and salt is looked up to no effect (``circuits.format.hidden``). The
engine's importer simplifies graphs: should it leave one of these operators out, or elements of one
that nobody reads later, nothing would hold any more. So both are counted.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter

import onnx

from circuits.engine.port import COMMITTED
from circuits.errors import EngineError
from circuits.format.commitments import CELLS, DATA
from circuits.format.hidden import BOUND, RESIDUES, SALT, Salt

#: The engine's words for operators that decompose or look up.
_WORDS = {
    "ABS": "Abs",
    "ERF": "Erf",
    "EXP": "Exp",
    "HARDSWISH": "HardSwish",
    "LEAKYRELU": "Relu",
    "SIGMOID": "Sigmoid",
    "TANH": "Tanh",
}
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b")


def leans_on_operators(network: bytes) -> bool:
    """Whether a graph has residues: then the engine has to lay it out as it stands."""
    return RESIDUES.encode() in network


def is_committed(network: bytes) -> bool:
    """Whether a graph has committed hints (``circuits.committed``)."""
    return DATA.encode() in network


def cells_of(network: bytes) -> int:
    """How many cells the engine fills for a graph with committed hints, as the graph says."""
    facts = {p.key: p.value for p in onnx.load_model_from_string(network).metadata_props}
    return int(facts[CELLS])


def salt_of(network: bytes) -> Salt | None:
    """The random look-ups that a graph takes; None where it takes none."""
    if SALT.encode() not in network:
        return None
    inputs = onnx.load_model_from_string(network).graph.input
    sizes = [
        math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in inputs
        if value.name.startswith(SALT)
    ]
    return Salt(tables=len(sizes), elements=sizes[0])


def check_operators(network: bytes, input_visibility: str, table: str) -> None:
    """Compares a graph that has residues with the engine's own table of what it makes of it
    (``ezkl.table``).

    Raises ``EngineError`` where hints are not committed, and where the engine lays out other
    operators than the graph has. (Without hints only those that bound inputs, and salt, are looked
    for: the engine's own fixed point makes other operators of some.)
    """
    committed = is_committed(network)
    if committed and input_visibility != COMMITTED:
        raise EngineError("hints have to be committed, or outputs are not tied to them")
    meant, made = _meant(network, "" if committed else BOUND), _made(table)
    if meant != made if committed else meant - made:
        raise EngineError(
            f"the engine lays out {_listed(made)} elements of a graph that has {_listed(meant)}:"
            " hints or hidden inputs might not be bound"
        )


def _listed(counts: Counter[tuple[str, int]]) -> str:
    return ", ".join(f"{n} x {op} of {size}" for (op, size), n in sorted(counts.items())) or "no"


def _meant(network: bytes, names: str) -> Counter[tuple[str, int]]:
    """Operators of nodes whose names begin so, with their sizes."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(network)).graph
    sizes = {
        v.name: math.prod(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in [*graph.input, *graph.value_info, *graph.output]
    }
    found: Counter[tuple[str, int]] = Counter()
    for node in graph.node:
        if node.op_type in _WORDS.values() and node.name.startswith(names):
            found[node.op_type, sizes[node.output[0]]] += 1
    return found


def _made(table: str) -> Counter[tuple[str, int]]:
    found: Counter[tuple[str, int]] = Counter()
    for _, _, operator, _, _, shape, _ in _rows(table):
        if (word := _WORD.search(operator)) is not None:
            found[_WORDS[word[1]], math.prod(ast.literal_eval(shape))] += 1
    return found


def _rows(table: str) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.split("│")] for line in table.splitlines()]
    return [cells for cells in lines if len(cells) == 7 and cells[1].isdigit()]
