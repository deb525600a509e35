"""Small models that have circuits with committed hints, and their arrangements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.committed.arithmetic import InputSteps
from circuits.committed.arrangement import Arrangement
from circuits.format.commitments import Weights
from circuits.frontend.fixed_shapes import infer_shapes
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.rewrite.draft import Draft
from circuits.rewrite.unrolling import UNROLL_RECURRENT

MODELS = {
    "strided, padded, uneven": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [3, 2], pads = [1, 0, 2, 1], strides = [2, 3]>(x, k, kb)
      a = Relu(c) f = Flatten(a) y = Gemm(f, w, wb)
    }""",
    "dilated, grouped, pooled": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [2, 2], pads = [0, 0, 0, 0], strides = [1, 1], dilations = [2, 1],
               group = 2>(x, k, kb)
      a = Relu(c)
      p = AveragePool<kernel_shape = [2, 3], strides = [2, 3]>(a)
      f = Flatten(p) h = Gemm(f, u, ub) b = Relu(h) y = Gemm(b, w, wb)
    }""",
    "residual": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      a = Relu(c)
      d = Conv<kernel_shape = [5, 3], pads = [2, 1, 2, 1], strides = [1, 1]>(a, m, mb)
      s = Add(d, a)
      e = Relu(s)
      p = GlobalAveragePool(e)
      f = Flatten(p) y = Gemm(f, w, wb)
    }""",
}
#: Models whose circuits hold values that no ReLU follows, products of values, functions.
VALUES = {
    "linear layers in a row": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 3, 9, 7] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      y = Conv<kernel_shape = [5, 3], pads = [2, 1, 2, 1], strides = [1, 1]>(c, m, mb)
    }""",
    "normalised": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 3, 9, 7] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      a = Relu(c)
      n = BatchNormalization(a, gamma, beta, mean, variance)
      y = Conv<kernel_shape = [5, 3], pads = [2, 1, 2, 1], strides = [1, 1]>(n, m, mb)
    }""",
    "pieces of lines": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 3, 4, 3] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      a = LeakyRelu<alpha = 0.2>(c)
      d = Conv<kernel_shape = [5, 3], pads = [2, 1, 2, 1], strides = [1, 1]>(a, m, mb)
      e = Clip(d, low, high)
      y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(e)
    }""",
    "movement": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      a = Relu(c)
      t = Transpose<perm = [0, 3, 1, 2]>(a)
      n = Neg(t) j = Concat<axis = 1>(t, n)
      s = ReduceMax<axes = [2, 3], keepdims = 0>(j)
      y = MatMul(s, w)
    }""",
    "transposed": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4, 19, 14] y) {
      c = ConvTranspose<kernel_shape = [3, 2], strides = [2, 2], pads = [0, 0, 0, 0]>(x, k)
      y = Relu(c)
    }""",
    "attention": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 18, 4] y) {
      r = Reshape(x, shape)
      q = MatMul(r, w) k = MatMul(r, u) v = MatMul(r, m)
      t = Transpose<perm = [0, 2, 1]>(k)
      s = MatMul(q, t)
      p = Softmax<axis = -1>(s)
      y = MatMul(p, v)
    }""",
    "functions": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y, float[1, 4] z) {
      f = Flatten(x)
      c = Gemm(f, w, wb)
      s = Sigmoid(c) t = Tanh(c) m = Mul(s, t)
      y = MatMul(m, u)
      z = Mul(c, s)
    }""",
    "powers of e": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      f = Flatten(x)
      c = Gemm(f, w, wb)
      s = Mul(c, small)
      e = Exp(s)
      y = MatMul(e, u)
    }""",
    "a function beyond the table that another term brings back": """<ir_version: 8,
                                                                   opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      f = Flatten(x)
      c = Gemm(f, w, wb)
      s = Softplus(c) r = Relu(c)
      d = Sub(s, r)
      y = MatMul(d, u)
    }""",
    "recurrent": """<ir_version: 8, opset_import: ["" : 14]>
    g (float[1, 2, 9, 7] x) => (float[2, 1, 1, 2] y, float[1, 1, 2] z) {
      r = Reshape(x, sequence)
      l, a, c = LSTM<hidden_size = 2>(r, lw, lr, lb)
      s = Squeeze(l, second)
      y, z = GRU<hidden_size = 2>(s, gw, gr, gb)
    }""",
    "decisions": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y, int64[1, 1] z, float[1, 4] v) {
      f = Flatten(x)
      c = Gemm(f, w, wb) d = Gemm(f, m)
      g = Greater(c, d) n = Not(g) o = LessOrEqual(c, high) b = And(n, o)
      y = Where(b, c, d)
      z = ArgMax<axis = 1>(c)
      p = Cast<to = 1>(z) i = Sub(p, places) j = Abs(i) k = Sub(one, j) h = Relu(k)
      v = Mul(h, d)
    }""",
}
VALUE_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "linear layers in a row": {
        "k": (3, 2, 3, 3),
        "kb": (3,),
        "m": (3, 3, 5, 3),
        "mb": (3,),
    },
    "normalised": {
        "k": (3, 2, 3, 3),
        "kb": (3,),
        "gamma": (3,),
        "beta": (3,),
        "mean": (3,),
        "m": (3, 3, 5, 3),
        "mb": (3,),
    },
    "pieces of lines": {"k": (3, 2, 3, 3), "kb": (3,), "m": (3, 3, 5, 3), "mb": (3,)},
    "movement": {"k": (3, 2, 3, 3), "kb": (3,), "w": (14, 4)},
    "transposed": {"k": (2, 4, 3, 2)},
    "attention": {"w": (7, 4), "u": (7, 4), "m": (7, 4)},
    "functions": {"w": (126, 4), "wb": (4,), "u": (4, 4)},
    "powers of e": {"w": (126, 4), "wb": (4,), "u": (4, 4)},
    "a function beyond the table that another term brings back": {
        "w": (126, 4),
        "wb": (4,),
        "u": (4, 4),
    },
    "recurrent": {
        "lw": (1, 8, 63),
        "lr": (1, 8, 2),
        "lb": (1, 16),
        "gw": (1, 6, 2),
        "gr": (1, 6, 2),
        "gb": (1, 12),
    },
    "decisions": {"w": (126, 4), "wb": (4,), "m": (126, 4)},
    "trees": {"levels": (6,), "w": (12, 4)},
}
EVERY = MODELS | VALUES
#: Models with functions that a second table has, and its operator.
TABLES = (("functions", "Tanh"), ("recurrent", "Tanh"), ("powers of e", "Exp"))
#: Elements of the input that are compared with constants as they come, and ones that flow by these.
TREES = {
    "trees": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y, float[1, 6] z) {
      f = Flatten(x)
      t = Gather<axis = 1>(f, tested) g = Greater(t, levels) b = Cast<to = 1>(g)
      s = LessOrEqual(t, levels) n = Cast<to = 1>(s)
      r = Gather<axis = 1>(b, first) k = Gather<axis = 1>(n, second)
      a = Mul(r, k) c = Sub(r, a)
      m = Gather<axis = 1>(b, third) d = Mul(c, m) e = Sub(c, d)
      h = Mul(e, k)
      z = Concat<axis = 1>(a, d, h)
      l = Concat<axis = 1>(a, d, e, b) y = MatMul(l, w)
    }""",
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "strided, padded, uneven": {"k": (3, 2, 3, 2), "kb": (3,), "w": (45, 4), "wb": (4,)},
    "dilated, grouped, pooled": {
        "k": (4, 1, 2, 2),
        "kb": (4,),
        "u": (24, 5),
        "ub": (5,),
        "w": (5, 4),
        "wb": (4,),
    },
    "residual": {
        "k": (3, 2, 3, 3),
        "kb": (3,),
        "m": (3, 3, 5, 3),
        "mb": (3,),
        "w": (3, 4),
        "wb": (4,),
    },
}


