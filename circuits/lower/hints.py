"""Results of products given to a circuit instead of being computed in it.

A product of ``[R, K] · [K, F]`` costs an assignment for each of its R·K·F multiplications. To check
results that are *given* costs far fewer. Those of one row, c_j, are whole numbers of some twenty
bits, and the field has 254: with weights packed as ``W_i = Σ_j w_ij 2^(b·j)``, the one equation
``Σ_j c_j 2^(b·j) = Σ_i x_i W_i`` says the same as ten or more ``c_j = Σ_i x_i w_ij``.

It says so only if every c_j is known to be small, whoever gives it. Let no true result exceed T and
no given one B in magnitude, and ``2^b > T + B``. Then the differences ``d_j`` of given and true
results are smaller than 2^b, the sum ``Σ d_j 2^(b·j)`` is smaller than the field's modulus, and it
vanishes only where every d_j does: mod 2^b that is d_0, and so on. T is interval arithmetic over
the accepted inputs, which the verifier checks; ``circuits.lower.reach`` finds B in what the circuit
does with a result: a ReLU takes it apart into digits, an output is looked at by the verifier. A
result whose size nothing bounds is not given but computed.

What is left of each equation, its *residue*, is a public output, and has to be zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from circuits.exact import EXACT, fits_float32, written
from circuits.integers.interpreter import Graph
from circuits.lower.bounds import Interval, widened
from circuits.lower.reach import Reach
from circuits.lower.variant import Hinted, ValueBounds

#: Sums below this are smaller than the modulus of BN254's scalar field (253.6 bits).
_FIELD_BITS = 253
#: Bits by which digits may hold more than the values that are taken apart.
_SLACK_BITS = 1
#: The least that decompositions hold: two digits of two bits.
_LEAST_BITS = 4
RESIDUES = "zkml_residues"
_SHOWN = "zkml_shown"
_HINT = "zkml_hint"


@dataclass(frozen=True, kw_only=True)
class _Product:
    """``left · weights (+ bias)``, whose ``result`` may be given. ``nodes`` make the result out of
    ``left``; ``weights`` [K, F] and ``bias`` [R, F] hold whole numbers."""

    nodes: tuple[NodeProto, ...]
    left: str
    result: str
    rows: int
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    @property
    def terms(self) -> int:
        return len(self.weights)

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[1])


@dataclass(frozen=True, kw_only=True)
class _Packing:
    """``groups`` equations of ``members`` results of ``bits`` bits each."""

    groups: int
    members: int
    bits: int

    @classmethod
    def of(cls, outputs: int, bits: int) -> _Packing | None:
        """The fewest equations for so many results; None where not even two fit one."""
        most = _FIELD_BITS // bits
        if most < 2 and outputs > 1:
            return None
        groups = math.ceil(outputs / max(1, most))
        return cls(groups=groups, members=math.ceil(outputs / groups), bits=bits)


def with_hints(
    data: bytes,
    *,
    scale: int,
    bounds: ValueBounds,
    intervals: Mapping[str, Interval],
    sources: dict[str, tuple[str, str]],
) -> Hinted | None:
    """A lowered graph with the results of its products given; None where that saves nothing.

    ``intervals`` bound every value of the graph for accepted inputs. ``sources`` is added to.
    """
    model = onnx.load_model_from_string(data)
    graph = Graph(data, scale)
    most_bits = max(_LEAST_BITS, bounds.decomposed.bit_length() + _SLACK_BITS)
    output_bounds = {name: widened(_magnitude(intervals[name])) for name in graph.outputs}
    found = list(_products(model, graph))
    reach = Reach(
        graph,
        intervals,
        results=[p.result for p in found],
        digits=float((1 << most_bits) - 1),
        lookup=bounds.lookup,
        outputs=output_bounds,
    )
    given: list[tuple[_Product, _Packing]] = []
    for number, product in enumerate(found):
        bound = reach.of(number)
        packing = None
        if math.isfinite(bound):
            largest = widened(_magnitude(intervals[product.result])) + widened(bound)
            packing = _Packing.of(product.outputs, largest.bit_length())
        if packing is None or not _saves(product, packing):
            reach.give_up(number)
        else:
            given.append((product, packing))
    if not given:
        return None
    engine = _Rewriting(model, data, sources).rewritten(given)
    return Hinted(
        onnx=engine,
        hints=_hints(data, [p.result for p, _ in given], scale, bounds.largest),
        residues=sum(p.rows * packing.groups for p, packing in given),
        output_bounds=tuple(output_bounds[name] for name in graph.outputs),
        most_bits=most_bits,
        lookup=bounds.lookup,
    )


def _magnitude(interval: Interval) -> float:
    return max(float(np.abs(end).max(initial=0.0)) for end in interval)


def _saves(product: _Product, packing: _Packing) -> bool:
    """Whether giving the results takes fewer assignments than computing them."""
    computed = product.terms * product.outputs
    members = packing.members + packing.members % 2
    checked = packing.groups * (product.terms + members + 3) + product.outputs
    return checked < computed


# --- what may be given --------------------------------------------------------------------------


def _products(model: ModelProto, graph: Graph) -> Iterator[_Product]:
    """Products by constant matrices, in graph order, each with the constant added to it."""
    model = onnx.shape_inference.infer_shapes(model)
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.nodes:
        weights = graph.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weights is None or weights.ndim != 2 or weights.dtype == object:
            continue
        left = shapes[node.input[0]]
        if len(left) != 3 or left[0] != 1 or _scaled(graph, node):
            continue
        nodes, bias = _with_bias(graph, users, node, left[1] * weights.shape[1])
        if any(n.output[0] in graph.outputs for n in nodes[:-1]):
            continue
        yield _Product(
            nodes=nodes,
            left=node.input[0],
            result=nodes[-1].output[0],
            rows=left[1],
            weights=weights.astype(np.float64),
            bias=bias.reshape(left[1], weights.shape[1]),
        )


def _scaled(graph: Graph, node: NodeProto) -> bool:
    """Whether the engine divides a node's result, or keeps a scale beside it."""
    return node.name in graph.divided or graph.attributes[node.name]["scale"] != 0


