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

from circuits.frontend.missing import BEYOND
from circuits.rewrite.edit import Builder, attr, ints

_COMPARE = {
    "BRANCH_LEQ": "LessOrEqual",
    "BRANCH_LT": "Less",
    "BRANCH_GTE": "GreaterOrEqual",
    "BRANCH_GT": "Greater",
    "BRANCH_EQ": "Equal",
}
_ALWAYS, _NEVER = "ALWAYS", "NEVER"
#: Tests that hold where another does not, and the other way round.
_OPPOSITE = {
    "BRANCH_LEQ": "BRANCH_GT",
    "BRANCH_LT": "BRANCH_GTE",
    "BRANCH_GTE": "BRANCH_LT",
    "BRANCH_GT": "BRANCH_LEQ",
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


def read_forest(node: ir.Node, kind: str, outputs: int, *, missing: bool = False) -> Forest:
    """The ensemble's attributes as arrays; ``kind`` is ``class`` or ``target``.

    Where values may be ``missing`` each test is written so that it does not hold for one that is.
    Raises ``ValueError`` when they contradict each other.
    """
    trees, ids = attr(node, "nodes_treeids"), attr(node, "nodes_nodeids")
    place = {pair: i for i, pair in enumerate(zip(trees, ids, strict=True))}
    modes = [_text(m) for m in attr(node, "nodes_modes")]
    true_ids, false_ids = attr(node, "nodes_truenodeids"), attr(node, "nodes_falsenodeids")
    tracks = attr(node, "nodes_missing_value_tracks_true") or [0] * len(ids)
    on_true, on_false = np.full(len(ids), -1), np.full(len(ids), -1)
    for i, mode in enumerate(modes):
        if mode == "LEAF":
            continue
        if mode not in _COMPARE:
            raise ValueError(f"tree mode {mode!r}")
        on_true[i] = place[trees[i], true_ids[i]]
        on_false[i] = place[trees[i], false_ids[i]]
        if missing and tracks[i]:
            if mode not in _OPPOSITE:
                raise ValueError(f"tree mode {mode!r} that holds for a missing value")
            modes[i] = _OPPOSITE[mode]
            on_true[i], on_false[i] = on_false[i], on_true[i]
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


def leaf_scores(
    build: Builder, x: ir.Value, forest: Forest, there: ir.Value | None = None
) -> ir.Value:
    """The sum over trees of the weights of the leaf that x ``[N, F]`` reaches: ``[N, outputs]``.

    ``there``: 0 where a value of x is missing, so that no test of it holds, else 1.
    """
    inner = forest.inner
    if inner.size == 0:
        total = forest.weights.sum(axis=0, keepdims=True)
        zero = build.op("ReduceSum", build.op("Sub", x, x), build.const(ints([1])), keepdims=1)
        return build.op("Add", zero, build.const(total))
    tests, column = _tests(build, x, forest, inner, there)
    flows, leaves = flow(build, tests, column, forest)
    ones = build.op("Concat", *flows, axis=1) if len(flows) > 1 else flows[0]
    scores = build.op("MatMul", ones, build.const(forest.weights[leaves]))
    alone = [r for r in forest.roots if forest.on_true[r] < 0]
    constant = forest.weights[alone].sum(axis=0, keepdims=True)
    return build.op("Add", scores, build.const(constant)) if np.any(constant) else scores


def _tests(
    build: Builder,
    x: ir.Value,
    forest: Forest,
    inner: NDArray[np.int64],
    there: ir.Value | None,
) -> tuple[ir.Value, dict[int, int]]:
    """Each distinct comparison once, as 0 or 1 ``[N, tests]``, and each node's column. One with a
    threshold that no value reaches only asks whether there is a value."""
    keys: dict[tuple[str, int, float], list[int]] = {}
    for n in inner.tolist():
        threshold = float(forest.thresholds[n])
        mode = forest.modes[n]
        if abs(threshold) >= BEYOND:
            mode, threshold = _settled(mode, threshold), 0.0
        key = (mode, int(forest.features[n]), threshold)
        keys.setdefault(key, []).append(n)
    column: dict[int, int] = {}
    parts = []
    offset = 0
    for mode in sorted({k[0] for k in keys}):
        chosen = sorted(k for k in keys if k[0] == mode)
        for position, key in enumerate(chosen):
            column.update(dict.fromkeys(keys[key], offset + position))
        offset += len(chosen)
        features = build.const(ints(k[1] for k in chosen))
        thresholds = np.array([[k[2] for k in chosen]], dtype=np.float32)
        if mode in (_ALWAYS, _NEVER):
            holds = 1.0 if mode == _ALWAYS else 0.0
            if there is None:
                nothing = build.op("Mul", build.op("Gather", x, features, axis=1), build.const(0.0))
                parts.append(build.op("Add", nothing, build.const(holds)))
            else:
                known = build.op("Gather", there, features, axis=1)
                parts.append(build.op("Mul", known, build.const(holds)))
            continue
        picked = build.op("Gather", x, features, axis=1)
        truth = build.op(_COMPARE[mode], picked, build.const(thresholds))
        number = build.op("Cast", truth, to=int(DataType.FLOAT))
        if there is not None:
            number = build.op("Mul", number, build.op("Gather", there, features, axis=1))
        parts.append(number)
    return (build.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]), column


def _settled(mode: str, threshold: float) -> str:
    """What a test with a threshold beyond all values is, of a value that is there."""
    below = mode in ("BRANCH_LEQ", "BRANCH_LT")
    return _ALWAYS if mode != "BRANCH_EQ" and below == (threshold > 0) else _NEVER


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
