"""The part of a circuit that bounds what its proofs do not show (``circuits.format.hidden``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from circuits.format.hidden import BOUND, RESIDUES, SALT, SALT_ELEMENTS
from circuits.format.tensors import quantised
from circuits.format.wide_constants import EXACT, fits_float32, written
from circuits.rewrite.edit import Builder, initializer, ints, names_in, shape_of

#: Operators that look an integer at scale 0 up, in a table of their own.
TABLES = ("HardSwish", "Sigmoid")
_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The least and largest integer that an input's elements may be, each worth ``2^-scale`` in the
    graph's own numbers (0 in a graph of integers)."""

    name: str
    low: int
    high: int
    scale: int = 0

    @classmethod
    def of(cls, name: str, accepted: tuple[float, float], scale: int) -> Bound:
        """The bound of an input of a graph of integers, quantised as the input is: half away from
        zero, in steps of ``2^-scale``."""
        low, high = (int(quantised(np.array(end), scale)) for end in accepted)
        return cls(name=name, low=low, high=high)


def bound_inputs(
    data: bytes, bounds: Sequence[Bound], *, by_table: bool, salted: bool = False
) -> bytes:
    """The graph with one more output, ``zkml_residues`` of shape ``[1, 1]``: zero if, and only if,
    every element of these inputs lies within its bounds.

    ``by_table``: at scale 0, where HardSwish equals ReLU; else by decomposition. ``salted``: every
    table gets an input of random look-ups, ``zkml_salt_0`` and so on, in the order of ``TABLES``.
    Raises ``ValueError`` where float32 cannot write a bound in the graph's numbers.
    """
    model = ir.from_proto(onnx.load_model_from_string(data))
    graph = model.graph
    build = Builder(graph, BOUND, names_in(graph))
    inputs = {value.name: value for value in graph.inputs}
    beyond = [
        part for bound in bounds for part in _beyond(build, inputs[bound.name], bound, by_table)
    ]
    whole = build.op("Concat", *beyond, axis=1)
    residue = build.op("ReduceSum", whole, build.const(ints([1])), keepdims=1)
    if salted:
        for number, op in enumerate(salted_tables([*graph, *build.nodes])):
            residue = build.op("Add", residue, _salt(build, number, op))
    graph.extend(build.nodes)
    residue.name, residue.shape, residue.type = RESIDUES, ir.Shape([1, 1]), ir.TensorType(_FLOAT)
    graph.outputs.append(residue)
    made: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return made


def count_elements(data: bytes) -> int:
    """How many elements a graph's inputs have."""
    inputs = onnx.load_model_from_string(data).graph.input
    return sum(math.prod(d.dim_value for d in i.type.tensor_type.shape.dim) for i in inputs)


def salted_tables(nodes: Iterable[ir.Node]) -> list[str]:
    """The tables of a graph of integers at scale 0, the one that bounds inputs included."""
    found = {node.op_type for node in nodes}
    return [op for op in TABLES if op in found]


def _beyond(build: Builder, value: ir.Value, bound: Bound, by_table: bool) -> list[ir.Value]:
    """By how much each element is above its range, and below it: ``[1, n]`` each."""
    row = build.const(ints([1, math.prod(shape_of(value))]))
    if value.dtype is not _FLOAT:
        value = build.op("Cast", value, to=_FLOAT)
    low, high = (_number(build, end, bound.scale) for end in (bound.low, bound.high))
    over = [build.op("Sub", value, high), build.op("Sub", low, value)]
    rectified = [build.op("HardSwish" if by_table else "Relu", gap) for gap in over]
    return [build.op("Reshape", part, row) for part in rectified]


def _salt(build: Builder, number: int, op: str) -> ir.Value:
    """Random look-ups times zero: a constant that the engine does not know to be one."""
    shape = [1, SALT_ELEMENTS]
    value = ir.val(f"{SALT}_{number}", shape=shape, type=ir.TensorType(_FLOAT))
    build.graph.inputs.append(value)
    zeros = build.const(np.zeros((SALT_ELEMENTS, 1), dtype=np.float32))
    return build.op("MatMul", build.op(op, value), zeros)


def _number(build: Builder, number: int, scale: int) -> ir.Value:
    values = np.array([math.ldexp(number, -scale)])
    if fits_float32(values):
        return build.const(values.astype(np.float32))
    if scale:
        raise ValueError(f"float32 does not hold the bound {values[0]!r}")
    constants = build.graph.initializers.items()
    before = sum(math.prod(shape_of(t)[:-1]) for name, t in constants if name.endswith(EXACT))
    stand_ins, exact = written(np.array([number], dtype=object), before)
    value = build.const(stand_ins)
    initializer(build.graph, f"{value.name}{EXACT}", exact)
    return value
