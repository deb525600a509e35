"""Fixing a model's dimensions: a circuit has one shape.

A leading dimension that is symbolic, unnamed or zero is a batch dimension and is bound to 1; any
other must be a number, or be given by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from circuits.errors import DynamicShape, ModelError, UnsupportedOperator
from circuits.format.tensors import TensorSpec
from circuits.frontend.reading import checked_size

#: Element types that an input or output of a circuit may have.
DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class Binding:
    """The inputs as fixed, the values chosen for symbols, and what to tell the user."""

    inputs: list[TensorSpec] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def real_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Graph inputs that are not initialisers (before IR 4, weights were listed as inputs too)."""
    weights = {t.name for t in model.graph.initializer}
    return [i for i in model.graph.input if i.name not in weights]


def bind_shapes(model: ModelProto, shapes: Shapes | None = None) -> Binding:
    """Fixes every input's shape, in place; ``shapes`` gives whole shapes by input name.

    Raises ``DynamicShape`` naming input and axis for a dimension that cannot be bound,
    ``ModelError`` for an input that is no tensor of numbers.
    """
    given = shapes or {}
    binding = Binding()
    inputs = real_inputs(model)
    for value in inputs:
        _learn_symbols(value, given.get(value.name), binding)
    for value in inputs:
        binding.inputs.append(_bind_input(value, given.get(value.name), binding))
    if not inputs:
        raise ModelError("the model has no input: there is nothing to prove")
    # Inferred shapes of the file may still speak of symbols; inference writes them again.
    del model.graph.value_info[:]
    handed_on = {value.name for value in inputs}
    for output in model.graph.output:
        if output.name in handed_on:
            raise ModelError(
                f"output {output.name!r} is an input of the model: nothing is computed for it",
                advice="Leave that output out, or export it through an Identity node.",
                output=output.name,
            )
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return binding


def _learn_symbols(value: ValueInfoProto, given: tuple[int, ...] | None, binding: Binding) -> None:
    dims = value.type.tensor_type.shape.dim
    for axis, dim in enumerate(dims):
        name = dim.dim_param
        if not name or name in binding.symbols:
            continue
        if given is not None and axis < len(given):
            binding.symbols[name] = given[axis]
        elif axis == 0:
            binding.symbols[name] = 1


def _bind_input(
    value: ValueInfoProto, given: tuple[int, ...] | None, binding: Binding
) -> TensorSpec:
    where = f"input {value.name!r}"
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in DTYPES:
        what = "strings" if tensor.elem_type == TensorProto.STRING else "no tensor of numbers"
        raise UnsupportedOperator(
            f"{where} holds {what}",
            advice="Encode it as numbers before the model, and export the part after that.",
        )
    if not tensor.HasField("shape") and given is None:
        raise DynamicShape(f"{where} has no shape at all", input=value.name)
    if given is not None:
        _check_given(value, given)
        shape = list(given)
    else:
        shape = [
            _bind_dim(value.name, axis, dim, binding) for axis, dim in enumerate(tensor.shape.dim)
        ]
    size = checked_size(shape, where)
    if size == 0:
        raise DynamicShape(f"{where} has no element: {shape}", input=value.name)
    tensor.ClearField("shape")
    for extent in shape:
        tensor.shape.dim.add().dim_value = extent
    if not shape:
        tensor.shape.SetInParent()
    return TensorSpec(name=value.name, dtype=DTYPES[tensor.elem_type], shape=tuple(shape))


def _bind_dim(name: str, axis: int, dim: onnx.TensorShapeProto.Dimension, binding: Binding) -> int:
    if dim.HasField("dim_value") and dim.dim_value != 0:
        return int(dim.dim_value)
    if dim.dim_param in binding.symbols:
        extent = binding.symbols[dim.dim_param]
    elif axis == 0:
        extent = 1
    else:
        what = "no name and no length"
        if dim.HasField("dim_value"):
            what = "the length 0"
        elif dim.dim_param:
            what = f"the name {dim.dim_param!r}"
        raise DynamicShape(
            f"axis {axis} of input {name!r} has {what}: not a fixed number of elements",
            input=name,
            axis=axis,
        )
    if axis == 0 and extent == 1:
        binding.notes.append(f"input {name!r}: batch dimension bound to 1")
    else:
        binding.notes.append(f"input {name!r}: axis {axis} bound to {extent}")
    return extent


def _check_given(value: ValueInfoProto, given: tuple[int, ...]) -> None:
    tensor = value.type.tensor_type
    declared = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    fits = not tensor.HasField("shape") or (
        len(declared) == len(given)
        and all(d in (0, g) for d, g in zip(declared, given, strict=True))
    )
    if not fits:
        raise DynamicShape(
            f"input {value.name!r} was given shape {list(given)}, the model declares {declared}",
            input=value.name,
        )


def infer_shapes(model: ModelProto) -> ModelProto:
    """A copy with every shape that can be inferred written down, and none of absurd size."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"the model's shapes contradict each other: {first}",
            advice="Run onnx.checker.check_model(model, full_check=True) on it.",
        ) from error
    for value in [*inferred.graph.value_info, *inferred.graph.output]:
        checked_size(known_dims(value), f"value {value.name!r}")
    return inferred


def known_dims(value: ValueInfoProto) -> list[int]:
    """The dimensions that are numbers, in order."""
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]


def static_shape(value: ValueInfoProto) -> tuple[int, ...] | None:
    """The shape when every dimension is a number, else None."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    if not all(d.HasField("dim_value") for d in dims):
        return None
    return tuple(int(d.dim_value) for d in dims)


def outputs_of(model: ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs of a model whose shapes are inferred; refuses what is no tensor of numbers."""
    specs = []
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        if kind not in DTYPES:
            raise UnsupportedOperator(
                f"output {value.name!r} is no tensor of numbers",
                advice="Export the scores or probabilities as a float tensor.",
            )
        shape = static_shape(value)
        if shape is None:
            raise DynamicShape(f"output {value.name!r} has a shape that depends on the input")
        specs.append(TensorSpec(name=value.name, dtype=DTYPES[kind], shape=shape))
    return tuple(specs)
