"""``lower``: a rewritten float graph as a graph of integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from circuits.format.function_tables import TABLES
from circuits.format.manifest import AppliedPass
from circuits.lower import activations, comparisons, elementwise, linear, movement, windows
from circuits.lower.emit import Emitter
from circuits.lower.errors import CannotLower
from circuits.lower.lowering import Lowering, refuse
from circuits.lower.moving import MOVES
from circuits.lower.preparing import prepared
from circuits.lower.quantity import fresh
from circuits.lower.variant import BitWidths, GraphVariant
from circuits.rewrite.edit import shape_of

#: The engine's integers are 128 bits wide; what is decomposed must stay well inside.
MAX_BITS = 120
_PASS = AppliedPass(name="lower-to-integers", version=11)

Handler = Callable[[Lowering, ir.Node], None]

HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys((*MOVES, "Identity"), movement.move),
    **dict.fromkeys(TABLES, activations.table),
    "Abs": elementwise.absolute,
    "Add": elementwise.add,
    "And": comparisons.logical,
    "ArgMax": windows.arg_max,
    "ArgMin": windows.arg_max,
    "AveragePool": windows.average_pool,
    "BatchNormalization": elementwise.batch_normalisation,
    "Cast": elementwise.cast,
    "Clip": elementwise.clip,
    "Concat": movement.concat,
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Div": elementwise.div,
    "Equal": comparisons.compare,
    "Gemm": linear.gemm,
    "GlobalAveragePool": windows.reduce_sum,
    "GlobalMaxPool": windows.reduce_max,
    "Greater": comparisons.compare,
    "GreaterOrEqual": comparisons.compare,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "LeakyRelu": elementwise.leaky_relu,
    "Less": comparisons.compare,
    "LessOrEqual": comparisons.compare,
    "LogSoftmax": activations.softmax,
    "MatMul": linear.matmul,
    "Max": elementwise.extremum,
    "MaxPool": windows.max_pool,
    "Min": elementwise.extremum,
    "Mul": elementwise.mul,
    "Neg": elementwise.neg,
    "Not": comparisons.logical,
    "Or": comparisons.logical,
    "PRelu": elementwise.leaky_relu,
    "Pow": elementwise.power,
    "ReduceL1": windows.reduce_sum,
    "ReduceMax": windows.reduce_max,
    "ReduceMean": windows.reduce_sum,
    "ReduceSum": windows.reduce_sum,
    "ReduceSumSquare": windows.reduce_sum,
    "Relu": elementwise.relu,
    "Round": elementwise.quantised_round,
    "Sigmoid": activations.sigmoid,
    "Softmax": activations.softmax,
    "Sub": elementwise.sub,
    "Sum": elementwise.add,
    "Where": comparisons.where,
}


def lower(
    data: bytes,
    bits: BitWidths,
    input_bounds: Mapping[str, tuple[float, float]],
    *,
    tables: bool = False,
    write: bool = True,
) -> GraphVariant:
    """Quantises a rewritten graph; equal arguments give equal bytes. Without ``write`` there are
    none, but the graph to run: for whoever asks only what it costs and answers.

    ``input_bounds`` are the lowest and highest accepted value of each input, in the model's units.
    Raises ``CannotLower`` naming the node for an operator that is no map of integers, or whose
    values could outgrow the engine.
    """
    model = prepared(data, input_bounds)
    tabled = any(n.op_type in activations.TABLED for n in model.graph)
    low = Lowering(bits=bits, tables=tables, emit=Emitter(bits.table if tabled else 0))
    input_scales = []
    for value in model.graph.inputs:
        assert value.name is not None
        scale = bits.input if value.dtype is not None and value.dtype.is_floating_point() else 0
        step = 2.0**-scale
        ends = input_bounds[value.name]
        shape = shape_of(value)
        lowest = np.floor(np.reshape(ends[0], shape if np.ndim(ends[0]) else ()) / step)
        highest = np.ceil(np.reshape(ends[1], shape if np.ndim(ends[1]) else ()) / step)
        tensor = low.emit.input(value.name, shape, lowest, highest)
        low.known[value.name] = fresh(tensor, step)
        input_scales.append(scale)
    _walk(low, model)
    try:
        outputs, output_scales = _outputs(low, model)
        low.emit.finish(outputs)
        onnx_bytes = low.emit.written() if write else b""
        graph = None if write else low.emit.graph_to_run()
        bounds = low.emit.intervals.summary()
    except ValueError as error:
        raise CannotLower(str(error)) from error
    if bounds.largest >= 1 << MAX_BITS:
        raise CannotLower(
            f"values may need {bounds.largest.bit_length()} bits of {MAX_BITS}",
            advice="Fewer bits a layer, or the engine's own fixed point.",
        )
    return GraphVariant(
        onnx=onnx_bytes,
        label=_label(bits, tables=tables, functions=bool(low.emit.scale)),
        passes=(_PASS,),
        bits=bits,
        tables=tables,
        input_scales=tuple(input_scales),
        output_scales=tuple(output_scales),
        value_bounds=bounds,
        layers=low.layers,
        nodes=tuple(low.emit.nodes.values()),
        border=low.emit.border,
        compared=low.compared,
        graph=graph,
        scale=low.emit.scale,
        tabled_layers=low.tabled_layers,
        lookups=tuple(f"{op} at scale {s}" for op, s in sorted(low.emit.intervals.lookups)),
    )


def _label(bits: BitWidths, *, tables: bool, functions: bool) -> str:
    """What tells this variant from the model's others, for a person."""
    parts = [f"integers in {bits.input}", f"weights {list(bits.weights)}"]
    if functions:
        parts.append(f"functions in {bits.table}")
    if tables:
        parts.append("ReLUs and comparisons by table")
    return ", ".join(parts)


def _walk(low: Lowering, model: ir.Model) -> None:
    for node in model.graph:
        handler = HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if handler is None:
            raise refuse(node, "it is no map of integers")
        if not any(low.is_known(v) for v in node.inputs):
            raise refuse(node, "it depends on no input")
        low.emit.source = (node.name or node.outputs[0].name or "", node.op_type)
        try:
            handler(low, node)
        except ValueError as error:
            raise refuse(node, str(error)) from error


def _outputs(low: Lowering, model: ir.Model) -> tuple[list[tuple[str, ir.Value]], list[int]]:
    """Each output in order, counted in one step that is a power of two."""
    outputs, scales = [], []
    for value in model.graph.outputs:
        assert value.name is not None
        low.emit.source = (value.name, "output")
        if not low.is_known(value):
            raise CannotLower(f"output {value.name!r} does not depend on the input")
        q = low.quantity(value)
        step = q.uniform
        if step is None or step <= 0 or not math.log2(step).is_integer():
            smallest = float(np.abs(q.step).min())
            q = low.to_step(q, 2.0 ** (math.floor(math.log2(smallest)) - 12))
        own = low.materialized(q)
        # What came through tables has a scale in the engine's eyes: the settings are to say ours.
        kept = low.emit.scale_of(own.tensor)
        own = low.to_step(own, min(float(own.step.reshape(-1)[0]), 2.0**-kept))
        scale = -int(math.log2(float(own.step.reshape(-1)[0])))
        tensor = low.emit.raised(own.tensor, scale) if kept else own.tensor
        outputs.append((value.name, tensor))
        scales.append(scale)
    return outputs, scales
