"""Writing the integer graph: float32 tensors that hold integers, as EZKL reads them.

A float32 has 24 significant bits, so a constant is rounded to one that float32 holds; what is
rounded is a bias of 25 bits or more, by less than 2^-24 of itself, and everything downstream
(interpreter, bounds, engine) sees the same rounded integer. Where every bit counts it is written
beside it (``circuits.format.wide_constants``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.format.wide_constants import EXACT, fits_float32, written
from circuits.integers.interpreter import Graph, Node
from circuits.integers.scales import LEVELLED, scale_after
from circuits.lower.bounds import Intervals
from circuits.lower.cells import cells
from circuits.lower.variant import LoweredNode
from circuits.rewrite.edit import initializer, ints

#: Beyond this no constant is of use: the engine's integers are 128 bits wide.
_LARGEST = 2.0**120


def representable(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The nearest integers that float32 holds."""
    if float(np.abs(values).max(initial=0.0)) > _LARGEST:
        raise ValueError("a constant outgrows the engine's integers")
    return np.round(values).astype(np.float32)


class Emitter:
    """Collects the nodes and constants of one integer graph.

    ``scale`` is what the engine's tables work in (see ``circuits.integers.scales``); 0 without
    tables.
    """

    def __init__(self, scale: int = 0) -> None:
        self.scale = scale
        self.intervals = Intervals()
        #: The engine's scale of each value that is not at 0, and by how many bits it was divided.
        self._scales: dict[str, int] = {}
        self._divided: dict[str, int] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        #: How many numbers have stand-ins.
        self._exact = 0
        #: What has been made of which operands, and constants by their bytes.
        self._made: dict[tuple[Any, ...], ir.Value] = {}
        self._equal: dict[tuple[Any, ...], ir.Value] = {}
        #: The float node that is being lowered: (name, operator).
        self.source = ("", "")
        #: What there is to say of each node, by name.
        self.nodes: dict[str, LoweredNode] = {}
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": 17}, name="integers")
        self._count = 0

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def input(
        self,
        name: str,
        shape: Sequence[int],
        low: float | NDArray[np.float64],
        high: float | NDArray[np.float64],
    ) -> ir.Value:
        """A graph input of that name, and the lowest and highest integer it may hold: each element,
        or all alike."""
        self.intervals.declare(name, shape, low, high)
        value = ir.val(name, shape=list(shape), type=ir.TensorType(ir.DataType.FLOAT))
        self.graph.inputs.append(value)
        return value

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        shape: Sequence[int],
        dtype: ir.DataType = ir.DataType.FLOAT,
        **attributes: Any,
    ) -> ir.Value:
        """A node's only output, of the given shape: a new node's, or that of one which does the
        same already. (The engine's importer would merge the two, and take apart only one.)"""
        inputs = self._levelled(op_type, inputs)
        same = (op_type, *(id(v) for v in inputs), repr(sorted(attributes.items())), tuple(shape))
        if same not in self._made:
            self._made[same] = self._new(op_type, inputs, shape, dtype, attributes)
        return self._made[same]

    def _new(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        shape: Sequence[int],
        dtype: ir.DataType,
        attributes: Mapping[str, Any],
    ) -> ir.Value:
        attrs = [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()]
        node = ir.Node("", op_type, inputs, attrs, num_outputs=1, name=self._name(op_type))
        self.graph.append(node)
        output = node.outputs[0]
        output.name = node.name
        output.shape = ir.Shape(list(shape))
        output.type = ir.TensorType(dtype)
        scale, shift = scale_after(op_type, [self.scale_of(v) for v in inputs], self.scale)
        self._count_cells(op_type, inputs, output, divided=shift > 0)
        self._scales[name_of(output)], self._divided[name_of(output)] = scale, shift
        names = [name_of(v) for v in inputs]
        facts = dict(attributes) | {"scale": scale}
        interval = self.intervals.after(op_type, names, self._constants, facts, shift)
        self.intervals.known[name_of(output)] = interval
        return output

    def _count_cells(
        self, op_type: str, inputs: Sequence[ir.Value], output: ir.Value, *, divided: bool
    ) -> None:
        shapes = [shape_of(value) for value in inputs]
        base, each = cells(op_type, shapes, shape_of(output), divided=divided)
        self.nodes[name_of(output)] = LoweredNode(
            source=self.source, cells=base, cells_per_leg=each
        )

    @property
    def border(self) -> int:
        """How many values go in and come out."""
        return sum(math.prod(shape_of(v)) for v in [*self.graph.inputs, *self.graph.outputs])

    # --- the engine's scales -------------------------------------------------------------------

    def scale_of(self, value: ir.Value) -> int:
        """The scale that the engine keeps beside a value."""
        return self._scales.get(name_of(value), 0)

    def divisor(self, value: ir.Value) -> float:
        """By what the engine divided the operator's result to give this value: mostly 1."""
        return 2.0 ** self._divided.get(name_of(value), 0)

    def _levelled(self, op_type: str, inputs: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """The operands, at one scale where the engine would multiply some of them to get there."""
        if op_type not in LEVELLED:
            return inputs
        level = max(self.scale_of(v) for v in inputs)
        return [self.raised(v, level) for v in inputs]

    def raised(self, value: ir.Value, scale: int) -> ir.Value:
        """The same numbers at a scale not below their own.

        A constant's are written divided, since the engine will multiply them.
        """
        missing = scale - self.scale_of(value)
        if missing == 0:
            return value
        name = name_of(value)
        if name not in self._constants:
            return self._relabelled(value, missing)
        written = (self._constants[name] * 2.0**-scale).astype(np.float32)
        value.const_value = ir.Tensor(written, name=name)
        self._scales[name] = scale
        return value

    def _relabelled(self, value: ir.Value, by: int) -> ir.Value:
        """The same numbers at a scale higher by ``by``: what multiplying by 2^-by is, for free."""
        factor = np.array([2.0**-by], dtype=np.float32)
        node = ir.Node("", "Mul", [value, self._constant(factor)], name=self._name("Shift"))
        self.graph.append(node)
        moved = node.outputs[0]
        moved.name, moved.shape, moved.type = node.name, value.shape, value.type
        self._count_cells("Mul", [value], moved, divided=False)
        self.intervals.known[name_of(moved)] = self.intervals.known[name_of(value)]
        self._scales[name_of(moved)] = self.scale_of(value) + by
        return moved

    def dividing(self, value: ir.Value, shift: int) -> ir.Value:
        """The value so labelled that the next operator's result is divided by 2^shift, rounded half
        away from zero, and comes out at the tables' scale."""
        return self._relabelled(value, self.scale - self.scale_of(value) + shift)

    def divide(self, value: ir.Value, shift: int) -> ir.Value:
        """-value / 2^shift, rounded half away from zero (Neg is the cheapest operator to ask)."""
        return self.op("Neg", [self.dividing(value, shift)], shape_of(value))

    # --- constants -----------------------------------------------------------------------------

    def whole(self, values: NDArray[Any] | float) -> ir.Value:
        """A constant of integers."""
        return self._constant(representable(np.asarray(values, dtype=np.float64)))

    def exact(self, values: NDArray[np.float64]) -> ir.Value:
        """A constant of integers that float32 may not hold (see
        ``circuits.format.wide_constants``)."""
        if fits_float32(values):
            return self._constant(values.astype(np.float32))
        stand_ins, data = written(values, self._exact)
        self._exact += values.size
        value = self._constant(stand_ins)
        self._constants[name_of(value)] = values
        initializer(self.graph, name_of(value) + EXACT, data)
        return value

    def spread(self, values: NDArray[Any]) -> ir.Value:
        """A constant for an elementwise operator, as small as broadcasting allows."""
        return self.whole(_narrowed(values))

    def spread_exactly(self, values: NDArray[Any]) -> ir.Value:
        """The same of integers that float32 may not hold."""
        return self.exact(np.round(_narrowed(values)))

    def indices(self, values: NDArray[np.int64] | Sequence[int]) -> ir.Value:
        """A constant of shapes or indices, which never enters the circuit."""
        return self._constant(np.asarray(values, dtype=np.int64))

    def _constant(self, values: NDArray[Any]) -> ir.Value:
        """A constant, once for all that are equal; not where tables are, since there one may be
        rewritten for the scale that it is used at."""
        same = (values.dtype.str, values.shape, values.tobytes())
        if self.scale or same not in self._equal:
            self._equal[same] = self._new_constant(values)
        return self._equal[same]

    def _new_constant(self, values: NDArray[Any]) -> ir.Value:
        name = self._name("const")
        exact = values if values.dtype == np.int64 else values.astype(np.float64)
        self._constants[name] = exact
        return initializer(self.graph, name, values)

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """The same elements in another shape (nothing when it is the shape already)."""
        if shape_of(value) == tuple(shape):
            return value
        written = name_of(value) + EXACT in self.graph.initializers
        if value.const_value is not None and not written:
            return self._constant(value.const_value.numpy().reshape(shape))
        return self.op("Reshape", [value, self.indices(ints(shape))], shape)

    def finish(self, outputs: Sequence[tuple[str, ir.Value]]) -> None:
        """Names the outputs."""
        given: set[int] = set()
        for name, value in outputs:
            source = value
            if source.producer() is None or id(source) in given:  # an input, or given twice
                source = self.op("Identity", [value], shape_of(value))
            given.add(id(source))
            self.intervals.known[name] = self.intervals.known[name_of(source)]
            source.name = name
            self.graph.outputs.append(source)

    def written(self) -> bytes:
        """The graph's bytes."""
        model = ir.Model(self.graph, ir_version=8)
        data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
        onnx.checker.check_model(data)
        return data

    def graph_to_run(self) -> Graph:
        """The graph as ``circuits.integers`` runs it: what reading its bytes would give."""
        return Graph(
            [
                Node(
                    n.name or "",
                    n.op_type,
                    tuple(name_of(v) for v in n.inputs if v is not None),
                    (name_of(n.outputs[0]),),
                )
                for n in self.graph
            ],
            {n.name or "": {a.name: a.value for a in n.attributes.values()} for n in self.graph},
            {
                name: value.const_value.numpy()
                for name, value in self.graph.initializers.items()
                if value.const_value is not None
            },
            {name_of(v): shape_of(v) for v in self.graph.inputs},
            [name_of(v) for v in self.graph.outputs],
            self.scale,
        )


def _narrowed(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values with one of each axis along which they are all the same."""
    small = np.asarray(values, dtype=np.float64)
    for axis in range(small.ndim):
        first = small.take([0], axis=axis)
        if bool(np.all(small == first)):
            small = first
    return small.reshape(1) if small.size == 1 else small


def name_of(value: ir.Value) -> str:
    """A value's name: every value of an integer graph has one."""
    assert value.name is not None
    return value.name


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """A value's shape: every value of an integer graph has one."""
    assert value.shape is not None
    return cast("tuple[int, ...]", value.shape.dims)
