"""Passes that read what exporters and other libraries write, and fold constants."""

from __future__ import annotations

from tests.cases.rewriting.case import X2, X4, Case

CASES: dict[str, Case] = {
    "lower-quantised-operators": Case(
        "q = QuantizeLinear(x, s, z) r = com.microsoft.QLinearAdd(q, s, z, q, s, z, t, z)"
        " y = DequantizeLinear(r, t, z)",
        X4,
        """
        q = QuantizeLinear(x, {0.05}, {120})
        t1 = DequantizeLinear(q, {0.05}, {120})
        t2 = DequantizeLinear(q, {0.05}, {120})
        t3 = Add(t1, t2)
        r = QuantizeLinear(t3, {0.1}, {120})
        y = DequantizeLinear(r, {0.1}, {120})
        """,
        "<float s = {0.05}, uint8 z = {120}, float t = {0.1}>",
        domains='"com.microsoft" : 1',
    ),
    "convert-opset": Case(
        "u = Unsqueeze<axes = [0]>(x) y = Relu(u)",
        X4,
        """
        opset 17
        t1 = Constant<value = {0}>()
        u = Unsqueeze(x, t1)
        y = Relu(u)
        """,
        opset=11,
    ),
    "encode-categories": Case(
        'c = ai.onnx.ml.LabelEncoder<keys_strings = ["a", "b"], values_floats = [2.5, 4.0],'
        " default_float = 1.0>(x) y = Relu(c)",
        "string[1, 2] x",
        """
        t1 = Cast<to = 1>(x)
        t2 = Unsqueeze(t1, {-1})
        t3 = Equal(t2, {0, 1, 2})
        t4 = Cast<to = 1>(t3)
        t5 = MatMul(t4, {2.5, 4, 1})
        t6 = Squeeze(t5, {-1})
        c = Add(t6, {0})
        y = Relu(c)
        """,
        domains='"ai.onnx.ml" : 3',
    ),
    "mask-missing": Case(
        "n = IsNaN(x) w = Where(n, z, x) y = Relu(w)",
        X4,
        """
        x/given = Identity(x)
        n = Identity(x/missing)
        w = Where(n, {1.5}, x/given)
        y = Relu(w)
        """,
        "<float z = {1.5}>",
    ),
    "drop-training": Case(
        "d = Dropout(x) y = Relu(d)",
        X4,
        """
        d = Identity(x)
        y = Relu(d)
        """,
    ),
    "drop-dynamic-quantisation": Case(
        "q, s, z = DynamicQuantizeLinear(x) p = MatMulInteger(q, w, z, o) f = Cast<to = 1>(p)"
        " y = Mul(f, s)",
        X4,
        """
        f = MatMul(x, {2, -1, 0, 1})
        y = Mul(f, {1})
        """,
        "<uint8[4, 1] w = {5, 2, 3, 4}, uint8 o = {3}>",
    ),
    "expand-functions": Case(
        "a = CastLike(k, x) y = Mul(x, a)",
        X4,
        """
        a = Cast<to = 1>({1, 2, 3, 4})
        y = Mul(x, a)
        """,
        "<int64[4] k = {1, 2, 3, 4}>",
    ),
    "fold-leaves": Case(
        """
        c = Gather<axis = 1>(x, i)
        s = ai.onnx.ml.TreeEnsembleRegressor<n_targets = 1, nodes_falsenodeids = [2, 0, 0],
          nodes_featureids = [0, 0, 0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"],
          nodes_nodeids = [0, 1, 2], nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0],
          nodes_values = [0.5, 0.0, 0.0], target_ids = [0, 0], target_nodeids = [1, 2],
          target_treeids = [0, 0], target_weights = [1.0, 2.0]>(c)
        t = ai.onnx.ml.TreeEnsembleRegressor<n_targets = 1, nodes_falsenodeids = [2, 0, 0],
          nodes_featureids = [0, 0, 0], nodes_modes = ["BRANCH_LT", "LEAF", "LEAF"],
          nodes_nodeids = [0, 1, 2], nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0],
          nodes_values = [0.0, 0.0, 0.0], target_ids = [0, 0], target_nodeids = [1, 2],
          target_treeids = [0, 0], target_weights = [4.0, 8.0]>(x)
        l = Log(s)
        d = Mul(l, k)
        g = Cast<to = 7>(s)
        e = ai.onnx.ml.LabelEncoder<keys_int64s = [1, 2], values_floats = [10.0, 20.0]>(g)
        f = Add(d, e)
        y = Sum(f, t)
        """,
        X2,
        "y = ai.onnx.ml.TreeEnsembleRegressor<n_targets = 1, "
        "nodes_falsenodeids = [2, 0, 0, 2, 0, 0], nodes_featureids = [1, 1, 1, 0, 0, 0], "
        'nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"], '
        "nodes_nodeids = [0, 1, 2, 0, 1, 2], nodes_treeids = [0, 0, 0, 1, 1, 1], "
        "nodes_truenodeids = [1, 0, 0, 1, 0, 0], nodes_values = [0.5, 0, 0, 0, 0, 0], "
        "target_ids = [0, 0, 0, 0], target_nodeids = [1, 2, 1, 2], "
        "target_treeids = [0, 0, 1, 1], target_weights = [10, 20.69, 4, 8]>(x)",
        "<int64[1] i = {1}, float k = {1}>",
        domains='"ai.onnx.ml" : 3',
    ),
    "lower-estimators": Case(
        "y = ai.onnx.ml.LinearRegressor<coefficients = [0.5, -1.5], intercepts = [0.25]>(x)",
        X2,
        """
        t1 = MatMul(x, {0.5, -1.5})
        y = Add(t1, {0.25})
        """,
        domains='"ai.onnx.ml" : 1',
    ),
    "fold-constants": Case(
        "s = Shape(x) a = Reshape(x, s) b = Add(c, c) y = Mul(a, b)",
        X4,
        """
        y = Mul(x, {3})
        """,
        "<float c = {1.5}>",
    ),
}
