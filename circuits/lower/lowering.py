"""The state of one lowering, and what all operators share: rescaling to common steps, ReLU, max."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.emit import Emitter, name_of, shape_of
from circuits.lower.errors import CannotLower
from circuits.lower.quantity import QuantizedValue, compact, fresh, gather, materialize, per_tensor
from circuits.lower.variant import BitWidths
from circuits.rewrite.edit import constant

#: Relative error allowed where two steps have no whole-number ratio.
_RATIO_BITS = 12
#: Numbers of no more bits than this are counted finer where a constant is added to them.
_SHORT_BITS = 2
#: Bits that a worst-case value may have (the engine's integers have 127).
REACH_BITS = 96
#: Bits of the worst case that a division leaves; values in practice are far smaller than it.
KEPT_BITS = 40


@dataclass
class Lowering:
    """Quantities by the name of the value that they stand for, and counters."""

    bits: BitWidths
    #: Whether ReLUs and comparisons become tables.
    tables: bool = False
    emit: Emitter = field(default_factory=Emitter)
    known: dict[str, QuantizedValue] = field(default_factory=dict)
    layers: int = 0
    #: Linear layers before the last function that is looked up.
    tabled_layers: int = 0
    #: In what steps each comparison with a constant counts, by its output's name.
    compared: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def quantity(self, value: ir.Value | None) -> QuantizedValue:
        """The quantity of a value, with a ReLU that was put off done now.

        Raises ``ValueError`` for a constant, which the compiler turns into ``CannotLower``.
        """
        if value is None or value.name not in self.known:
            raise ValueError("a constant stands where a value is expected")
        assert value.name is not None
        q = self.known[value.name]
        if q.relu:
            q = self.relu(replace(q, relu=False))
            self.known[value.name] = q
        return q

    def is_known(self, value: ir.Value | None) -> bool:
        """Whether the value depends on an input (else it is a constant)."""
        return value is not None and value.name in self.known

    def constant(self, node: ir.Node, value: ir.Value | None) -> NDArray[np.float64]:
        """A constant operand; raises ``CannotLower`` when it is none."""
        array = constant(value)
        if array is None:
            raise refuse(node, "an operand that should be constant is not")
        return np.asarray(array, dtype=np.float64)

    # --- steps -------------------------------------------------------------------------------

    def positive(self, q: QuantizedValue) -> QuantizedValue:
        """The same value with positive steps only, as order needs it."""
        if bool(np.all(q.step > 0)):
            return q
        q = compact(self.emit, q)
        signs = per_tensor(q, np.sign(q.steps()))
        tensor = self.emit.op("Mul", [q.tensor, self.emit.spread(signs)], shape_of(q.tensor))
        return QuantizedValue(tensor, q.view, np.abs(q.step))

    def to_step(self, q: QuantizedValue, target: float) -> QuantizedValue:
        """The same value counted in one positive step; ``target`` should divide its steps."""
        if q.uniform == target:
            return q
        q = compact(self.emit, q)
        factors = np.round(q.steps() / target)
        tensor = self._times(q.tensor, per_tensor(q, factors))
        return QuantizedValue(tensor, q.view, np.array(target))

    def _times(self, tensor: ir.Value, factors: NDArray[np.float64]) -> ir.Value:
        if bool(np.all(factors == 1.0)):
            return tensor
        return self.emit.op("Mul", [tensor, self.emit.spread(factors)], shape_of(tensor))

    def uniform(self, q: QuantizedValue) -> QuantizedValue:
        """The same value with one positive step."""
        q = self.positive(q)
        return q if q.uniform is not None else self.to_step(q, common_step([q]))

    def aligned(self, quantities: Sequence[QuantizedValue]) -> list[QuantizedValue]:
        """The same values, all counted in one step."""
        target = common_step(quantities)
        return [self.to_step(q, target) for q in quantities]

    # --- size --------------------------------------------------------------------------------

    def bits_of(self, q: QuantizedValue) -> int:
        """Bits of the largest magnitude that the quantity's integers can have."""
        return self.emit.intervals.magnitude(name_of(q.tensor)).bit_length()

    def fitting(self, q: QuantizedValue, growth: int) -> QuantizedValue:
        """q, divided down when ``growth`` more bits would take it over the engine's reach.

        A division costs as much as 15 more digits in every later ReLU, so values are left to grow
        for as long as they can.
        """
        bits = self.bits_of(q)
        if bits + growth <= REACH_BITS or bits <= KEPT_BITS:
            return q
        shift = bits - KEPT_BITS
        tensor = self.emit.divide(q.tensor, shift)
        return QuantizedValue(tensor, q.view, -q.step * 2.0**shift, q.relu)

    # --- order -------------------------------------------------------------------------------

    def relu(self, q: QuantizedValue) -> QuantizedValue:
        """max(x, 0): where no table has it, as half of ``n + |n|``, which is cheaper."""
        q = compact(self.emit, self.positive(q))
        if self._tabled(q.tensor):
            return QuantizedValue(self.rectified(q.tensor), q.view, q.step)
        twice = self._plus_magnitude(q.tensor, q.tensor)
        low, high = self.emit.intervals.known[name_of(q.tensor)]
        self.emit.intervals.narrow(name_of(twice), 2 * np.maximum(low, 0), 2 * np.maximum(high, 0))
        return QuantizedValue(twice, q.view, q.step / 2)

    def rectified(self, tensor: ir.Value) -> ir.Value:
        """max(n, 0), by decomposition or by table."""
        op = "HardSwish" if self._tabled(tensor) else "Relu"
        return self.emit.op(op, [tensor], shape_of(tensor))

    def _tabled(self, tensor: ir.Value) -> bool:
        """Whether a ReLU of it becomes a table: HardSwish, which equals ReLU at scale 0."""
        return self.tables and self.emit.scale_of(tensor) == 0

    def _plus_magnitude(self, tensor: ir.Value, signed: ir.Value) -> ir.Value:
        """``tensor + |signed|``."""
        shape = shape_of(tensor)
        return self.emit.op("Add", [tensor, self.emit.op("Abs", [signed], shape)], shape)

    def step(self, tensor: ir.Value) -> ir.Value:
        """1 where n ≥ 0, else 0, by table: what Sigmoid rounds to at scale 0 (0.5 becomes 1)."""
        return self.emit.op("Sigmoid", [tensor], shape_of(tensor))

    def maximum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """max of two tensors of one shape: b + relu(a - b), cheaper than the engine's own."""
        shape = shape_of(a)
        over = self.rectified(self.emit.op("Sub", [a, b], shape))
        result = self.emit.op("Add", [b, over], shape)
        known = self.emit.intervals.known
        (a_low, a_high), (b_low, b_high) = known[name_of(a)], known[name_of(b)]
        bounds = np.maximum(a_low, b_low), np.maximum(a_high, b_high)
        self.emit.intervals.narrow(name_of(result), *bounds)
        return result

    def maxima(
        self, q: QuantizedValue, views: Sequence[NDArray[np.int64]], *, as_it_is: bool = False
    ) -> tuple[ir.Value, int]:
        """The elementwise maximum of several looks at one quantity, as a balanced tree: so many
        times as large, since ``a + b + |a - b|`` is twice the maximum and cheaper than it. Not so
        where it is wanted ``as_it_is``."""
        tensors = [gather(self.emit, q, view, (1, *view.shape)) for view in views]
        times = 1
        while len(tensors) > 1:
            halves = list(zip(tensors[::2], tensors[1::2], strict=False))
            rest = tensors[len(halves) * 2 :]
            if as_it_is or self._tabled(tensors[0]):
                tensors = [*(self.maximum(a, b) for a, b in halves), *rest]
                continue
            tensors = [self._twice_the_maximum(a, b) for a, b in halves]
            tensors += [self.emit.op("Add", [a, a], shape_of(a)) for a in rest]
            times *= 2
        return tensors[0], times

    def _twice_the_maximum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        shape = shape_of(a)
        total = self.emit.op("Add", [a, b], shape)
        result = self._plus_magnitude(total, self.emit.op("Sub", [a, b], shape))
        (a_low, a_high), (b_low, b_high) = (
            self.emit.intervals.known[name_of(value)] for value in (a, b)
        )
        bounds = 2 * np.maximum(a_low, b_low), 2 * np.maximum(a_high, b_high)
        self.emit.intervals.narrow(name_of(result), *bounds)
        return result

    # --- sums --------------------------------------------------------------------------------

    def add(self, a: QuantizedValue, b: QuantizedValue) -> QuantizedValue:
        """a + b of one shape."""
        a, b = self.aligned([a, b])
        a = compact(self.emit, a)
        order = np.empty(a.view.size, dtype=np.int64)
        order[a.view.reshape(-1)] = b.view.reshape(-1)
        other = gather(self.emit, b, order, shape_of(a.tensor))
        tensor = self.emit.op("Add", [a.tensor, other], shape_of(a.tensor))
        return QuantizedValue(tensor, a.view, a.step)

    def add_constant(self, q: QuantizedValue, values: NDArray[np.float64]) -> QuantizedValue:
        """q + c, the constant rounded to q's step: of short numbers, such as truths, to a finer one
        where it would be lost."""
        shape = np.broadcast_shapes(q.shape, values.shape)
        q = self.broadcast(q, shape)
        if not np.any(values):
            return q
        q = self._finer(compact(self.emit, q), np.broadcast_to(values, shape))
        whole = per_tensor(q, np.round(np.broadcast_to(values, shape) / q.steps()))
        tensor = self.emit.op("Add", [q.tensor, self.emit.spread(whole)], shape_of(q.tensor))
        return QuantizedValue(tensor, q.view, q.step)

    def _finer(self, q: QuantizedValue, values: NDArray[np.float64]) -> QuantizedValue:
        """q in steps that hold these values exactly, or nearly so; as it is where its own numbers
        are long."""
        exact = values / q.steps()
        bits = self.bits_of(q)
        if bits > _SHORT_BITS or bool(np.all(exact == np.round(exact))):
            return q
        whole = (k for k in range(_RATIO_BITS) if bool(np.all(exact * 2.0**k % 1 == 0)))
        factor = 2.0 ** next(whole, _RATIO_BITS - bits)
        tensor = self._times(q.tensor, np.full(1, factor))
        return QuantizedValue(tensor, q.view, q.step / factor)

    def scale(self, q: QuantizedValue, factors: NDArray[np.float64]) -> QuantizedValue:
        """q · c: nothing but a change of step, except where c is zero."""
        shape = np.broadcast_shapes(q.shape, factors.shape)
        q = self.broadcast(q, shape)
        if np.all(factors == factors.reshape(-1)[0]):
            factors = factors.reshape(-1)[:1].reshape(())
        full = np.broadcast_to(factors, shape)
        if not np.any(full == 0):
            return replace(q, step=q.step * factors)
        view = np.where(full == 0, -1, q.view)
        step = np.where(full == 0, 1.0, q.steps() * full)
        return q.moved(view, step)

    def broadcast(self, q: QuantizedValue, shape: tuple[int, ...]) -> QuantizedValue:
        """q with its elements repeated to a larger shape."""
        if q.shape == shape:
            return q
        step = np.broadcast_to(q.steps(), shape) if q.step.ndim else q.step
        return q.moved(np.broadcast_to(q.view, shape).copy(), step)

    def materialized(self, q: QuantizedValue) -> QuantizedValue:
        """q in order, in a tensor of its own shape."""
        return materialize(self.emit, q)

    def new(self, tensor: ir.Value, step: NDArray[np.float64] | float) -> QuantizedValue:
        """A quantity on a tensor just emitted."""
        return fresh(tensor, step)


def common_step(quantities: Sequence[QuantizedValue]) -> float:
    """One step in which all elements can be counted, exactly where their ratios allow."""
    steps = np.unique(np.concatenate([np.abs(q.step).reshape(-1) for q in quantities]))
    smallest = float(steps[0])
    ratios = steps / smallest
    if bool(np.all(ratios == np.round(ratios))):
        return smallest
    return float(2.0 ** (np.floor(np.log2(smallest)) - _RATIO_BITS))


def refuse(node: ir.Node, why: str) -> CannotLower:
    """``CannotLower`` naming a node."""
    label = node.name or node.outputs[0].name or ""
    return CannotLower(
        f"{node.op_type} at node {label!r} has no exact form on integers: {why}",
        node=label,
        op=node.op_type,
    )
