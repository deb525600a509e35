"""Mutated models against the importer: ``python -m benchmarks.fuzz_importer --count 10000``.

Every mutant goes, like an upload, through ``inspect_model`` in a child process with limits. It may
be read or refused, but must not hang, be killed, or fail with anything but a model error.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, parser

from benchmarks.harness.machine import describe
from circuits.engine.port import Limits
from circuits.engine.sandbox import Child, Sandbox
from circuits.errors import ModelError, ZkmlError

_BATCH = 50
_FAULT = "fault: "
#: Limits of one child and its batch of mutants.
LIMITS = Limits(deadline_s=60, memory_bytes=4 << 30)
_EXTREMES = (-1, 0, 1, 7, 1 << 31, (1 << 62) - 1, -(1 << 63))

_SEEDS = (
    """<ir_version: 8, opset_import: ["" : 17]> conv (float[N, 1, 8, 8] x) => (float[N, 3] y)
    <float[2, 1, 3, 3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, float[8, 3] v = {1,2,3,4,5,6,7,8,
    1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, int64[2] s = {-1, 8}>
    { a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w) r = Relu(a)
      p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r) f = Reshape(p, s)
      y = MatMul(f, v) }""",
    """<ir_version: 8, opset_import: ["" : 15]> shapes (float[N, 4, 3] x) => (float y)
    { s = Shape(x) i = Constant<value = int64[1] {0}>() n = Gather(s, i)
      m = Constant<value = int64[1] {-1}>() t = Concat<axis = 0>(n, m) f = Reshape(x, t)
      c = ConstantOfShape<value = float[1] {2}>(t) q = Softmax<axis = -1>(f) y = Transpose(q) }""",
    """<ir_version: 8, opset_import: ["" : 9]> old (float[1, 6] x) => (float[1, 3] y)
    <float[6, 3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, float[3] b = {1,2,3}>
    { g = Gemm(x, w, b) d = Dropout<ratio = 0.5>(g) y = Softmax<axis = 1>(d) }""",
    """<ir_version: 8, opset_import: ["" : 17]> steps (float[3, 1, 2] x) => (float y)
    <float[1, 4, 2] w = {1,2,3,4,5,6,7,8}, float[1, 4, 1] r = {1,2,3,4},
    int64[5] s = {2, 3, 1, 1, 1},
    int64 a = {0}, float[1] k = {0.5}>
    { h, l, c = LSTM<hidden_size = 1, clip = 0.5>(x, w, r) t = CumSum<reverse = 1>(h, a)
      e = Expand(t, s) q = Equal(e, k) f = Cast<to = 1>(q) i = Cast<to = 7>(e)
      o = ArgMax<axis = 1, keepdims = 0>(f) g = Gather<axis = 0>(h, o) y = Add(g, c) }""",
    """<ir_version: 8, opset_import: ["" : 17]> turned (float[1, 2, 4, 4] x) => (float y)
    <float[2, 1, 2, 2] w = {1,2,3,4,5,6,7,8}, int64[8] p = {0, 0, 1, 1, 0, 0, -1, 1},
    float[4] s = {1, 1, 2, 1.5}, float[1] n = {-2}>
    { t = ConvTranspose<strides = [2, 2], output_padding = [1, 1], group = 2>(x, w)
      a = Pad<mode = "reflect">(t, p) r = Resize<mode = "linear">(a, , s) b = Abs(r)
      q = Pow(b, n) m = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(q)
      y = ReduceLogSumExp<axes = [2, 3]>(m) }""",
    """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]> scores (float[N, 2] x)
    => (int64[N] l, float[N, 2] y)
    { h = ai.onnx.ml.Scaler<offset = [0.5, 1.0], scale = [2.0, 3.0]>(x)
      l, s = ai.onnx.ml.LinearClassifier<coefficients = [1.0, 2.0, 3.0, 4.0],
      intercepts = [0.5, 0.25], classlabels_ints = [0, 1], post_transform = "SOFTMAX">(h)
      y = ai.onnx.ml.Normalizer<norm = "L1">(s) }""",
)


def seeds() -> list[bytes]:
    """Small valid models to start from."""
    return [parser.parse_model(text).SerializeToString() for text in _SEEDS]


def mutants(models: Sequence[bytes], count: int, seed: int = 1) -> Iterator[bytes]:
    """``count`` broken models, deterministic by seed: bytes flipped, cut or doubled, fields with
    other values."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = models[int(rng.integers(len(models)))]
        yield _break_field(rng, data) if rng.random() < 0.5 else _break_bytes(rng, data)


def _break_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    raw = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(raw)))
        match int(rng.integers(4)):
            case 0:
                raw[place] ^= 1 << int(rng.integers(8))
            case 1:
                raw[place] = int(rng.integers(256))
            case 2:
                del raw[place : place + int(rng.integers(1, 16))]
            case _:
                raw[place:place] = raw[place : place + int(rng.integers(1, 32))]
        if not raw:
            return b"\x00"
    return bytes(raw)


def _break_field(rng: np.random.Generator, data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 3))):
        _BREAKS[int(rng.integers(len(_BREAKS)))](rng, model)
    broken: bytes = model.SerializeToString()
    return broken


def _pick(rng: np.random.Generator, count: int) -> int:
    return int(rng.integers(count))


def _extreme(rng: np.random.Generator) -> int:
    return _EXTREMES[_pick(rng, len(_EXTREMES))]