def _with_bias(
    graph: Graph, users: Mapping[str, list[NodeProto]], product: NodeProto, size: int
) -> tuple[tuple[NodeProto, ...], NDArray[np.float64]]:
    """The nodes from a product to the constant that is added to nothing but it, and that constant.
    Only the product and zeros where there is none."""
    nodes = [product]
    while len(after := users.get(nodes[-1].output[0], [])) == 1:
        nodes.append(after[0])
        if after[0].op_type == "Add":
            place = 1 if after[0].input[0] == nodes[-2].output[0] else 0
            added = graph.constants.get(after[0].input[place])
            if added is None or _scaled(graph, after[0]) or added.dtype == object:
                break
            shape = _reshaped(graph, nodes[1:-1]) or added.shape
            try:
                return tuple(nodes), np.broadcast_to(added.astype(np.float64), shape).reshape(size)
            except ValueError:
                break
        if after[0].op_type != "Reshape":
            break
    return (product,), np.zeros(size)


def _reshaped(graph: Graph, nodes: Sequence[NodeProto]) -> tuple[int, ...] | None:
    """The shape that reshapes end in; None without any."""
    if not nodes:
        return None
    return tuple(int(n) for n in graph.constants[nodes[-1].input[1]])


# --- the graph that the engine gets -------------------------------------------------------------


