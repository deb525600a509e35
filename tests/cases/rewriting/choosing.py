"""Passes about elements that are chosen, by comparisons or places, and the last passes."""

from __future__ import annotations

from tests.cases.rewriting.case import X4, Case

CASES: dict[str, Case] = {
    "guard-branches": Case(
        "o = Div(x, x) z = Sub(x, x) l = Less(x, z) u = Add(x, o) p = Pow(u, k) d = Sub(p, o)"
        " q = Div(d, k) i = ai.onnx.ml.Imputer<imputed_value_floats = [0.0],"
        " replaced_value_float = nan>(q) n = Not(l) c = Cast<to = 1>(n) y = Mul(i, c)",
        X4,
        """
        t1 = Relu(x)
        t2 = Add(t1, {1})
        t3 = Log(t2)
        t4 = Mul(t3, {0.5, -1.5, 0.25, 2.5})
        t5 = Exp(t4)
        t6 = Sub(t5, {1})
        y = Div(t6, {0.5, -1.5, 0.25, 2.5})
        """,
        "<float[4] k = {0.5, -1.5, 0.25, 2.5}>",
        domains='"ai.onnx.ml" : 3',
    ),
    "drop-index-masks": Case(
        "m = Less(x, r) i = Where(m, a, b) g = Gather(w, i) h = Cast<to = 1>(m) p = Mul(g, h)"
        " y = ReduceSum(p)",
        "float[1, 2] x",
        """
        m = Less(x, {0.5})
        h = Cast<to = 1>(m)
        p = Mul({2, 3}, h)
        y = ReduceSum(p)
        """,
        "<float r = {0.5}, int64[1, 2] a = {0, 1}, int64[1, 2] b = {-1, -1},"
        " float[3] w = {2, 3, 5}>",
    ),
    "wrap-feature-indices": Case(
        "i = Cast<to = 7>(x) g = ai.onnx.ml.ArrayFeatureExtractor(w, i) y = Relu(g)",
        "float[1, 2] x",
        """
        i = Cast<to = 7>(x)
        t1 = Reshape(i, {-1})
        t2 = Gather<axis = 0>({2, 3, 5}, t1)
        g = Reshape(t2, {1, -1})
        y = Relu(g)
        """,
        "<float[3] w = {2, 3, 5}>",
        domains='"ai.onnx.ml" : 3',
    ),
    "sum-nearest": Case(
        "v, i = TopK<axis = 1, largest = 0>(x, k) c = Gather(w, i)"
        " y = ReduceMean<axes = [1], keepdims = 0>(c)",
        X4,
        """
        t1 = Gather<axis = 1>(x, {0, 2})
        t2 = Gather<axis = 1>(x, {1, 3})
        t3 = Min(t1, t2)
        t4 = Max(t1, t2)
        t5 = Concat<axis = 1>(t3, t4)
        t6 = Gather<axis = 1>(t5, {0, 2})
        t7 = Gather<axis = 1>(t5, {3, 1})
        t8 = Min(t6, t7)
        t9 = Gather<axis = 1>(t8, {0})
        t10 = Gather<axis = 1>(t8, {1})
        t11 = Max(t9, t10)
        t12 = Less(x, t11)
        t13 = Greater(x, t11)
        t14 = Cast<to = 1>(t12)
        t15 = Cast<to = 1>(t13)
        t16 = ReduceSum<keepdims = 1>(t14, {1})
        t17 = Add(t14, t15)
        t18 = Reshape(t17, {2, 2})
        t19 = MatMul(t18, {1, 1, 0, 1})
        t20 = Gather<axis = 1>(t19, {1})
        t21 = MatMul({0, 0, 1, 0}, t20)
        t22 = Add(t19, t21)
        t23 = Reshape(t22, {1, 4})
        t24 = Gather<axis = 1>(t23, {0, 1, 2, 3})
        t25 = Sub({1, 2, 3, 4}, t24)
        t26 = Add(t25, t16)
        t27 = Mul(t14, {4})
        t28 = Mul(t15, {8})
        t29 = Sub(t28, t27)
        t30 = Add(t26, t29)
        t31 = Less(t30, {3})
        t32 = Cast<to = 1>(t31)
        t33 = Mul(t32, {0.5})
        t34 = Mul({1, 2, 4, 8}, t33)
        y = ReduceSum<keepdims = 0>(t34, {1})
        """,
        "<int64[1] k = {2}, float[4] w = {1, 2, 4, 8}>",
    ),
    "recover-trees": Case(
        "c = LessOrEqual(x, t) f = Cast<to = 1>(c) m = MatMul(f, p) e = Equal(m, d)"
        " y = Cast<to = 1>(e)",
        X4,
        """
        c = LessOrEqual(x, {0.5})
        f = Cast<to = 1>(c)
        t1 = Reshape(f, {1, 4})
        t2 = Cast<to = 1>(t1)
        t3 = Gather<axis = 1>(t2, {0})
        t4 = Sub({1}, t3)
        t5 = Concat<axis = 1>(t3, t4)
        t6 = Gather<axis = 1>(t5, {1})
        t7 = Gather<axis = 1>(t5, {0})
        t8 = Gather<axis = 1>(t2, {1})
        t9 = Mul(t7, t8)
        t10 = Sub(t7, t9)
        t11 = Concat<axis = 1>(t9, t10)
        t12 = Gather<axis = 1>(t11, {0, 1})
        t13 = Concat<axis = 1>(t6, t12)
        t14 = Gather<axis = 1>(t13, {1, 2, 0})
        y = Reshape(t14, {1, 3})
        """,
        "<float t = {0.5}, float[4, 3] p = {1, 1, -1, 1, -1, 0, 0, 0, 0, 0, 0, 0},"
        " float[3] d = {2, 1, 0}>",
    ),
    "decompose-scatter": Case(
        "a = Tanh(x) i = Cast<to = 7>(a) y = ScatterElements<axis = 1>(x, i, a)",
        "float[1, 1] x",
        """
        a = Tanh(x)
        i = Cast<to = 7>(a)
        t1 = Less(i, {0})
        t2 = Add(i, {1})
        t3 = Where(t1, t2, i)
        t4 = Slice(t3, {0}, {1}, {1})
        t5 = Equal(t4, {0})
        t6 = Slice(a, {0}, {1}, {1})
        y = Where(t5, t6, x)
        """,
    ),
    "rescale-booleans": Case(
        "r = Round(x) e = Equal(r, c) y = Cast<to = 1>(e)",
        X4,
        """
        r = Round(x)
        t1 = Equal(r, {1})
        t2 = Not(t1)
        e = Not(t2)
        y = Cast<to = 1>(e)
        """,
        "<float c = {1}>",
    ),
    "wrap-indices": Case(
        "y = Gather<axis = 1>(x, i)",
        X4,
        """
        y = Gather<axis = 1>(x, {3, 2})
        """,
        "<int64[2] i = {-1, -2}>",
    ),
    "fold-leftovers": Case(
        "a = Pow(c, p) y = Mul(x, a)",
        X4,
        """
        y = Mul(x, {0.25})
        """,
        "<float[1] c = {2}, float[1] p = {-2}>",
    ),
    "lower-opset": Case(
        "y = Relu(x)",
        X4,
        """
        opset 24
        y = Relu(x)
        """,
        opset=26,
        ir=13,
    ),
    "widen-integers": Case(
        "i = Cast<to = 3>(x) m = MatMul(i, w) y = Cast<to = 1>(m)",
        X4,
        """
        i = Cast<to = 6>(x)
        m = MatMul(i, {1, 2, 3, 4})
        y = Cast<to = 1>(m)
        """,
        "<int8[4, 1] w = {1, 2, 3, 4}>",
    ),
}
