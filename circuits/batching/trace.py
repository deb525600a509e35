"""Where the lanes lie in each value of a graph, and the edits that keep them there.

A value that depends on the input has a *lane axis*: in the batched graph that axis is ``lanes``
times as long as in the single-lane one, and its outermost factor is the lane. (After ``[1, 10]`` is
reshaped to ``[10]`` the axis has length 10·lanes, ten elements of lane 0 first.) Values without one
are the same for all lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from circuits.batching.errors import CannotBatch
from circuits.format.wide_constants import EXACT

Shape = tuple[int, ...]


@dataclass
class BatchTrace:
    """One walk through a single-lane graph that turns it, node by node, into a batched one.

    ``shapes`` are those of the single-lane graph; ``axes`` maps each value seen so far to its lane
    axis, or None. Rules read both, edit their node in place, and ``mark`` its outputs. ``before``
    and ``after`` are nodes that a rule puts around its own.
    """

    model: ModelProto
    lanes: int
    shapes: dict[str, Shape]
    constants: dict[str, NDArray[Any]]
    axes: dict[str, int | None] = field(default_factory=dict)
    before: list[NodeProto] = field(default_factory=list)
    after: list[NodeProto] = field(default_factory=list)
    _added: dict[tuple[str, int], str] = field(default_factory=dict)
    _moved: dict[tuple[str, int], str] = field(default_factory=dict)

    # --- reading -----------------------------------------------------------------------------

    def axis(self, name: str) -> int | None:
        """The lane axis of a value; None for one that is the same in every lane."""
        return self.axes.get(name)

    def shape(self, node: NodeProto, name: str) -> Shape:
        """A value's shape in the single-lane graph."""
        if name not in self.shapes:
            self.refuse(node, f"the shape of {name!r} is not known")
        return self.shapes[name]

    def constant(self, node: NodeProto, position: int) -> NDArray[Any] | None:
        """The constant at an input position; None when that input is absent. Refuses a value
        that is there and not constant."""
        if position >= len(node.input) or not node.input[position]:
            return None
        name = node.input[position]
        if name not in self.constants:
            self.refuse(node, f"its input {name!r} is not a constant")
        return self.constants[name]

    def batched_shape(self, shape: Sequence[int], axis: int) -> list[int]:
        """A single-lane shape as it is in the batched graph."""
        return [d * self.lanes if i == axis else d for i, d in enumerate(shape)]

    # --- writing -----------------------------------------------------------------------------

    def mark(self, node: NodeProto, axis: int | None, output: int = 0) -> None:
        """Notes the lane axis of one of the node's outputs."""
        if output < len(node.output) and node.output[output]:
            self.axes[node.output[output]] = axis

    def add_constant(self, values: NDArray[Any], like: str) -> str:
        """A new initialiser; its name."""
        name = f"{like}/lanes{len(self._added)}"
        self._added[(name, -1)] = name
        self.model.graph.initializer.append(numpy_helper.from_array(values, name))
        self.constants[name] = values
        return name

    def set_constant(self, node: NodeProto, position: int, values: Sequence[int]) -> None:
        """Gives the node a list of integers of its own as an input."""
        array = np.array(values, dtype=np.int64)
        node.input[position] = self.add_constant(array, node.output[0])

    def repeat(self, node: NodeProto, position: int, axis: int) -> None:
        """Gives the node, in place of a constant input, that constant repeated for each lane."""
        name = node.input[position]
        if name not in self.constants:
            self.refuse(node, f"its input {name!r} is the same in all lanes and not a constant")
        key = (name, axis)
        if key not in self._added:
            values = self.constants[name]
            copies = [self.lanes if i == axis else 1 for i in range(values.ndim)]
            made = self.add_constant(np.tile(values, copies), name)
            self._exactly(name, made, lambda exact: np.tile(exact, [*copies, 1]))
            self._added[key] = made
        node.input[position] = self._added[key]

    def _exactly(
        self, name: str, made: str, change: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> None:
        """Does to what a constant stands for (``circuits.format.wide_constants``) what was done to
        the constant."""
        if name + EXACT in self.constants:
            values = change(self.constants[name + EXACT])
            self.model.graph.initializer.append(numpy_helper.from_array(values, made + EXACT))
            self.constants[made + EXACT] = values

    def reshape(self, node: NodeProto, source: str, output: int = 0) -> None:
        """Turns the node into a Reshape of ``source`` to its batched output shape.

        Elements keep their row-major order, so the lanes stay an outermost factor wherever as many
        elements stand before the new axis as stood before the old one; where nothing does, they
        are moved to the front first.
        """
        axis = self.axis(source)
        assert axis is not None
        before, after = self.shape(node, source), self.shape(node, node.output[output])
        at = self._reshaped_axis(node, before, axis, after)
        if at is None:
            source, at = self.moved(node, source, 0), 0
        target = self.add_constant(
            np.array(self.batched_shape(after, at), dtype=np.int64), node.output[output]
        )
        name, kept = node.name, node.output[output]
        node.CopyFrom(helper.make_node("Reshape", [source, target], [kept], name=name))
        self.axes[kept] = at

    def _reshaped_axis(self, node: NodeProto, before: Shape, axis: int, after: Shape) -> int | None:
        stood = prod(before[:axis])
        fitting = [i for i in range(len(after)) if prod(after[:i]) == stood]
        if not after or prod(before) == 0:
            self.refuse(node, f"{list(before)} to {list(after)} leaves no axis for the batch")
        if not fitting:
            return None
        single = [i for i in fitting if after[i] == 1]
        if axis in single:
            return axis
        return (single or fitting)[0]

    def moved(self, node: NodeProto, name: str, to: int) -> str:
        """The value with its lanes as the outermost factor of axis ``to``: itself, or what nodes
        before this one make of it."""
        axis, shape = self.axis(name), self.shape(node, name)
        assert axis is not None
        if axis == to or prod(shape[min(axis, to) : max(axis, to)]) == 1:
            return name if axis == to else self._renamed(name, shape, to)
        if (name, to) not in self._moved:
            apart = self.reshaped(name, [*shape[:axis], self.lanes, *shape[axis:]])
            order = [i for i in range(len(shape) + 1) if i != axis]
            order.insert(to, axis)
            turned = f"{name}/turned{len(self._moved)}"
            self.before.append(helper.make_node("Transpose", [apart], [turned], perm=order))
            self._moved[name, to] = self._kept(
                self.reshaped(turned, self.batched_shape(shape, to)), shape, to
            )
        return self._moved[name, to]

    def _renamed(self, name: str, shape: Shape, to: int) -> str:
        """Axes of length 1 between: the same elements in the same order, in another shape."""
        if (name, to) not in self._moved:
            made = self.reshaped(name, self.batched_shape(shape, to))
            self._moved[name, to] = self._kept(made, shape, to)
        return self._moved[name, to]

    def _kept(self, name: str, shape: Shape, axis: int) -> str:
        """Notes what a value that was added is in the single-lane graph."""
        self.shapes[name], self.axes[name] = shape, axis
        return name

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """A constant in another shape, or what a Reshape before this node makes of another
        value."""
        if name in self.constants:
            made = self.add_constant(self.constants[name].reshape(shape), name)
            self._exactly(name, made, lambda exact: exact.reshape(*shape, exact.shape[-1]))
            return made
        target = self.add_constant(np.array(shape, dtype=np.int64), name)
        made = f"{target}/value"
        self.before.append(helper.make_node("Reshape", [name, target], [made]))
        return made

    def reshape_output(self, node: NodeProto, shape: Sequence[int], output: int = 0) -> None:
        """Gives the node's output this shape, by a Reshape after it."""
        name = node.output[output]
        target = self.add_constant(np.array(shape, dtype=np.int64), name)
        node.output[output] = f"{target}/value"
        self.after.append(helper.make_node("Reshape", [node.output[output], target], [name]))

    def refuse(self, node: NodeProto, why: str) -> NoReturn:
        """Ends the walk: raises ``CannotBatch`` naming the node."""
        label = node.name or (node.output[0] if node.output else "")
        raise CannotBatch(
            f"{node.op_type} at node {label!r} cannot be given a batch dimension: {why}",
            op=node.op_type,
            node=label,
        )
