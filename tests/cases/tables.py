"""Small models with functions that the circuit has as tables."""

from __future__ import annotations

from tests.cases.integers import VECTOR, graph

DENSE = {"w": [6, 5], "b": [5]}

TABLED: dict[str, bytes] = {
    "sigmoid at the end": graph("a = Gemm(x, w, b) y = Sigmoid(a)", VECTOR, DENSE),
    "sigmoid and tanh inside": graph(
        "a = Gemm(x, w, b) s = Sigmoid(a) c = MatMul(s, w2) t = Tanh(c) y = MatMul(t, w3)",
        VECTOR,
        DENSE | {"w2": [5, 4], "w3": [4, 2]},
    ),
    "softmax": graph(
        "a = Gemm(x, w, b) r = Relu(a) c = MatMul(r, w2) y = Softmax<axis = -1>(c)",
        VECTOR,
        DENSE | {"w2": [5, 4]},
    ),
    "softmax, log-softmax over channels": graph(
        "c = Conv<strides = [2, 2]>(x, w) s = Softmax<axis = 1>(c) l = LogSoftmax<axis = 1>(c)"
        " y = Add(s, l)",
        "float[1, 2, 6, 6] x",
        {"w": [3, 2, 3, 3]},
    ),
    "products of tables": graph(
        "a = MatMul(x, w) s = Sigmoid(a) t = Tanh(a) p = Mul(s, t) q = Mul(p, p) y = Sub(q, a)",
        VECTOR,
        {"w": [6, 5]},
    ),
    "erf, swish": graph(
        "a = MatMul(x, w) e = Erf(a) g = Mul(a, e) s = Sigmoid(a) h = Mul(a, s) y = Add(g, h)",
        VECTOR,
        {"w": [6, 5]},
    ),
    "attention": graph(
        "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) t = Transpose<perm = [1, 0]>(k)"
        " s = MatMul(q, t) p = Softmax<axis = -1>(s) y = MatMul(p, v)",
        "float[4, 6] x",
        {"wq": [6, 3], "wk": [6, 3], "wv": [6, 3]},
    ),
    "exp, log": graph(
        "a = MatMul(x, w) e = Exp(a) s = Add(e, v) y = Log(s)", VECTOR, {"w": [6, 5], "v": [5]}
    ),
    "comparison of what came from a table": graph(
        "a = MatMul(x, w) s = Sigmoid(a) g = Greater(s, v) c = Cast<to = 1>(g) y = Sub(a, c)",
        VECTOR,
        {"w": [6, 5], "v": [5]},
    ),
}