def model(name: str) -> bytes:
    rng = np.random.default_rng(5)
    made = parser.parse_model((EVERY | TREES)[name])
    for tensor, shape in (SHAPES | VALUE_SHAPES)[name].items():
        values = rng.normal(size=shape).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, tensor))
    constants = {
        "low": np.float32(-1),
        "high": np.float32(2),
        "one": np.float32(1),
        "small": np.float32(0.03),
        "places": np.arange(4, dtype=np.float32),
        "shape": np.array([1, 18, 7]),
        "sequence": np.array([2, 1, 63]),
        "second": np.array([1]) if name in EVERY else np.array([2, 3]),
        "tested": np.array([0, 17, 17, 60, 99, 125]),
        "first": np.array([0, 1]),
        "third": np.array([4, 5]),
        "variance": np.array([0.5, 1, 2], dtype=np.float32),
    }
    used = {operand for node in made.graph.node for operand in node.input}
    for tensor in sorted(used & {*constants}):
        array = np.asarray(constants[tensor])
        made.graph.initializer.append(numpy_helper.from_array(array, tensor))
    if name == "recurrent":  # no circuit is read from such layers: they are written step by step
        draft = Draft(infer_shapes(made))
        draft.run(UNROLL_RECURRENT)
        made = draft.model
    return bytes(made.SerializeToString())


def inputs(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(-1, 1, (count, 1, 2, 9, 7)).astype(np.float32)


def rows(x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    return [x.reshape(len(x), -1).astype(np.float64)]


def quantised(arrangement: Arrangement, x: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    scaled = np.ldexp(rows(x)[0], arrangement.steps.inputs[0].scale)
    return [np.rint(scaled).astype(np.int64)]


def arranged(
    name: str = "residual",
    *,
    shown: bool = False,
    logrows: int = 10,
    base: int = 256,
    weights: Weights = Weights.SEALED,
    function: str | None = None,
) -> Arrangement:
    read = read_network(model(name))
    digit = base.bit_length() - 1
    finer = digit if name in TREES else 0
    scale = digit + finer - 2
    steps = choose_steps(
        read,
        responses(read.network, rows(inputs(20))).extents,
        base=base,
        logrows=logrows,
        inputs=[InputSteps(scale=scale, offset=1 << scale, finer=finer)],
        margin=2.0,
        function=function,
        packs=weights is Weights.SEALED,
        largest_weight=base // 2 - 1 if weights is Weights.PRIVATE else None,
    )
    check_steps(read, steps)
    integers = integer_network(read, steps)
    names = [f"y{n}" for n in range(len(integers.outputs))]
    made = write_circuit(integers, steps, shown=shown, columns=1, results=names, weights=weights)
    return made.arrangement
