"""What a model computes of a tree's answer alone, as that tree with other leaves.

An isolation forest is exported as trees that name the leaf, and thirty operators for each that turn
the leaf into the length of its path. A function of a leaf is one number for each leaf; a sum of
trees is one ensemble.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from circuits.frontend.outputs import ML
from circuits.rewrite.edit import (
    Builder,
    Pass,
    attr,
    constant,
    expand,
    has_shape,
    names_in,
    replace,
    shape_of,
)
from circuits.rewrite.ml.encoders import numbers_for_numbers

_TREE = "TreeEnsembleRegressor"
_PLAIN = frozenset({"Reshape", "Identity"})
_FORMULAS: Mapping[str, Callable[..., NDArray[Any]]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Abs": np.abs,
    "Max": lambda *x: reduce(np.maximum, x),
    "Min": lambda *x: reduce(np.minimum, x),
    "Sum": lambda *x: reduce(operator.add, x),
    "Where": np.where,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
}
#: The same where integers would be divided otherwise.
_ONLY_FLOATS: Mapping[str, Callable[..., NDArray[Any]]] = {
    "Div": np.divide,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Pow": np.power,
}
#: Values of one tree that others read, at most: each becomes a target.
_MOST_TARGETS = 8
#: Attributes that hold an entry for each node.
_TREES = "nodes_treeids"
_NODES = (
    _TREES,
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
)
_TARGETS = ("target_treeids", "target_nodeids", "target_ids", "target_weights")

_Leaves = NDArray[Any]


@dataclass(frozen=True)
class _Tree:
    """A node that answers with one number of one tree: which leaves it has, and their answers."""

    node: ir.Node
    leaves: list[int]
    answers: _Leaves


def _tree(node: ir.Node) -> _Tree | None:
    source = node.inputs[0]
    plain = (
        attr(node, "n_targets", 1) == 1
        and attr(node, "aggregate_function", "SUM") == "SUM"
        and attr(node, "post_transform", "NONE") in ("NONE", b"NONE")
        and not any(attr(node, "base_values") or ())
        and not any(attr(node, "nodes_missing_value_tracks_true") or ())
        and len(set(attr(node, "nodes_treeids") or ())) == 1
    )
    if not plain or not has_shape(source):
        return None
    assert source is not None
    weights = dict(zip(attr(node, "target_nodeids"), attr(node, "target_weights"), strict=True))
    modes = zip(attr(node, "nodes_nodeids"), attr(node, "nodes_modes"), strict=True)
    leaves = [leaf for leaf, mode in modes if mode in ("LEAF", b"LEAF")]
    if len(weights) != len(attr(node, "target_weights")) or shape_of(source)[0] != 1:
        return None
    return _Tree(node, leaves, np.array([weights.get(i, 0.0) for i in leaves], np.float32))


def _computed(node: ir.Node, known: Mapping[str, _Leaves]) -> _Leaves | None:
    """A node's answer for each leaf, where it reads nothing but what is known for each leaf and
    constants of one element."""
    operands: list[_Leaves] = []
    moves = node.op_type in _PLAIN
    for value in node.inputs[:1] if moves else node.inputs:
        if value is not None and value.name is not None and value.name in known:
            operands.append(known[value.name])
            continue
        fixed = constant(value)
        if fixed is None or fixed.size != 1 or fixed.ndim > 2:
            return None
        operands.append(fixed.reshape(1))
    with np.errstate(all="ignore"):
        return _applied(node, operands)


def _applied(node: ir.Node, operands: Sequence[_Leaves]) -> _Leaves | None:
    op, first = node.op_type, operands[0]
    if node.domain == ML:
        return _encoded(node, first)
    if op in _PLAIN:
        return first if op == "Identity" or _keeps_rank(node) else None
    if op == "Cast":
        kind = ir.DataType(attr(node, "to")).numpy()
        return first.astype(kind) if kind.kind in "fiub" else None
    floats = all(operand.dtype.kind == "f" for operand in operands)
    formula = _FORMULAS.get(op) or (_ONLY_FLOATS.get(op) if floats else None)
    return None if formula is None else formula(*operands)


def _keeps_rank(node: ir.Node) -> bool:
    """Whether a Reshape leaves a tree's answer as it is, ``[1, 1]``."""
    shape = constant(node.inputs[1])
    return shape is not None and sorted(shape.reshape(-1).tolist()) in ([-1, 1], [1, 1])


def _encoded(node: ir.Node, keys: _Leaves) -> _Leaves | None:
    found = numbers_for_numbers(node)
    if found is None or found.values is None:
        return None
    table = dict(zip(found.texts, found.values, strict=True))
    answers = [table.get(key, found.default) for key in keys.tolist()]
    return np.array(answers, np.int64 if found.whole else np.float32)


