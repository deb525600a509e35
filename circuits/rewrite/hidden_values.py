"""The part of a circuit that bounds what its proofs do not show (``circuits.format.hidden``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from circuits.format.hidden import BOUND, RESIDUES, SALT, SALT_ELEMENTS
from circuits.format.wide_constants import EXACT, fits_float32, written
from circuits.rewrite.edit import shape_of

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
        low, high = (
            int(np.copysign(np.floor(abs(math.ldexp(x, scale)) + 0.5), x)) for x in accepted
        )
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
    writing = _Writing(model.graph)
    inputs = {value.name: value for value in model.graph.inputs}
    beyond = [
        part for bound in bounds for part in writing.beyond(inputs[bound.name], bound, by_table)
    ]
    whole = writing.op("Concat", beyond, [1, sum(shape_of(p)[1] for p in beyond)], axis=1)
    residue = writing.op("ReduceSum", [whole, writing.integers([1])], [1, 1], keepdims=1)
    if salted:
        for number, op in enumerate(salted_tables(model.graph)):
            residue = writing.op("Add", [residue, writing.salt(number, op)], [1, 1])
    residue.name = RESIDUES
    model.graph.outputs.append(residue)
    made: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return made


def count_elements(data: bytes) -> int:
    """How many elements a graph's inputs have."""
    inputs = onnx.load_model_from_string(data).graph.input
    return sum(math.prod(d.dim_value for d in i.type.tensor_type.shape.dim) for i in inputs)


def salted_tables(graph: ir.Graph) -> list[str]:
    """The tables of a graph of integers at scale 0, the one that bounds inputs included."""
    found = {node.op_type for node in graph}
    return [op for op in TABLES if op in found]


class _Writing:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._count = 0
        names = [(t.name or "", t) for t in graph.initializers.values()]
        self._exact = sum(math.prod(shape_of(t)[:-1]) for name, t in names if name.endswith(EXACT))

    def beyond(self, value: ir.Value, bound: Bound, by_table: bool) -> list[ir.Value]:
        """By how much each element is above its range, and below it: ``[1, n]`` each."""
        shape = list(shape_of(value))
        if value.dtype is not _FLOAT:
            value = self.op("Cast", [value], shape, to=_FLOAT)
        parts = []
        for first, second in (
            (value, self._number(bound.high, bound.scale)),
            (self._number(bound.low, bound.scale), value),
        ):
            over = self.op("Sub", [first, second], shape)
            rectified = self.op("HardSwish" if by_table else "Relu", [over], shape)
            size = math.prod(shape)
            flat = self.integers([1, size])
            parts.append(self.op("Reshape", [rectified, flat], [1, size]))
        return parts

    def salt(self, number: int, op: str) -> ir.Value:
        """Random look-ups times zero: a constant that the engine does not know to be one."""
        shape = [1, SALT_ELEMENTS]
        value = ir.val(f"{SALT}_{number}", shape=shape, type=ir.TensorType(_FLOAT))
        self._graph.inputs.append(value)
        looked_up = self.op(op, [value], shape)
        zeros = self._constant(np.zeros((SALT_ELEMENTS, 1), dtype=np.float32))
        return self.op("MatMul", [looked_up, zeros], [1, 1])

    def op(
        self, kind: str, inputs: Sequence[ir.Value], shape: Sequence[int], **attributes: Any
    ) -> ir.Value:
        """A new node's only output."""
        self._count += 1
        attrs = [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()]
        name = f"{BOUND}_{self._count}"
        node = ir.Node("", kind, inputs, attrs, num_outputs=1, name=name)
        self._graph.append(node)
        output = node.outputs[0]
        output.name, output.shape, output.type = name, ir.Shape(list(shape)), ir.TensorType(_FLOAT)
        return output

    def _number(self, number: int, scale: int) -> ir.Value:
        values = np.array([math.ldexp(number, -scale)])
        if fits_float32(values):
            return self._constant(values.astype(np.float32))
        if scale:
            raise ValueError(f"float32 does not hold the bound {values[0]!r}")
        stand_ins, data = written(np.array([number], dtype=object), self._exact)
        self._exact += 1
        value = self._constant(stand_ins)
        self._constant(data, f"{value.name}{EXACT}")
        return value

    def integers(self, values: Sequence[int]) -> ir.Value:
        """A constant of shapes or axes."""
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, values: np.ndarray, name: str | None = None) -> ir.Value:
        if name is None:
            self._count += 1
            name = f"{BOUND}_const_{self._count}"
        tensor = ir.Tensor(values, name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(values.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value
