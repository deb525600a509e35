"""A model with its dynamic axes fixed: another file, whose name is its own.

A proof is about one shape. Which one is chosen by whoever asks: by name, or by an input like those
to be proved. Equal files and shapes give equal bytes, so that an auditor who has the file as it was
exported comes to the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, ValueInfoProto

from circuits.errors import DynamicShape, InputError
from circuits.format.npz import MAGIC, read_npz
from circuits.frontend.fixed_shapes import real_inputs
from circuits.frontend.reading import checked_size, read_model


def bound_model(
    data: bytes, shapes: Mapping[str, Sequence[int]], sample: bytes | None = None
) -> bytes:
    """The model with the dimensions of its inputs written down.

    ``shapes`` gives whole shapes by input, or lengths (one number) by the name of an axis;
    ``sample`` is a file of inputs by name (``.npz``, JSON or its first line), of which shapes are
    taken that are not given. A model without dynamic axes comes back as it is. Raises
    ``DynamicShape`` for a name that is none, or a shape that does not fit.
    """
    read_model(data)  # sound, before anything of it is believed
    model = ModelProto()
    model.ParseFromString(data)
    inputs = real_inputs(model)
    symbols = {d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim if d.dim_param}
    known = symbols | {i.name for i in inputs}
    if unknown := [name for name in shapes if name not in known]:
        raise DynamicShape(
            f"the model has neither an input nor an axis {unknown[0]!r}",
            advice=f"It has {', '.join(sorted(known))}.",
        )
    seen = _seen(sample) if sample is not None else {}
    changed = False
    lengths = {name: int(shapes[name][0]) for name in symbols if len(shapes.get(name, ())) == 1}
    for value in inputs:
        changed |= _bind(value, shapes, lengths, seen.get(value.name))
    return bytes(model.SerializeToString(deterministic=True)) if changed else data


def _bind(
    value: ValueInfoProto,
    shapes: Mapping[str, Sequence[int]],
    lengths: dict[str, int],
    sample: tuple[int, ...] | None,
) -> bool:
    """Writes an input's open dimensions; whether any was."""
    dims = value.type.tensor_type.shape.dim
    open_axes = [i for i, d in enumerate(dims) if not d.dim_value]
    wanted = list(shapes[value.name]) if value.name in shapes else None
    if wanted is not None and len(wanted) != len(dims):
        raise DynamicShape(
            f"input {value.name!r} has {len(dims)} axes, the shape given {len(wanted)}",
            input=value.name,
        )
    if not [i for i in open_axes if i > 0] and wanted is None:
        return False  # no more than a batch is open
    fitting = _row(sample, len(dims)) if sample is not None else None
    for axis in open_axes:
        name = dims[axis].dim_param
        if wanted is not None:
            extent = int(wanted[axis])
        elif name in lengths:
            extent = lengths[name]
        elif fitting is not None:
            extent = fitting[axis]
        elif axis == 0:
            extent = 1
        else:
            continue  # inspection names it
        dims[axis].Clear()
        dims[axis].dim_value = extent
        if name:
            lengths[name] = extent
    checked_size([d.dim_value for d in dims], f"input {value.name!r}")
    return True


def _row(shape: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
    """The shape of one input, where a file holds it, or many of it before or along the batch."""
    if len(shape) == rank + 1:
        return shape[1:]
    return (1, *shape[1:]) if len(shape) == rank else None


def _seen(sample: bytes) -> dict[str, tuple[int, ...]]:
    """The shapes of named inputs in a file, as far as it names any."""
    if sample[:4] == MAGIC:
        try:
            return {name: array.shape for name, array in read_npz(sample).items()}
        except ValueError as error:
            raise InputError(f"the .npz file {error}") from None
    named = None
    for text in (sample, sample.lstrip().split(b"\n", 1)[0]):
        try:
            named = json.loads(text)
            break
        except (ValueError, RecursionError):
            continue
    inputs = named.get("inputs") if isinstance(named, dict) else None
    if not isinstance(inputs, dict):
        return {}
    found = {}
    for name, values in inputs.items():
        try:
            found[name] = np.shape(values)
        except (ValueError, RecursionError):  # ragged: whoever reads it says so
            continue
    return found
