"""The graph that the engine gets, and the graph that computes what it is given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from circuits.format.hidden import RESIDUES
from circuits.format.hints import CHALLENGE, HINT
from circuits.format.wide_constants import EXACT, fits_float32, written
from circuits.lower.hinting.checks import Check, FiatShamirCheck, KroneckerPacking, Packing
from circuits.lower.hinting.products import Product, shapes_of


class Writing:
    """A graph with results given, written beside the one in which they are computed.

    Its inputs are those of that graph, the results and, where any are challenged, the challenge;
    its outputs are those of that graph, and residues.

    All inputs have to be public (``circuits.engine.layout_checks`` sees to it). Of an output that
    *is* an input, as the result of a last product may be, the engine makes a cell of its own: a
    public input's instance it is tied to, with a private input by nothing.
    """

    def __init__(self, data: bytes, sources: dict[str, tuple[str, str]]) -> None:
        self._model = onnx.load_model_from_string(data)
        self._shapes = shapes_of(self._model)
        self._sources = sources
        self._source = ("", "")
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        initializers = self._model.graph.initializer
        self._exact = sum(math.prod(t.dims[:-1]) for t in initializers if t.name.endswith(EXACT))
        self._inputs = list(self._model.graph.input)
        self._powers = ""

    def written(self, given: Sequence[tuple[Product, Check]]) -> bytes:
        """The graph, as bytes."""
        graph = self._model.graph
        challenged = [c.packing.groups for _, c in given if isinstance(c, FiatShamirCheck)]
        if challenged:
            self._challenge(max(challenged))
        residues = list(self._body(given))
        if len(residues) > 1:
            self._op("Concat", residues, RESIDUES, axis=1)
        else:
            self._op("Identity", residues, RESIDUES)
        if challenged:
            self._inputs.append(_value(CHALLENGE, [1, 1]))
        total = sum(check.residues(product) for product, check in given)
        outputs = [*graph.output, _value(RESIDUES, [1, total])]
        nodes = [NodeProto.FromString(n.SerializeToString()) for n in self._nodes]
        used = {name for node in nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name.removesuffix(EXACT) in used]
        made = helper.make_graph(
            nodes, graph.name, self._inputs, outputs, [*kept, *self._constants]
        )
        model = helper.make_model(
            made, opset_imports=list(self._model.opset_import), ir_version=self._model.ir_version
        )
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _body(self, given: Sequence[tuple[Product, Check]]) -> Iterator[str]:
        """Writes every node, a check in the place of each product that is given; the names of their
        residues, ``[1, n]`` each."""
        starts = {product.nodes[0].name: (product, check) for product, check in given}
        gone = {node.name for product, _ in given for node in product.nodes}
        for node in self._model.graph.node:
            if node.name in starts:
                self._source = self._sources[node.name]
                product, check = starts[node.name]
                hint = self._given(product)
                if isinstance(check, KroneckerPacking):
                    yield self._packed(product, check.packing, hint)
                else:
                    yield self._challenged(product, check.packing, hint)
            elif node.name not in gone:
                self._nodes.append(node)

    def _given(self, product: Product) -> str:
        """A result as an input, in the place of the computed one."""
        hint = f"{HINT}_{len(self._inputs) - len(self._model.graph.input)}"
        shape = self._shapes[product.result]
        self._inputs.append(_value(hint, shape))
        self._op("Identity", [hint], product.result)
        return hint

    def _packed(self, product: Product, packing: Packing, hint: str) -> str:
        rows, groups, members = product.rows, packing.groups, packing.members
        powers = packing.powers
        total = self._op("MatMul", [product.left, self._number(_packed(product.weights, powers))])
        bias = _packed(product.bias[None], powers)
        if np.any(bias):
            total = self._op("Add", [total, self._number(bias[None])])
        flat = self._reshaped(hint, [1, rows, product.outputs])
        if missing := groups * members - product.outputs:
            flat = self._op("Pad", [flat, self._places([0, 0, 0, 0, 0, missing])])
        grouped = self._reshaped(flat, [1, rows, groups, members])
        weights = np.array(powers, dtype=object).reshape(members, 1)
        told = self._op("MatMul", [grouped, self._number(weights)])
        residue = self._op("Sub", [total, self._reshaped(told, [1, rows, groups])])
        return self._reshaped(residue, [1, rows * groups])

    def _challenge(self, most: int) -> None:
        """The challenge's powers from the first to the ``most``-th, ``[1, most]``."""
        self._source = (CHALLENGE, "input")
        powers, count = CHALLENGE, 1
        while count < most:
            last = self._op("Gather", [powers, self._places([count - 1])], axis=1)
            powers = self._op("Concat", [powers, self._op("Mul", [powers, last])], axis=1)
            count *= 2
        self._powers = powers

    def _challenged(self, product: Product, packing: Packing, hint: str) -> str:
        """In matrices of two dimensions: where one side has a batch dimension and the other has
        none, the engine's products want both to be of one kind."""
        rows, terms, outputs = product.rows, product.terms, product.outputs
        powers = self._reshaped(self._powers_at(range(packing.groups)), [packing.groups, 1])
        packed = _packed(product.weights, packing.powers)
        weights = self._op("MatMul", [self._number(packed), powers])
        total = self._op("MatMul", [self._reshaped(product.left, [rows, terms]), weights])
        bias = _packed(product.bias[None], packing.powers)
        if np.any(bias):
            total = self._op("Add", [total, self._op("MatMul", [self._number(bias), powers])])
        each = self._reshaped(self._each(packing, outputs), [outputs, 1])
        told = self._op("MatMul", [self._reshaped(hint, [rows, outputs]), each])
        return self._reshaped(self._op("Sub", [total, told]), [1, rows])

    def _powers_at(self, places: Sequence[int]) -> str:
        """These of the challenge's powers, ``[1, n]``."""
        return self._op("Gather", [self._powers, self._places(places)], axis=1)

    def _each(self, packing: Packing, outputs: int) -> str:
        """What each result of a row is multiplied by, ``[1, outputs]``: its group's power of the
        challenge, and its own power of two."""
        group, member = np.divmod(np.arange(outputs), packing.members)
        powers = self._powers_at(group.tolist())
        if packing.members == 1:
            return powers
        own = np.array(packing.powers, dtype=object)[member]
        return self._op("Mul", [powers, self._number(own[None])])

    def _reshaped(self, value: str, shape: Sequence[int]) -> str:
        return self._op("Reshape", [value, self._places(shape)])

    def _op(
        self, kind: str, inputs: Iterable[str], output: str | None = None, **attributes: Any
    ) -> str:
        name = f"hinted_{len(self._nodes)}"
        node = helper.make_node(kind, list(inputs), [output or name], name=name, **attributes)
        self._nodes.append(node)
        self._sources[name] = self._source
        return output or name

    def _places(self, values: Sequence[int]) -> str:
        return self._constant(np.array(list(values), dtype=np.int64))

    def _number(self, values: NDArray[Any]) -> str:
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


def computing(
    data: bytes, results: Sequence[str], scale: int, largest: int, *, challenged: bool
) -> bytes:
    """The part of a lowered graph that computes these results, as its outputs.

    What else it takes to give them stands in the model's properties: whether a challenge goes with
    them, the engine's ``scale`` and the ``largest`` number.
    """
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
    alone = helper.make_model(
        made, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )
    facts = {"scale": str(scale), "largest": str(largest), "challenged": str(int(challenged))}
    helper.set_model_props(alone, facts)
    found: bytes = alone.SerializeToString(deterministic=True)
    return found