def _dimension(rng: np.random.Generator, model: ModelProto) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if dims:
        dims[_pick(rng, len(dims))].dim_value = _extreme(rng)


def _tensor(rng: np.random.Generator, model: ModelProto) -> None:
    if model.graph.initializer:
        tensor = model.graph.initializer[_pick(rng, len(model.graph.initializer))]
        if rng.random() < 0.5:
            tensor.data_type = _pick(rng, 24)
        elif tensor.dims:
            tensor.dims[_pick(rng, len(tensor.dims))] = _extreme(rng)


def _wiring(rng: np.random.Generator, model: ModelProto) -> None:
    nodes = model.graph.node
    node, other = nodes[_pick(rng, len(nodes))], nodes[_pick(rng, len(nodes))]
    if node.input:
        node.input[_pick(rng, len(node.input))] = other.output[0]


def _operator(rng: np.random.Generator, model: ModelProto) -> None:
    names = (
        "If",
        "Loop",
        "Relu",
        "Concat",
        "Reshape",
        "Expand",
        "Tile",
        "Pad",
        "",
        "LSTM",
        "Split",
    )
    node = model.graph.node[_pick(rng, len(model.graph.node))]
    node.op_type = names[_pick(rng, len(names))]


def _attribute(rng: np.random.Generator, model: ModelProto) -> None:
    nodes = [n for n in model.graph.node if n.attribute]
    if nodes:
        node = nodes[_pick(rng, len(nodes))]
        attribute = node.attribute[_pick(rng, len(node.attribute))]
        if attribute.ints:
            attribute.ints[_pick(rng, len(attribute.ints))] = _extreme(rng)
        else:
            attribute.i = _extreme(rng)


def _constant(rng: np.random.Generator, model: ModelProto) -> None:
    shapes = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT64]
    if shapes:
        try:
            values = onnx.numpy_helper.to_array(shapes[0]).copy()
        except ValueError:  # its dimensions are broken already
            return
        if values.ndim == 1 and values.size:
            values[_pick(rng, values.size)] = _extreme(rng)
        shapes[0].CopyFrom(onnx.numpy_helper.from_array(values, shapes[0].name))


def _versions(rng: np.random.Generator, model: ModelProto) -> None:
    model.opset_import[0].version = _extreme(rng)


_BREAKS = (_dimension, _tensor, _wiring, _operator, _attribute, _constant, _versions)


def outcomes(sandbox: Sandbox, models: Iterable[bytes]) -> tuple[Counter[str], list[bytes]]:
    """How often each outcome occurred, and the mutants that found a fault of the importer.

    A child process inspects many mutants (its start is expensive) and is replaced after any fault.
    """
    seen: Counter[str] = Counter()
    faults: list[bytes] = []
    for batch in batched(models, _BATCH):
        left = list(batch)
        while left:
            with sandbox.session(LIMITS) as child:
                left = _serve(child, left, seen, faults)
    return seen, faults


def _serve(
    child: Child, models: list[bytes], seen: Counter[str], faults: list[bytes]
) -> list[bytes]:
    """Inspects models until a fault; returns the remaining ones."""
    for position, data in enumerate(models):
        try:
            child.call("circuits.compiler.inspect:inspect_model", data)
            seen["read"] += 1
        except ModelError as error:
            seen[error.code] += 1
        except ZkmlError as error:
            seen[f"{_FAULT}{error.code}"] += 1
            faults.append(data)
            return models[position + 1 :]
    return []


def batched(models: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """The models in lists of at most ``size``."""
    source = iter(models)
    while batch := list(islice(source, size)):
        yield batch


def summary(seen: Counter[str], seed: int, machine: dict[str, Any]) -> str:
    """The report of a run: mutants, seed, and outcomes."""
    faults = sum(count for code, count in seen.items() if code.startswith(_FAULT))
    lines = [f"| {_spoken(code)} | {count} |\n" for code, count in seen.most_common()]
    return "\n".join(
        (
            "# Mutated models against the importer\n",
            f"{seen.total()} mutants of {len(_SEEDS)} models, seed {seed}: {faults} faults. Each"
            " may be read or refused; a fault is one that hangs, ends its child, takes more than"
            f" {LIMITS.memory_bytes >> 30} GiB or {LIMITS.deadline_s:g} s, or fails with anything"
            " but a model error.\n",
            f"`python -m benchmarks.fuzz_importer --count {seen.total()} --seed {seed}` gives the"
            f" same mutants. Commit {machine['commit']}; {machine['processor']},"
            f" {machine['cores']} cores, {machine['system']}.\n",
            "| outcome | mutants |\n|---|--:|\n" + "".join(lines),
        )
    )


def _spoken(code: str) -> str:
    if code == "read" or code.startswith(_FAULT):
        return code
    return f"refused: `{code}`"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", type=Path, help="folder for mutants that found a fault")
    arguments.add_argument("-o", "--output", type=Path, help="folder for summary.md")
    given = arguments.parse_args()
    seen, faults = outcomes(Sandbox(), mutants(seeds(), given.count, given.seed))
    for code, count in seen.most_common():
        print(f"{count:7d}  {code}")
    if given.output is not None:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "summary.md").write_text(summary(seen, given.seed, describe()))
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(faults):
            (given.keep / f"{number:04d}.onnx").write_bytes(data)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
