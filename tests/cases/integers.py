"""Small models whose every value is an integer in the circuit, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.calibration.samples import Sample
from circuits.format.tensors import quantised
from circuits.lower import GraphVariant, run_integers
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run

Array = NDArray[Any]

BOUND = {"x": (-1.0, 1.0)}


def graph(body: str, inputs: str, weights: dict[str, list[int]], seed: int = 3) -> bytes:
    """A rewritten model with random weights of the given shapes."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float y) {{ {body} }}'
    model = parser.parse_model(text)
    rng = np.random.default_rng(seed)
    for name, shape in weights.items():
        if name.startswith("i"):
            values: Array = np.array(shape, dtype=np.int64)
        else:
            values = rng.normal(0, 0.5, shape).astype(np.float32)
            values = np.abs(values) + 0.5 if name.startswith("v") else values
            values = np.where(rng.random(shape) < 0.7, 0, values) if name == "sparse" else values
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return rewrite(model.SerializeToString()).onnx


IMAGE = "float[1, 2, 6, 6] x"

CONV = {"w": [3, 2, 3, 3], "b": [3]}

VECTOR = "float[1, 6] x"

MODELS: dict[str, bytes] = {
    "mlp": graph(
        "a = Gemm(x, w, b) r = Relu(a) y = MatMul(r, w2)",
        VECTOR,
        {"w": [6, 5], "b": [5], "w2": [5, 3]},
    ),
    "conv, norm, max pool": graph(
        "a = Conv<pads = [1, 1, 1, 1], strides = [1, 1]>(x, w, b)"
        " n = BatchNormalization(a, g, h, m, v) r = Relu(n)"
        " p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r) f = Flatten(p) y = MatMul(f, z)",
        IMAGE,
        CONV | {"g": [3], "h": [3], "m": [3], "v": [3], "z": [27, 4]},
    ),
    "depthwise": graph(
        "a = Conv<group = 2, strides = [2, 2]>(x, w) c = LeakyRelu<alpha = 0.1>(a) y = Conv(c, k)",
        IMAGE,
        {"w": [2, 1, 3, 3], "k": [4, 2, 1, 1]},
    ),
    "residual": graph(
        "a = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(r, k)"
        " s = Add(x, c) q = Relu(s) y = GlobalAveragePool(q)",
        IMAGE,
        {"w": [2, 2, 3, 3], "k": [2, 2, 3, 3]},
    ),
    "transposed": graph(
        "a = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w) r = Relu(a)"
        " t = Transpose<perm = [0, 2, 3, 1]>(r) y = ReduceMean<axes = [1, 2]>(t)",
        IMAGE,
        {"w": [2, 3, 3, 3]},
    ),
    "average, concat": graph(
        "a = Conv(x, w, b) p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(a)"
        " n = Neg(p) c = Concat<axis = 1>(p, n) r = Relu(c) f = Flatten(r) y = MatMul(f, z)",
        IMAGE,
        CONV | {"z": [24, 2]},
    ),
    "branches of unequal depth": graph(
        "a = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(r, k)"
        " d = Conv<pads = [1, 1, 1, 1]>(c, k) j = Concat<axis = 1>(r, d) y = Conv(j, z)",
        IMAGE,
        {"w": [2, 2, 3, 3], "k": [2, 2, 3, 3], "z": [2, 4, 3, 3]},
    ),
    "attention without softmax": graph(
        "q = MatMul(x, w) k = MatMul(x, u) t = Transpose<perm = [0, 2, 1]>(k)"
        " s = MatMul(q, t) r = Relu(s) y = MatMul(r, x)",
        "float[1, 4, 3] x",
        {"w": [3, 3], "u": [3, 3]},
    ),
    "squares": graph("a = MatMul(x, w) s = Mul(a, a) y = Sub(s, x)", VECTOR, {"w": [6, 6]}),
    "hard swish": graph(
        "a = MatMul(x, w) h = HardSwish(a) s = HardSigmoid(a) y = Mul(h, s)", VECTOR, {"w": [6, 6]}
    ),
    "comparisons": graph(
        "g = Greater(x, t) l = LessOrEqual(x, u) p = Less(x, u) q = GreaterOrEqual(x, p1)"
        " a = Cast<to = 1>(g) b = Cast<to = 1>(l) c = Cast<to = 1>(p) d = Cast<to = 1>(q)"
        " s = Concat<axis = 1>(a, b, c, d) m = MatMul(s, sparse) h = Greater(m, t)"
        " e = Cast<to = 1>(h) y = MatMul(e, w)",
        VECTOR,
        {"t": [6], "u": [6], "p1": [6], "sparse": [24, 6], "w": [6, 3]},
    ),
    "stack of matrices": graph(
        "r = Reshape(x, i) m = MatMul(r, w) h = Relu(m) y = MatMul(h, z)",
        "float[1, 12] x",
        {"i": [2, 2, 3], "w": [2, 3, 4], "z": [2, 4, 3]},
    ),
    "other children": graph(
        "d = MatMul(x, w) c = Greater(x, t) e = Cast<to = 1>(c) m = Mul(d, e) r = Sub(d, m)"
        " h = Relu(r) g = Greater(t, x) f = Cast<to = 1>(g) n = Mul(r, f) o = Sub(r, n)"
        " k = Relu(o) s = Add(h, k) y = MatMul(s, z)",
        VECTOR,
        {"t": [6], "w": [6, 6], "z": [6, 3]},
    ),
    "choices": graph(
        "c = Greater(x, t) d = MatMul(x, w) k = Where(c, d, x) p = Where(c, k, u)"
        " q = Where(c, t, p) b = Less(t, u) m = Where(b, q, d) n = Where(b, u, m) y = MatMul(n, z)",
        VECTOR,
        {"t": [6], "u": [6], "w": [6, 6], "z": [6, 3]},
    ),
    "one-dimensional": graph(
        "a = Conv<dilations = [2], pads = [2, 2]>(x, w) y = Relu(a)",
        "float[1, 2, 9] x",
        {"w": [3, 2, 3]},
    ),
}


def inputs_of(data: bytes, count: int = 24) -> Array:
    shape = [
        d.dim_value
        for d in onnx.load_model_from_string(data).graph.input[0].type.tensor_type.shape.dim
    ]
    return np.random.default_rng(5).uniform(-1, 1, (count, *shape)).astype(np.float32)


def answers(data: bytes, x: Array) -> Array:
    return np.stack([r[0] for r in run(data, [{"x": s} for s in x])])


def decoded(variant: GraphVariant, x: Array) -> Array:
    out = run_integers(variant, {"x": quantised(x, variant.input_scales[0])})[0]
    return np.ldexp(out.astype(np.float64), -variant.output_scales[0])


def outputs_of(variant: GraphVariant, samples: Sequence[Sample]) -> list[list[Array]]:
    """Each sample's outputs as the circuit computes them."""
    scales = zip(samples[0], variant.input_scales, strict=True)
    feeds = {n: quantised(np.stack([s[n] for s in samples]), k) for n, k in scales}
    columns = [
        np.ldexp(np.asarray(o, dtype=np.float64), -k)
        for o, k in zip(run_integers(variant, feeds), variant.output_scales, strict=True)
    ]
    return [[column[i] for column in columns] for i in range(len(samples))]
