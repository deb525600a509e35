"""How large a result can be that somebody gives to a circuit: what the circuit does with it tells.

Intervals hold for honest values. What is asked here is what *any* value must keep to, if all
constraints behind it hold: a ReLU splits its operand into digits, which hold no more than so much;
a table has no more rows; an output is looked at by the verifier. From there bounds go backwards
through the graph, element by element.

The other operand of a sum may be relied on where it depends on nothing given, or only on results
that were found to be bounded before: these are then known to be the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from circuits.integers.interpreter import Graph, evaluate
from circuits.lower.bounds import Interval
from circuits.lower.hinting.products import open_to_choice

Floats = NDArray[np.float64]
#: By what share of itself the end of an interval may be off.
_ROUNDING = 2.0**-30
_WIDEST = 2.0**250
#: Lowest and highest value of each element.
_Ends = tuple[Floats, Floats]


@dataclass(frozen=True)
class Bound:
    """Every element, ``times`` as large as it is, lies between ``low`` and ``high``.

    That is all that can be said where twice a number is known to be small: in the field the number
    itself may be half of an odd one, which is large.
    """

    low: Floats
    high: Floats
    times: int = 1

    @property
    def largest(self) -> float:
        return float(max(np.abs(end).max(initial=0.0) for end in (self.low, self.high)))

    @property
    def outward(self) -> _Ends:
        """Both ends, moved by more than what computing them in floating point can be off."""
        low, high = (np.where(np.isfinite(end), end, 0.0) for end in (self.low, self.high))
        least = self.low - 4 * np.spacing(np.abs(low))
        most = self.high + 4 * np.spacing(np.abs(high))
        # Beyond this a number of the field is no one whole number any more.
        return np.where(least < -_WIDEST, -np.inf, least), np.where(most > _WIDEST, np.inf, most)

    def scaled(self, times: int) -> Bound:
        """The same of so many times the elements, of which ``times`` is a divisor."""
        by = times // self.times
        return Bound(self.low * by, self.high * by, times)


class BackwardBounds:
    """Bounds on values that a graph is given in the place of ``results``, one after another.

    ``digits``: the largest magnitude that a decomposition holds. ``lookup``: lowest and highest
    entry of tables. ``outputs``: the magnitude up to which each output is accepted. ``intervals``
    bound every value of an honest run (with a leading axis of one sample).
    """

    def __init__(
        self,
        graph: Graph,
        intervals: Mapping[str, Interval],
        *,
        results: Sequence[str],
        digits: float,
        lookup: tuple[int, int] | None,
        outputs: Mapping[str, int],
    ) -> None:
        self._graph, self._intervals, self._outputs = graph, intervals, outputs
        self._results = list(results)
        self._digits, self._lookup = digits, lookup
        self._open = set(range(len(results)))
        self._depends: dict[str, set[int]] = {}
        #: What honest intervals do not bind: the engine leaves it a choice.
        self._uncertain = open_to_choice(graph)
        self._makers = {node.output[0]: node for node in graph.nodes}
        numbers = {name: number for number, name in enumerate(results)}
        for node in graph.nodes:
            on = set().union(*(self._depends.get(name, set()) for name in node.input))
            if node.output[0] in numbers:
                on = on | {numbers[node.output[0]]}
            self._depends[node.output[0]] = on

    def settle(self, number: int) -> None:
        """Notes that a result is given and checked, or computed: then it may be relied on."""
        self._open.discard(number)

    def of(self, number: int) -> Bound | None:
        """What binds all elements of a result that the circuit lets pass; None where nothing does.
        Results are asked for, and settled, in order."""
        bounds: dict[str, Bound] = {}
        name = self._results[number]
        for node in reversed(self._graph.nodes):
            made = node.output[0]
            if made in self._outputs:
                most = np.full(self._shape(made), float(self._outputs[made]))
                self._note(bounds, made, Bound(-most, most))
            if made == name:
                break
            if number in self._depends[made]:
                self._backwards(bounds, node, number)
        found = bounds.get(name)
        return found if found is not None and math.isfinite(found.largest) else None

    # --- one node ------------------------------------------------------------------------------

    def _backwards(self, bounds: dict[str, Bound], node: NodeProto, number: int) -> None:
        """What a node, and the bounds of what it makes, say of its operands."""
        if node.name in self._graph.divided or node.name in self._graph.relabels:
            return
        if self._graph.attributes[node.name]["scale"] != 0:
            return
        rule = _RULES.get(node.op_type)
        if rule is not None:
            rule(self, bounds, node)

    def _note(self, bounds: dict[str, Bound], name: str, bound: Bound) -> None:
        known = bounds.get(name)
        if known is not None:
            times = math.lcm(known.times, bound.times)
            known, bound = known.scaled(times), bound.scaled(times)
            low, high = np.maximum(known.low, bound.low), np.minimum(known.high, bound.high)
            bound = Bound(low, high, times)
        shape = self._shape(name)
        low, high = (np.broadcast_to(end, shape) for end in bound.outward)
        bounds[name] = Bound(low, high, bound.times)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._intervals[name][0].shape[1:]

    def _relied_on(self, name: str) -> _Ends | None:
        """Bounds of a value that hold whatever is given: of a constant, of a true value, of what
        comes out of a ReLU."""
        if name in self._graph.constants:
            constant = self._graph.constants[name].astype(np.float64)
            return constant, constant
        if name not in self._uncertain and not self._depends.get(name, set()) & self._open:
            low, high = (end[0] for end in self._intervals[name])
            return low - np.abs(low) * _ROUNDING, high + np.abs(high) * _ROUNDING
        maker = self._makers.get(name)
        if maker is None or (held := self._held(maker)) is None:
            return None
        most = np.full(self._shape(name), held[1])
        return np.zeros_like(most), most

    def _held(self, node: NodeProto) -> tuple[float, float] | None:
        """Lowest and highest operand of what is taken apart into digits or looked up in a table;
        None for anything else. What comes out lies between 0 and the highest."""
        if self._graph.attributes[node.name]["scale"] != 0 or node.name in self._graph.divided:
            return None
        if node.op_type in ("Abs", "Relu"):
            return -self._digits, self._digits
        if node.op_type == "HardSwish" and self._lookup is not None:
            return float(self._lookup[0]), float(self._lookup[1])
        return None

    def _rectified(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        held = self._held(node)
        if held is not None:
            shape = self._shape(node.input[0])
            self._note(
                bounds, node.input[0], Bound(np.full(shape, held[0]), np.full(shape, held[1]))
            )

    def _moved(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        """Operators that move elements: where each came from, its bounds go."""
        made = bounds.get(node.output[0])
        if made is None:
            return
        names = [name for name in node.input if name not in self._graph.places]
        starts = np.cumsum([0, *(int(np.prod(self._shape(name))) for name in names)])
        places = iter(
            np.arange(start, end, dtype=np.float64).reshape(1, *self._shape(name)) + 1
            for name, start, end in zip(names, starts[:-1], starts[1:], strict=True)
        )
        operands = [
            self._graph.constants[name] if name in self._graph.places else next(places)
            for name in node.input
        ]
        attributes = self._graph.attributes[node.name]
        # Padding puts zeros, which come from nowhere: places are counted from one.
        origin = evaluate(node.op_type, operands, attributes).reshape(-1).astype(np.int64)
        low, high = np.full(starts[-1] + 1, -np.inf), np.full(starts[-1] + 1, np.inf)
        np.maximum.at(low, origin, made.low.reshape(-1))
        np.minimum.at(high, origin, made.high.reshape(-1))
        for name, start, end in zip(names, starts[:-1], starts[1:], strict=True):
            if name in self._graph.constants:
                continue
            shape = self._shape(name)
            own = slice(start + 1, end + 1)
            bound = Bound(low[own].reshape(shape), high[own].reshape(shape), made.times)
            self._note(bounds, name, bound)

    def _added(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        made = bounds.get(node.output[0])
        if made is None:
            return
        if (pair := self._maximum_of(node)) is not None:
            # The larger of two is within bounds, and the other not further from it than digits say.
            *two, apart, twice = pair
            times = made.times * twice
            for name in two:
                self._note(bounds, name, Bound(made.low - times * apart, made.high, times))
            return
        for own, other in (node.input, reversed(node.input)):
            known = self._relied_on(other)
            if own not in self._graph.constants and known is not None:
                low, high = (made.times * end for end in known)
                self._note_reduced(bounds, own, Bound(made.low - high, made.high - low, made.times))

    def _maximum_of(self, node: NodeProto) -> tuple[str, str, float, int] | None:
        """Of ``b + relu(a - b)``, and of ``a + b + |a - b|``: a, b, how far apart they may be, and
        how many times the maximum it is."""
        first, over = node.input
        rectifier = self._makers.get(over)
        if rectifier is None or (held := self._held(rectifier)) is None:
            return None
        difference = self._makers.get(rectifier.input[0])
        if difference is None or difference.op_type != "Sub":
            return None
        a, b = difference.input
        apart = max(-held[0], held[1])
        if rectifier.op_type != "Abs":
            return (a, b, apart, 1) if first == b else None
        total = self._makers.get(first)
        summed = total is not None and total.op_type == "Add" and list(total.input) == [a, b]
        return (a, b, apart, 2) if summed else None

    def _subtracted(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        made = bounds.get(node.output[0])
        if made is None:
            return
        a, b = node.input
        if a not in self._graph.constants and (known := self._relied_on(b)) is not None:
            low, high = (made.times * end for end in known)
            self._note_reduced(bounds, a, Bound(made.low + low, made.high + high, made.times))
        if b not in self._graph.constants and (known := self._relied_on(a)) is not None:
            low, high = (made.times * end for end in known)
            self._note_reduced(bounds, b, Bound(low - made.high, high - made.low, made.times))

    def _negated(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        made = bounds.get(node.output[0])
        if made is not None:
            self._note(bounds, node.input[0], Bound(-made.high, -made.low, made.times))

    def _multiplied(self, bounds: dict[str, Bound], node: NodeProto) -> None:
        """By a constant of one magnitude."""
        made = bounds.get(node.output[0])
        if made is None:
            return
        for own, other in (node.input, reversed(node.input)):
            by = self._graph.constants.get(other)
            if by is None or by.size == 0 or np.any(np.abs(by) != abs(by.reshape(-1)[0])):
                continue
            size = int(abs(by.reshape(-1)[0]))
            if size == 0:
                continue
            signs = np.sign(by.astype(np.float64))
            low, high = made.low * signs, made.high * signs
            ends = np.minimum(low, high), np.maximum(low, high)
            self._note_reduced(bounds, own, Bound(*ends, made.times * size))

    def _note_reduced(self, bounds: dict[str, Bound], name: str, bound: Bound) -> None:
        """Notes bounds that have the shape of a result; an operand that is repeated to it is bound
        by all of its copies."""
        shape = self._shape(name)
        low, high = bound.low, bound.high
        if low.shape != shape:
            lead = tuple(range(low.ndim - len(shape)))
            low, high = low.max(axis=lead), high.min(axis=lead)
            along = tuple(i for i, n in enumerate(shape) if n == 1 and low.shape[i] != 1)
            low = low.max(axis=along, keepdims=True)
            high = high.min(axis=along, keepdims=True)
        self._note(bounds, name, Bound(low, high, bound.times))


_Rule = Callable[[BackwardBounds, dict[str, Bound], NodeProto], None]
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Abs", "Relu", "HardSwish"), BackwardBounds._rectified),
    **dict.fromkeys(
        ("Reshape", "Transpose", "Gather", "Concat", "Pad", "Identity"), BackwardBounds._moved
    ),
    "Add": BackwardBounds._added,
    "Sub": BackwardBounds._subtracted,
    "Mul": BackwardBounds._multiplied,
    "Neg": BackwardBounds._negated,
}
