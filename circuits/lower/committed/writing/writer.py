"""A small writer of ONNX graphs over single rows, which counts the cells that the engine fills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from circuits.committed.network import FunctionTable
from circuits.format.commitments import CELLS
from circuits.format.wide_constants import EXACT, written

_OPSET, _IR_VERSION = 17, 8
_ONE = np.ones((1, 1), dtype=np.int64)


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: its name and shape, and the scale that the engine keeps beside it: 0,
    but for what has been looked up in the table of a function."""

    name: str
    shape: tuple[int, ...]
    scale: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class Writer:
    """Nodes and constants in order. ``columns``: how many the engine lays assignments out over;
    ``function``: the table of a function, if there is one; ``cells``: how many cells are filled so
    far, up to the end of a row."""

    columns: int
    function: FunctionTable | None = None
    cells: int = 0
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    stand_ins: int = 0

    def input(self, name: str, size: int) -> Tensor:
        """An input tensor: one row."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]))
        return Tensor(name, (1, size))

    def output(self, name: str, value: Tensor) -> None:
        """Gives out a value that some operator computes."""
        self._add("Identity", [value.name], value.shape, value.scale, name)
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape))
        self.outputs.append(info)

    def constant(self, values: NDArray[Any], scale: int = 0) -> Tensor:
        """Integers of any size. Each is written as a number that stands nowhere else in the graph
        (``circuits.format.wide_constants``): the engine would make one of equal constants, and
        check its range."""
        name = f"const_{len(self.constants)}"
        numbers = np.asarray(values, dtype=object)
        if scale:  # an odd number, which no scale makes whole: the engine would keep that at 0
            assert numbers.size == 1
            self.stand_ins += self.stand_ins % 2
        stand_ins, exact = written(numbers, self.stand_ins, scale)
        self.stand_ins += numbers.size
        self.constants.append(numpy_helper.from_array(stand_ins, name))
        self.constants.append(numpy_helper.from_array(exact, name + EXACT))
        return Tensor(name, stand_ins.shape, scale)

    def reshape(self, value: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in another shape: no cells."""
        if value.shape == tuple(shape):
            return value
        operands = [value.name, self._places(shape)]
        return self._add("Reshape", operands, tuple(shape), value.scale)

    def cut(self, value: Tensor, start: int, end: int) -> Tensor:
        """Elements of a row: no cells."""
        if (start, end) == (0, value.shape[1]):
            return value
        operands = [value.name, *(self._places([n]) for n in (start, end, 1))]
        return self._add("Slice", operands, (1, end - start), value.scale)

    def take(self, value: Tensor, places: Sequence[int]) -> Tensor:
        """Elements of a row, in any order and number: no cells.

        What the engine's importer cannot see through: it would take a product with rows that were
        joined apart again, and the constants with it.
        """
        if len(places) == 1:  # the importer makes a cut of it, and moves that about
            return self.cut(value, places[0], places[0] + 1)
        operands = [value.name, self._places(places)]
        return self._add("Gather", operands, (1, len(places)), value.scale, axis=1)

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """Rows behind one another: no cells."""
        if len(values) == 1:
            return values[0]
        values, size = self._levelled(values), sum(v.size for v in values)
        joined = self._add("Concat", [v.name for v in values], (1, size), values[0].scale, axis=1)
        return self.take(joined, range(size))

    def _levelled(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The same numbers at one scale: the engine would multiply them to get there."""
        scale = max(v.scale for v in values)
        return [
            v if v.scale == scale else self.multiply(v, self.constant(_ONE, scale - v.scale))
            for v in values
        ]

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return self._pairwise("Add", a, b)

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        return self._pairwise("Sub", a, b)

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """Element by element, with a single one or row of ``b`` repeated."""
        return self._pairwise("Mul", a, b)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """``[m, n] · [n, p]``."""
        (m, n), p = a.shape, b.shape[1]
        if n == 1:
            return self.multiply(a, b)
        self._fill(n, m * p)
        return self._add("MatMul", [a.name, b.name], (m, p), self._multiplied(a, b))

    def total(self, value: Tensor) -> Tensor:
        """The sum of a row's elements."""
        self._fill(value.size)
        operands = [value.name, self._places([1])]
        return self._add("ReduceSum", operands, (1, 1), value.scale, keepdims=1)

    def rectified(self, value: Tensor) -> Tensor:
        """Each element by table: itself from 0 to the table's end, 0 from its beginning to -1."""
        assert value.scale == 0  # at any other the engine's table is another one
        self._fill(value.size)
        return self._add("HardSwish", [value.name], value.shape)

    def looked_up(self, value: Tensor, times: int = 1) -> Tensor:
        """Each element, ``times`` as large, in the table of the function."""
        assert self.function is not None
        scaled = self.multiply(value, self.constant(times * _ONE, self.function.scale))
        self._fill(value.size)
        return self._add(self.function.op, [scaled.name], value.shape, scaled.scale)

    def powers(self, base: Tensor, count: int) -> Tensor:
        """The first ``count`` powers of a single element, from the first on."""
        found = base
        while (have := found.size) < count:
            more = min(have, count - have)
            last = self.cut(found, have - 1, have)
            found = self.join([found, self.multiply(self.cut(found, 0, more), last)])
        return found

    def bytes(self) -> bytes:
        """The graph, checked."""
        graph = helper.make_graph(
            self.nodes, "committed", self.inputs, self.outputs, self.constants
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        fact = model.metadata_props.add()
        fact.key, fact.value = CELLS, str(self.cells)
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _pairwise(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        shape = tuple(int(n) for n in np.broadcast_shapes(a.shape, b.shape))
        if op != "Mul":
            a, b = self._levelled([a, b])
        scale = self._multiplied(a, b) if op == "Mul" else a.scale
        self._fill(math.prod(shape))
        return self._add(op, [a.name, b.name], shape, scale)

    def _multiplied(self, a: Tensor, b: Tensor) -> int:
        """The scale of a product: beyond a table's the engine would divide."""
        scale = a.scale + b.scale
        assert scale <= (0 if self.function is None else self.function.scale)
        return scale

    def _fill(self, cells: int, times: int = 1) -> None:
        """Every operator, and every sum of products, begins a row of its own."""
        self.cells += times * -(-cells // self.columns) * self.columns

    def _places(self, values: Sequence[int]) -> str:
        name = f"places_{len(self.constants)}"
        array = np.array(values, dtype=np.int64)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def _add(
        self,
        op: str,
        operands: Sequence[str],
        shape: tuple[int, ...],
        scale: int = 0,
        name: str | None = None,
        **attributes: Any,
    ) -> Tensor:
        result = name or f"value_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(
                op, list(operands), [result], name=f"node_{len(self.nodes)}", **attributes
            )
        )
        return Tensor(result, shape, scale)