def _fold(model: ir.Model, node: ir.Node, taken: set[str]) -> bool:
    """Puts a tree with other leaves in the place of all that is computed of one."""
    tree = _tree(node)
    if tree is None:
        return False
    known: dict[str, _Leaves] = {str(node.outputs[0].name): tree.answers}
    made: list[ir.Node] = []
    waiting = [use.node for use in node.outputs[0].uses()]
    while waiting:
        reader = waiting.pop(0)
        if reader in made or len(reader.outputs) != 1:
            continue
        answer = _computed(reader, known)
        if answer is None:
            continue
        known[str(reader.outputs[0].name)] = np.broadcast_to(answer, tree.answers.shape)
        made.append(reader)
        waiting += [use.node for use in reader.outputs[0].uses()]
    inside = {id(reader) for reader in made}
    ends = [
        value
        for value in (reader.outputs[0] for reader in made)
        if value.is_graph_output() or any(id(use.node) not in inside for use in value.uses())
    ]
    if not ends or len(ends) > _MOST_TARGETS:
        return False
    if not all(np.isfinite(known[str(v.name)].astype(np.float64)).all() for v in ends):
        return False
    for value in ends:
        _write(model, tree, value, known[str(value.name)], taken)
    return True


def _write(
    model: ir.Model, tree: _Tree, value: ir.Value, answers: _Leaves, taken: set[str]
) -> None:
    """Makes a value by the tree with these answers in its leaves."""
    place = value.producer()
    assert place is not None
    build = Builder(model.graph, str(value.name), taken)
    attributes = {name: attr(tree.node, name) for name in _NODES} | {
        "target_treeids": [attr(tree.node, _TREES)[0]] * len(tree.leaves),
        "target_nodeids": tree.leaves,
        "target_ids": [0] * len(tree.leaves),
        "target_weights": [float(w) for w in answers],
    }
    made = _ensemble(build, tree.node.inputs[0], attributes)
    kind = ir.DataType.from_numpy(answers.dtype)
    replace(place, build, [made if kind == ir.DataType.FLOAT else build.op("Cast", made, to=kind)])


def _sum(node: ir.Node, build: Builder) -> ir.Value | None:
    """A sum of trees that look at columns of one input, as one ensemble."""
    parts = [_part(value) for value in node.inputs]
    if len(parts) < 2 or any(part is None for part in parts):
        return None
    found = [part for part in parts if part is not None]
    source = found[0][1]
    if any(part[1] is not source for part in found):
        return None
    merged: dict[str, list[Any]] = {name: [] for name in (*_NODES, *_TARGETS)}
    trees = 0
    for tree, _, columns in found:
        ids = {old: trees + new for new, old in enumerate(dict.fromkeys(attr(tree, _TREES)))}
        trees += len(ids)
        for name in merged:
            values = attr(tree, name)
            if name in (_TREES, "target_treeids"):
                values = [ids[v] for v in values]
            if name == "nodes_featureids" and columns is not None:
                values = [int(columns[v]) for v in values]
            merged[name] += values
    return _ensemble(build, source, merged)


def _ensemble(
    build: Builder, source: ir.Value | None, attributes: Mapping[str, Sequence[Any]]
) -> ir.Value:
    made = build.op(_TREE, source, n_targets=1, **attributes)
    build.nodes[-1].domain = ML
    return made


def _part(value: ir.Value | None) -> tuple[ir.Node, ir.Value, NDArray[Any] | None] | None:
    """An ensemble that answers with one number and nothing else reads, the input that it looks at,
    and which columns of that."""
    node = None if value is None else value.producer()
    if value is None or node is None or node.op_type != _TREE or node.domain != ML:
        return None
    if len(value.uses()) != 1 or value.is_graph_output():
        return None
    missing = any(attr(node, "nodes_missing_value_tracks_true") or ())
    base = any(attr(node, "base_values") or ())
    plain = not missing and not base and attr(node, "n_targets", 1) == 1
    kept = attr(node, "aggregate_function", "SUM") in ("SUM", b"SUM")
    if not plain or not kept or attr(node, "post_transform", "NONE") not in ("NONE", b"NONE"):
        return None
    source = node.inputs[0]
    assert source is not None
    gather = source.producer()
    columns = None if gather is None or gather.op_type != "Gather" else constant(gather.inputs[1])
    if (
        gather is None
        or columns is None
        or columns.ndim != 1
        or attr(gather, "axis", 0) not in (1, -1)
    ):
        return node, source, None
    assert gather.inputs[0] is not None
    return node, gather.inputs[0], columns


def _run(model: ir.Model) -> None:
    taken = names_in(model.graph)
    for node in list(model.graph):
        if node.op_type == _TREE and node.domain == ML:
            _fold(model, node, taken)
    common.RemoveUnusedNodesPass()(model)  # what is read by nothing any more is no part's reader
    expand(model, {"Add": _sum, "Sum": _sum})


FOLD_LEAVES = Pass(
    name="fold-leaves",
    version=1,
    purpose="Moves arithmetic on a tree's output into its leaves; merges sums of trees.",
    reference="ONNX-ML operator specification; the exporter of scikit-learn's IsolationForest",
    run=_run,
    touches=frozenset((_TREE,)),
)
