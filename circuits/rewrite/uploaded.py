"""What passes begin with: a model read, its inputs and outputs plain, its shapes bound."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from onnx import ModelProto

from circuits.format.tensors import TensorSpec
from circuits.frontend.fixed_shapes import Shapes, bind_shapes, infer_shapes
from circuits.frontend.inputs import plain_inputs
from circuits.frontend.outputs import plain_outputs
from circuits.frontend.plain import PlainInputs
from circuits.frontend.reading import read_model
from circuits.rewrite.draft import Draft


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A node as it was uploaded."""

    name: str
    op: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """``model`` has all shapes that can be inferred, ``written`` is the same without what nothing
    reads, as bytes. ``layers`` are the nodes of the file, ``plain`` and ``notes`` what was done to
    inputs and outputs, ``bound`` what was chosen for open dimensions. Whoever asks may read it, and
    not change it: it is remembered."""

    model: ModelProto
    written: bytes
    inputs: tuple[TensorSpec, ...]
    layers: tuple[Layer, ...]
    plain: PlainInputs
    notes: tuple[str, ...]
    bound: tuple[str, ...]


def uploaded(data: bytes, shapes: Shapes | None = None, absent: Collection[str] = ()) -> Uploaded:
    """Reads a model of unknown origin; ``shapes`` fixes dynamic inputs by name, and masks of
    missing values named in ``absent`` are false throughout.

    Raises a ``ModelError`` naming the node, tensor or axis for whatever cannot be read or bound.
    """
    given = None if shapes is None else tuple(sorted(shapes.items()))
    return _uploaded(data, given, frozenset(absent))


@lru_cache(maxsize=2)
def _uploaded(
    data: bytes, shapes: tuple[tuple[str, tuple[int, ...]], ...] | None, absent: frozenset[str]
) -> Uploaded:
    model = read_model(data)
    layers = tuple(
        Layer(name=node.name, op=node.op_type, outputs=tuple(node.output))
        for node in model.graph.node
    )
    notes = plain_outputs(model)
    plain = plain_inputs(model, absent)
    binding = bind_shapes(model, None if shapes is None else dict(shapes))
    model = infer_shapes(model)
    return Uploaded(
        model=model,
        written=Draft.plain(model),
        inputs=tuple(plain.told(binding.inputs)),
        layers=layers,
        plain=plain,
        notes=tuple(notes),
        bound=tuple(binding.notes),
    )
