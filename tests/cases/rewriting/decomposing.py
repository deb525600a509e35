"""Passes that take operators apart into simpler ones."""

from __future__ import annotations

from tests.cases.rewriting.case import IMAGE, KERNEL, X2, X4, Case

CASES: dict[str, Case] = {
    "simplify-algebra": Case(
        "l = ReduceLogSumExp<axes = [1]>(x) d = Sub(x, l) y = Exp(d)",
        X4,
        """
        y = Softmax<axis = -1>(x)
        """,
    ),
    "decompose-quantisation": Case(
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)",
        X4,
        """
        t1 = Div(x, {0.1})
        t2 = Round(t1)
        t3 = Add(t2, {120})
        t4 = Clip(t3, {0}, {255})
        t5 = Sub(t4, {120})
        y = Mul(t5, {0.1})
        """,
        "<float s = {0.1}, uint8 z = {120}>",
    ),
    "expand-composites": Case(
        "y = Gelu(x)",
        X4,
        """
        t1 = Mul(x, {0.5})
        t2 = Mul(x, {0.7071})
        t3 = Erf(t2)
        t4 = Add(t3, {1})
        y = Mul(t1, t4)
        """,
        opset=20,
    ),
    "fill-defaults": Case(
        "y = Conv(x, w)",
        IMAGE,
        """
        y = Conv<dilations = [1, 1], kernel_shape = [2, 2], pads = [0, 0, 0, 0], strides = [1, 1]>(x, float32[2, 2, 2, 2])
        """,  # noqa: E501
        KERNEL,
    ),
    "unroll-recurrent": Case(
        "y, h = RNN<hidden_size = 1, clip = 2.0>(x, w, r)",
        "float[2, 1, 2] x",
        """
        t1 = Gather<axis = 0>(x, {0})
        t2 = MatMul(t1, {0.5, -1})
        t3 = Add(t2, {0})
        t4 = MatMul({0}, {0.25})
        t5 = Add(t4, {0})
        t6 = Add(t3, t5)
        t7 = Clip(t6, {-2}, {2})
        t8 = Tanh(t7)
        t9 = Gather<axis = 0>(x, {1})
        t10 = MatMul(t9, {0.5, -1})
        t11 = Add(t10, {0})
        t12 = MatMul(t8, {0.25})
        t13 = Add(t12, {0})
        t14 = Add(t11, t13)
        t15 = Clip(t14, {-2}, {2})
        t16 = Tanh(t15)
        t17 = Unsqueeze(t8, {0, 1})
        t18 = Unsqueeze(t16, {0, 1})
        y = Concat<axis = 0>(t17, t18)
        """,
        "<float[1, 1, 2] w = {0.5, -1}, float[1, 1, 1] r = {0.25}>",
    ),
    "decompose-padding": Case(
        'y = Pad<mode = "reflect">(x, p)',
        X4,
        """
        y = Gather<axis = 1>(x, {1, 0, 1, 2, 3, 2, 1})
        """,
        "<int64[4] p = {0, 1, 0, 2}>",
    ),
    "decompose-pooling": Case(
        "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)",
        IMAGE,
        """
        t1 = Gather<axis = 2>(x, int64[9])
        t2 = Gather<axis = 3>(t1, int64[9])
        y = MaxPool<dilations = [1, 1], kernel_shape = [3, 3], pads = [0, 0, 0, 0], strides = [3, 3]>(t2)
        """,  # noqa: E501
    ),
    "decompose-convolutions": Case(
        "y = Conv<dilations = [2, 3]>(x, w)",
        IMAGE,
        """
        y = Conv<dilations = [1, 1], kernel_shape = [3, 4]>(x, float32[2, 2, 3, 4])
        """,
        KERNEL,
    ),
    "decompose-resize": Case(
        'y = Resize<mode = "linear">(x, , s)',
        IMAGE,
        """
        t1 = Transpose<perm = [0, 1, 3, 2]>(x)
        t2 = MatMul(t1, float32[5, 10])
        t3 = Transpose<perm = [0, 1, 3, 2]>(t2)
        y = MatMul(t3, float32[5, 7])
        """,
        "<float[4] s = {1, 1, 2, 1.5}>",
    ),
    "decompose-powers": Case(
        "a = Abs(x) b = Exp(a) y = Pow(b, p)",
        X4,
        """
        a = Abs(x)
        b = Exp(a)
        t1 = Pow(b, {2})
        y = Reciprocal(t1)
        """,
        "<float[1] p = {-2}>",
    ),
    "decompose-integer-arithmetic": Case(
        "i = Cast<to = 7>(x) y = Cast<to = 1>(i)",
        X4,
        """
        t1 = Relu(x)
        t2 = Floor(t1)
        t3 = Neg(x)
        t4 = Relu(t3)
        t5 = Floor(t4)
        t6 = Sub(t2, t5)
        i = Cast<to = 7>(t6)
        y = Cast<to = 1>(i)
        """,
    ),
    "decompose-selection": Case(
        "v, i = TopK<axis = 1>(x, k) y = Cast<to = 1>(i)",
        X2,
        """
        t1 = Reshape(x, {1, 2})
        t2 = Gather<axis = 1>(t1, {0})
        t3 = Gather<axis = 1>(t1, {1})
        t4 = Greater(t3, t2)
        t5 = Cast<to = 1>(t4)
        t6 = MatMul(t5, {1, -1})
        t7 = Add(t6, {0, 1})
        t8 = Reshape(t7, {1, 2, 1})
        t9 = Sub(t8, {0})
        t10 = Abs(t9)
        t11 = Sub({1}, t10)
        t12 = Relu(t11)
        t13 = Mul(t12, {0, 1})
        t14 = ReduceSum<keepdims = 0>(t13, {1})
        t15 = Cast<to = 7>(t14)
        i = Reshape(t15, {1, 1})
        y = Cast<to = 1>(i)
        """,
        "<int64[1] k = {1}>",
    ),
    "legalize-minmax": Case(
        "y = Max(x, c)",
        X4,
        """
        t1 = Sub(x, {0.5, 0.1, -0.5, 0})
        t2 = Relu(t1)
        y = Add({0.5, 0.1, -0.5, 0}, t2)
        """,
        "<float[4] c = {0.5, 0.1, -0.5, 0}>",
    ),
    "decompose-cumsum": Case(
        "y = CumSum<exclusive = 1>(x, a)",
        X4,
        """
        y = MatMul(x, float32[4, 4])
        """,
        "<int64 a = {1}>",
    ),
    "decompose-broadcasts": Case(
        "y = Expand(x, s)",
        X4,
        """
        t1 = Reshape(x, {1, 1, 4})
        y = Expand(t1, {2, 3, 4})
        """,
        "<int64[3] s = {2, 3, 4}>",
    ),
}
