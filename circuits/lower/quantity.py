"""A value of the model as the integer graph holds it.

Moving elements about (reshape, transpose, slice, pad, im2col) emits nothing: a quantity keeps a
*view*, the place in the emitted tensor where each of its elements lies, and only an operator that
needs them in order has them gathered. One Gather costs one assignment an element however many
movements it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.emit import Emitter, shape_of
from circuits.rewrite.edit import ints

#: EZKL reads indices as float32, which counts no further; larger graphs fit no circuit anyway.
MOST_PLACES = 1 << 24

#: In a view: an element that is zero and lies nowhere.
ZERO = -1


@dataclass(frozen=True)
class QuantizedValue:
    """Element e stands for ``step[e] · tensor.flat[view[e]]``, and for 0 where ``view[e]`` is -1.

    ``view`` has the value's shape; ``step`` broadcasts to it and is never zero. ``relu`` marks
    values on which a ReLU is still to be done (put off past a maximum, where there are fewer).
    """

    tensor: ir.Value
    view: NDArray[np.int64]
    step: NDArray[np.float64]
    relu: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.view.shape

    @property
    def uniform(self) -> float | None:
        """The one step, or None when elements differ."""
        first = float(self.step.reshape(-1)[0])
        return first if bool(np.all(self.step == first)) else None

    def steps(self) -> NDArray[np.float64]:
        """The step of every element."""
        return np.broadcast_to(self.step, self.view.shape)

    @property
    def whole_tensor(self) -> bool:
        """Whether every element of the tensor is used exactly once."""
        flat = self.view.reshape(-1)
        size = int(np.prod(shape_of(self.tensor)))
        return flat.size == size and bool(np.array_equal(np.sort(flat), np.arange(size)))

    @property
    def in_order(self) -> bool:
        """Whether the elements lie in the tensor as they stand in the value."""
        size = int(np.prod(shape_of(self.tensor)))
        return self.view.size == size and bool(
            np.array_equal(self.view.reshape(-1), np.arange(size))
        )

    def moved(self, view: NDArray[np.int64], step: NDArray[np.float64]) -> QuantizedValue:
        """The same tensor looked at differently."""
        return replace(self, view=view, step=step)


def fresh(
    tensor: ir.Value, step: NDArray[np.float64] | float, relu: bool = False
) -> QuantizedValue:
    """A quantity whose elements lie in order."""
    shape = shape_of(tensor)
    view = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return QuantizedValue(tensor, view, np.asarray(step, dtype=np.float64), relu)


def gather(
    emit: Emitter, q: QuantizedValue, view: NDArray[np.int64], shape: tuple[int, ...] | None = None
) -> ir.Value:
    """The elements at ``view`` as a tensor of that shape, or of ``shape``.

    What is gathered keeps a leading axis of 1: lanes go there (``circuits.batching.vectorize``).
    """
    shape = view.shape if shape is None else shape
    if view.size > MOST_PLACES:
        raise ValueError(f"it needs {view.size} places in one tensor")
    size = int(np.prod(shape_of(q.tensor)))
    if view.size == size and np.array_equal(view.reshape(-1), np.arange(size)):
        return emit.reshape(q.tensor, shape)
    flat = emit.reshape(q.tensor, [1, size])
    if np.any(view == ZERO):
        flat = emit.op("Pad", [flat, emit.indices(ints([0, 0, 0, 1]))], [1, size + 1])
        view = np.where(view == ZERO, size, view)
    picks = view[0] if view.ndim > 1 and len(view) == 1 else view
    if picks.size == 1:
        # As a list of one place the engine's importer would cut it out, and move the cut in front
        # of what made the tensor: a ReLU would be left of one element, and no other looked at.
        picks = picks.reshape(())
    picked = emit.op("Gather", [flat, emit.indices(picks)], [1, *picks.shape], axis=1)
    return emit.reshape(picked, shape)


def materialize(emit: Emitter, q: QuantizedValue) -> QuantizedValue:
    """The same value with its elements in order, in a tensor of its own shape."""
    if q.in_order and shape_of(q.tensor) == q.shape:
        return q
    return fresh(gather(emit, q, q.view), q.step, q.relu)


def compact(emit: Emitter, q: QuantizedValue) -> QuantizedValue:
    """A quantity on whose tensor an elementwise operator wastes nothing."""
    return q if q.whole_tensor else materialize(emit, q)


def per_tensor(q: QuantizedValue, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values given for the elements, laid out as the tensor of a compact quantity is."""
    out = np.empty(q.view.size, dtype=np.float64)
    out[q.view.reshape(-1)] = np.broadcast_to(values, q.shape).reshape(-1)
    return out.reshape(shape_of(q.tensor))
