"""Tree ensembles: comparisons once each, then a flow of ones from the roots to the leaves.

The root holds a 1; at each node it goes to the child that the comparison names: ``left = here ·
test``, ``right = here - left``. One multiplication a node whatever the number of classes, and the
scores are the leaves times their weights. All of it is exact on 0 and 1, so the only rounding in a
circuit is that of thresholds, inputs and leaf weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir import DataType

from circuits.rewrite.edit import Builder, attr, ints

_COMPARE = {
    "BRANCH_LEQ": "LessOrEqual",
    "BRANCH_LT": "Less",
    "BRANCH_GTE": "GreaterOrEqual",
    "BRANCH_GT": "Greater",
    "BRANCH_EQ": "Equal",
}


@dataclass(frozen=True)
class Forest:
    """The trees of an ensemble: arrays over nodes, and which children each has (-1: a leaf)."""

    features: NDArray[np.int64]
    thresholds: NDArray[np.float32]
    modes: list[str]
    on_true: NDArray[np.int64]
    on_false: NDArray[np.int64]
    weights: NDArray[np.float32]  # [nodes, outputs]

    @property
    def inner(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.on_true >= 0)

    @property
    def roots(self) -> list[int]:
        children = set(self.on_true.tolist()) | set(self.on_false.tolist())
        return [n for n in range(len(self.features)) if n not in children]


def read_forest(node: ir.Node, kind: str, outputs: int) -> Forest:
    """The ensemble's attributes as arrays; ``kind`` is ``class`` or ``target``.

    Raises ``ValueError`` when they contradict each other.
    """
    trees, ids = attr(node, "nodes_treeids"), attr(node, "nodes_nodeids")
    place = {pair: i for i, pair in enumerate(zip(trees, ids, strict=True))}
    modes = [_text(m) for m in attr(node, "nodes_modes")]
    on_true, on_false = np.full(len(ids), -1), np.full(len(ids), -1)
    for i, mode in enumerate(modes):
        if mode == "LEAF":
            continue
        if mode not in _COMPARE:
            raise ValueError(f"tree mode {mode!r}")
        on_true[i] = place[trees[i], attr(node, "nodes_truenodeids")[i]]
        on_false[i] = place[trees[i], attr(node, "nodes_falsenodeids")[i]]
    weights = np.zeros((len(ids), outputs), dtype=np.float64)
    rows = zip(
        attr(node, f"{kind}_treeids"),
        attr(node, f"{kind}_nodeids"),
        attr(node, f"{kind}_ids"),
        attr(node, f"{kind}_weights"),
        strict=True,
    )
    for tree, leaf, output, weight in rows:
        weights[place[tree, leaf], output] += weight
    return Forest(
        features=ints(attr(node, "nodes_featureids")),
        thresholds=np.array(attr(node, "nodes_values"), dtype=np.float32),
        modes=modes,
        on_true=on_true,
        on_false=on_false,
        weights=weights.astype(np.float32),
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def leaf_scores(build: Builder, x: ir.Value, forest: Forest) -> ir.Value:
    """The sum over trees of the weights of the leaf that x ``[N, F]`` reaches: ``[N, outputs]``."""
    inner = forest.inner
    if inner.size == 0:
        total = forest.weights.sum(axis=0, keepdims=True)
        zero = build.op("ReduceSum", build.op("Sub", x, x), build.const(ints([1])), keepdims=1)
        return build.op("Add", zero, build.const(total))
    tests, column = _tests(build, x, forest, inner)
    flows, leaves = flow(build, tests, column, forest)
    ones = build.op("Concat", *flows, axis=1) if len(flows) > 1 else flows[0]
    scores = build.op("MatMul", ones, build.const(forest.weights[leaves]))
    alone = [r for r in forest.roots if forest.on_true[r] < 0]
    constant = forest.weights[alone].sum(axis=0, keepdims=True)
    return build.op("Add", scores, build.const(constant)) if np.any(constant) else scores


def _tests(
    build: Builder, x: ir.Value, forest: Forest, inner: NDArray[np.int64]
) -> tuple[ir.Value, dict[int, int]]:
    """Each distinct comparison once, as 0 or 1 ``[N, tests]``, and each node's column."""
    keys: dict[tuple[str, int, float], list[int]] = {}
    for n in inner.tolist():
        key = (forest.modes[n], int(forest.features[n]), float(forest.thresholds[n]))
        keys.setdefault(key, []).append(n)
    column: dict[int, int] = {}
    parts = []
    offset = 0
    for mode in sorted({k[0] for k in keys}):
        chosen = sorted(k for k in keys if k[0] == mode)
        for position, key in enumerate(chosen):
            column.update(dict.fromkeys(keys[key], offset + position))
        offset += len(chosen)
        picked = build.op("Gather", x, build.const(ints(k[1] for k in chosen)), axis=1)
        levels = build.const(np.array([[k[2] for k in chosen]], dtype=np.float32))
        truth = build.op(_COMPARE[mode], picked, levels)
        parts.append(build.op("Cast", truth, to=int(DataType.FLOAT)))
    return (build.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]), column


def flow(
    build: Builder, tests: ir.Value, column: dict[int, int], forest: Forest
) -> tuple[list[ir.Value], list[int]]:
    """Ones at the leaves that are reached, level by level: tensors, and their leaves in order."""
    level = [r for r in forest.roots if forest.on_true[r] >= 0]
    here: ir.Value | None = None
    flows: list[ir.Value] = []
    leaves: list[int] = []
    while level:
        test = build.op("Gather", tests, build.const(ints(column[n] for n in level)), axis=1)
        if here is None:
            left, right = test, build.op("Sub", build.const(np.ones((1, 1), np.float32)), test)
        else:
            left = build.op("Mul", here, test)
            right = build.op("Sub", here, left)
        children = [int(forest.on_true[n]) for n in level] + [
            int(forest.on_false[n]) for n in level
        ]
        both = build.op("Concat", left, right, axis=1)
        ended = [i for i, c in enumerate(children) if forest.on_true[c] < 0]
        going = [i for i, c in enumerate(children) if forest.on_true[c] >= 0]
        if ended:
            flows.append(build.op("Gather", both, build.const(ints(ended)), axis=1))
            leaves += [children[i] for i in ended]
        level = [children[i] for i in going]
        if going:
            here = build.op("Gather", both, build.const(ints(going)), axis=1)
    return flows, leaves