class _Rewriting:
    """The graph with results given, written beside the one in which they are computed."""

    def __init__(self, model: ModelProto, data: bytes, sources: dict[str, tuple[str, str]]) -> None:
        self._model = onnx.load_model_from_string(data)
        self._sources = sources
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        initializers = self._model.graph.initializer
        self._exact = sum(math.prod(t.dims[:-1]) for t in initializers if t.name.endswith(EXACT))
        shapes = onnx.shape_inference.infer_shapes(model).graph
        self._shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in [*shapes.input, *shapes.value_info, *shapes.output]
        }
        self._source = ("", "")

    def rewritten(self, given: Sequence[tuple[_Product, _Packing]]) -> bytes:
        graph = self._model.graph
        starts = {p.nodes[0].name: (p, packing) for p, packing in given}
        gone = {node.name for p, _ in given for node in p.nodes}
        shown = [self._shown(number, value) for number, value in enumerate(graph.input)]
        residues: list[str] = []
        for node in graph.node:
            if node.name in starts:
                self._source = self._sources[node.name]
                residues.append(self._checked(len(residues), *starts[node.name]))
            elif node.name not in gone:
                self._nodes.append(node)
        total = sum(p.rows * packing.groups for p, packing in given)
        if len(residues) > 1:
            self._op("Concat", residues, RESIDUES, axis=1)
        else:
            self._op("Identity", residues, RESIDUES)
        nodes = [NodeProto.FromString(n.SerializeToString()) for n in self._nodes]
        outputs = [*shown, *graph.output, _value(RESIDUES, [1, total])]
        used = {name for node in nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name.removesuffix(EXACT) in used]
        made = helper.make_graph(
            nodes, graph.name, list(graph.input), outputs, [*kept, *self._constants]
        )
        model = helper.make_model(
            made, opset_imports=list(self._model.opset_import), ir_version=self._model.ir_version
        )
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _shown(self, number: int, value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
        """An input as an output: given results are private, and the engine knows only inputs that
        are all so."""
        self._source = (value.name, "input")
        name = f"{_SHOWN}_{number}"
        self._op("Identity", [value.name], name)
        return _value(name, self._shapes[value.name])

    def _checked(self, number: int, product: _Product, packing: _Packing) -> str:
        """A given result in the place of a computed one; the name of the residues, ``[1, n]``."""
        rows, groups, members = product.rows, packing.groups, packing.members
        hint = f"{_HINT}_{number}"
        shape = self._shapes[product.result]
        self._model.graph.input.append(_value(hint, shape))
        last = product.nodes[-1]
        if last.output[0] in {o.name for o in self._model.graph.output}:
            self._op("Identity", [hint], last.output[0])
        else:
            self._op("Reshape", [hint, self._places(shape)], last.output[0])
        powers = [1 << (packing.bits * j) for j in range(members)]
        packed = _packed(product.weights, powers)
        total = self._op("MatMul", [product.left, self._number(packed)])
        biases = _packed(product.bias, powers)
        if np.any(biases):
            alike = rows == 1 or bool(np.all(product.bias == product.bias[:1]))
            added = biases[None, :1] if alike else biases[None]
            total = self._op("Add", [total, self._number(added)])
        flat = self._op("Reshape", [hint, self._places([1, rows, product.outputs])])
        if missing := groups * members - product.outputs:
            flat = self._op("Pad", [flat, self._places([0, 0, 0, 0, 0, missing])])
        grouped = self._op("Reshape", [flat, self._places([1, rows, groups, members])])
        weights = np.array(powers, dtype=object).reshape(members, 1)
        told = self._op("MatMul", [grouped, self._number(weights)])
        told = self._op("Reshape", [told, self._places([1, rows, groups])])
        residue = self._op("Sub", [total, told])
        return self._op("Reshape", [residue, self._places([1, rows * groups])])

    def _op(
        self, kind: str, inputs: Iterable[str], output: str | None = None, **attributes: Any
    ) -> str:
        name = f"hinted_{len(self._nodes)}"
        node = helper.make_node(kind, list(inputs), [output or name], name=name, **attributes)
        self._nodes.append(node)
        self._sources[name] = self._source
        return output or name

    def _places(self, values: Sequence[int]) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _number(self, values: NDArray[np.object_]) -> str:
        if fits_float32(values):
            return self._constant(values.astype(np.float32))
        stand_ins, data = written(values, self._exact)
        self._exact += values.size
        name = self._constant(stand_ins)
        self._constants.append(numpy_helper.from_array(data, name + EXACT))
        return name

    def _constant(self, values: NDArray[np.generic]) -> str:
        name = f"hinted_const_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name


def _packed(numbers: NDArray[np.float64], powers: Sequence[int]) -> NDArray[np.object_]:
    """Rows of ``[n, F]`` as ``[n, groups]``: each group of numbers times the powers, summed."""
    rows, outputs = numbers.shape
    members = len(powers)
    groups = math.ceil(outputs / members)
    whole = np.zeros((rows, groups * members), dtype=object)
    whole[:, :outputs] = np.vectorize(int, otypes=[object])(numbers)
    weights = np.array(list(powers), dtype=object)
    summed: NDArray[np.object_] = (whole.reshape(rows, groups, members) * weights).sum(axis=2)
    return summed


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


# --- the graph that computes what is given ------------------------------------------------------


def _hints(data: bytes, results: Sequence[str], scale: int, largest: int) -> bytes:
    """The part of the lowered graph that computes these values, as its outputs."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    wanted, kept = set(results), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    constants = [t for t in graph.initializer if t.name.removesuffix(EXACT) in wanted]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    made = helper.make_graph(kept[::-1], graph.name, list(graph.input), outputs, constants)
    out = helper.make_model(
        made, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    helper.set_model_props(out, {"scale": str(scale), "largest": str(largest)})
    made_bytes: bytes = out.SerializeToString(deterministic=True)
    return made_bytes
