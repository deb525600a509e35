"""How large a result can be that somebody gives to a circuit: what the circuit does with it tells.

Intervals hold for honest values. What is asked here is what *any* value must keep to, if all
constraints behind it hold: a ReLU splits its operand into digits, which hold no more than so much;
a table has no more rows; an output is looked at by the verifier. From there bounds go backwards
through the graph, element by element.

The other operand of a sum may be relied on where it depends on nothing given, or only on results
that were found to be bounded before: these are then known to be the true ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from circuits.integers.interpreter import Graph, evaluate
from circuits.lower.bounds import Interval

Floats = NDArray[np.float64]
#: Bounds of all elements of a value: lowest and highest, in the value's shape.
_Ends = tuple[Floats, Floats]


class Reach:
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

    def of(self, number: int) -> float:
        """The largest magnitude of any element of a result that the circuit lets pass; infinite
        where there is none. Results are asked for, and settled, in order."""
        bounds: dict[str, _Ends] = {}
        name = self._results[number]
        for node in reversed(self._graph.nodes):
            made = node.output[0]
            if made in self._outputs:
                most = np.full(self._shape(made), float(self._outputs[made]))
                self._note(bounds, made, (-most, most))
            if made == name:
                break
            if number in self._depends[made]:
                self._backwards(bounds, node, number)
        if name not in bounds:
            return float("inf")
        return float(max(np.abs(end).max(initial=0.0) for end in bounds[name]))

    # --- one node ------------------------------------------------------------------------------

    def _backwards(self, bounds: dict[str, _Ends], node: NodeProto, number: int) -> None:
        """What a node, and the bounds of what it makes, say of its operands."""
        if node.name in self._graph.divided or node.name in self._graph.relabels:
            return
        if self._graph.attributes[node.name]["scale"] != 0:
            return
        rule = _RULES.get(node.op_type)
        if rule is not None:
            rule(self, bounds, node)

    def _note(self, bounds: dict[str, _Ends], name: str, ends: _Ends) -> None:
        low, high = (np.broadcast_to(end, self._shape(name)) for end in ends)
        known = bounds.get(name)
        if known is not None:
            low, high = np.maximum(known[0], low), np.minimum(known[1], high)
        bounds[name] = (low, high)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._intervals[name][0].shape[1:]

    def _relied_on(self, name: str) -> _Ends | None:
        """Bounds of a value that hold whatever is given: of a constant, of a true value, of what
        comes out of a ReLU."""
        if name in self._graph.constants:
            constant = self._graph.constants[name].astype(np.float64)
            return constant, constant
        if not self._depends.get(name, set()) & self._open:
            low, high = self._intervals[name]
            return low[0], high[0]
        maker = self._makers.get(name)
        if maker is None or (held := self._held(maker)) is None:
            return None
        most = np.full(self._shape(name), held[1])
        return np.zeros_like(most), most

    def _held(self, node: NodeProto) -> tuple[float, float] | None:
        """Lowest and highest operand of a ReLU, by digits or by table; None for anything else."""
        if self._graph.attributes[node.name]["scale"] != 0 or node.name in self._graph.divided:
            return None
        if node.op_type == "Relu":
            return -self._digits, self._digits
        if node.op_type == "HardSwish" and self._lookup is not None:
            return float(self._lookup[0]), float(self._lookup[1])
        return None

    def _rectified(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        held = self._held(node)
        if held is None:
            return
        most = np.full(self._shape(node.input[0]), held[1])
        if node.output[0] in bounds:
            most = np.minimum(most, np.maximum(bounds[node.output[0]][1], 0.0))
        self._note(bounds, node.input[0], (np.full_like(most, held[0]), most))

    def _moved(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        """Operators that move elements: where each came from, its bounds go."""
        if node.output[0] not in bounds:
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
        np.maximum.at(low, origin, bounds[node.output[0]][0].reshape(-1))
        np.minimum.at(high, origin, bounds[node.output[0]][1].reshape(-1))
        for name, start, end in zip(names, starts[:-1], starts[1:], strict=True):
            if name in self._graph.constants:
                continue
            shape = self._shape(name)
            own = slice(start + 1, end + 1)
            self._note(bounds, name, (low[own].reshape(shape), high[own].reshape(shape)))

    def _added(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        if node.output[0] not in bounds:
            return
        low, high = bounds[node.output[0]]
        if (pair := self._maximum_of(node)) is not None:
            a, b, apart = pair
            # The larger of two is within bounds, and the other not further from it than digits say.
            self._note(bounds, a, (low - apart, high))
            self._note(bounds, b, (low - apart, high))
            return
        for own, other in (node.input, reversed(node.input)):
            known = self._relied_on(other)
            if own not in self._graph.constants and known is not None:
                self._note_reduced(bounds, own, (low - known[1], high - known[0]))

    def _maximum_of(self, node: NodeProto) -> tuple[str, str, float] | None:
        """a, b and how far apart they may be, of ``b + relu(a - b)``, which is max(a, b)."""
        b, over = node.input
        rectifier = self._makers.get(over)
        if rectifier is None or (held := self._held(rectifier)) is None:
            return None
        difference = self._makers.get(rectifier.input[0])
        if difference is None or difference.op_type != "Sub" or difference.input[1] != b:
            return None
        return difference.input[0], b, max(-held[0], held[1])

    def _subtracted(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        if node.output[0] not in bounds:
            return
        low, high = bounds[node.output[0]]
        a, b = node.input
        if a not in self._graph.constants and (known := self._relied_on(b)) is not None:
            self._note_reduced(bounds, a, (low + known[0], high + known[1]))
        if b not in self._graph.constants and (known := self._relied_on(a)) is not None:
            self._note_reduced(bounds, b, (known[0] - high, known[1] - low))

    def _negated(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        if node.output[0] in bounds:
            low, high = bounds[node.output[0]]
            self._note(bounds, node.input[0], (-high, -low))

    def _multiplied(self, bounds: dict[str, _Ends], node: NodeProto) -> None:
        """By signs. (That a multiple is small says nothing: numbers wrap around the field.)"""
        for own, other in (node.input, reversed(node.input)):
            signs = self._graph.constants.get(other)
            if signs is None or node.output[0] not in bounds or np.any(np.abs(signs) != 1):
                continue
            low, high = (end * signs.astype(np.float64) for end in bounds[node.output[0]])
            self._note_reduced(bounds, own, (np.minimum(low, high), np.maximum(low, high)))

    def _note_reduced(self, bounds: dict[str, _Ends], name: str, ends: _Ends) -> None:
        """Notes bounds that have the shape of a result; an operand that is repeated to it is bound
        by all of its copies."""
        shape = self._shape(name)
        low, high = ends
        if low.shape != shape:
            lead = tuple(range(low.ndim - len(shape)))
            low, high = low.max(axis=lead), high.min(axis=lead)
            along = tuple(i for i, n in enumerate(shape) if n == 1 and low.shape[i] != 1)
            low = low.max(axis=along, keepdims=True)
            high = high.min(axis=along, keepdims=True)
        self._note(bounds, name, (low, high))


_Rule = Callable[[Reach, dict[str, _Ends], NodeProto], None]
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Relu", "HardSwish"), Reach._rectified),
    **dict.fromkeys(("Reshape", "Transpose", "Gather", "Concat", "Pad", "Identity"), Reach._moved),
    "Add": Reach._added,
    "Sub": Reach._subtracted,
    "Mul": Reach._multiplied,
    "Neg": Reach._negated,
}
