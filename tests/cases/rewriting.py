"""A small case for each pass: the graph before and after.

Graphs stand in ONNX's own text. After a pass its new values are called ``t1``, ``t2``, …, small
constants stand where they are used, and of larger ones only the type and the shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from circuits.frontend.fixed_shapes import bind_shapes, infer_shapes
from circuits.frontend.inputs import plain_inputs
from circuits.rewrite.draft import Draft
from circuits.rewrite.edit import Pass

X2 = "float[1, 2] x"
X4 = "float[N, 4] x"
IMAGE = "float[1, 2, 5, 5] x"
KERNEL = "<float[2, 2, 2, 2] w = {1,2,3,4,5,6,7,8,1,-2,3,-4,5,-6,7,-8}>"
#: Of more values than these, a graph's text shows only type and shape.
_SHOWN = 8


def graph(
    body: str, inputs: str, weights: str = "", opset: int = 17, domains: str = "", ir: int = 8
) -> bytes:
    """A model whose output is ``y``. ``domains``: further operator sets, ``"name" : version``."""
    opsets = f'"" : {opset}' + (f", {domains}" if domains else "")
    text = (
        f"<ir_version: {ir}, opset_import: [{opsets}]> g ({inputs}) => (float y)"
        f" {weights} {{ {body} }}"
    )
    return bytes(parser.parse_model(text).SerializeToString())


def samples(data: bytes, low: float = -3.0, high: float = 3.0) -> list[dict[str, np.ndarray]]:
    """Of ``x``, and of its mask where values may be missing; a text is one of the first two."""
    rng = np.random.default_rng(7)
    model = onnx.load_model_from_string(data)
    plain_inputs(model)
    value, *masks = model.graph.input
    shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        return [{"x": rng.integers(0, 2, shape)} for _ in range(8)]
    drawn: list[dict[str, np.ndarray]]
    drawn = [{"x": rng.uniform(low, high, shape).astype(np.float32)} for _ in range(8)]
    for mask in masks:
        for sample in drawn:
            sample[mask.name] = rng.random(shape) < 0.3
            sample["x"][sample[mask.name]] = 0
    return drawn


@dataclass(frozen=True)
class Case:
    """A graph, and the nodes that a pass alone leaves in it."""

    before: str
    inputs: str
    expected: str
    weights: str = ""
    opset: int = 17
    domains: str = ""
    ir: int = 8

    @property
    def model(self) -> bytes:
        return graph(self.before, self.inputs, self.weights, self.opset, self.domains, self.ir)

    @property
    def nodes(self) -> str:
        return dedent(self.expected).strip()


def after(step: Pass, data: bytes) -> str:
    """The nodes of a model after one pass, a line each."""
    model = onnx.load_model_from_string(data)
    plain_inputs(model)
    bind_shapes(model, None)
    draft = Draft(infer_shapes(model))
    draft.run(step)
    written = draft.model
    was, now = (m.opset_import[0].version for m in (model, written))
    kept = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return (f"opset {now}\n" if was != now else "") + _nodes(written, kept)


def _nodes(model: onnx.ModelProto, kept: set[str]) -> str:
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    named: dict[str, str] = {}

    def value(name: str) -> str:
        if name in constants:
            return _constant(constants[name])
        return name if name in kept else named.setdefault(name, f"t{len(named) + 1}")

    lines = []
    for node in model.graph.node:
        attributes = ", ".join(
            f"{a.name} = {_attribute(helper.get_attribute_value(a))}"
            for a in sorted(node.attribute, key=lambda a: a.name)
        )
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        operands = ", ".join(value(name) for name in node.input)
        results = ", ".join(value(name) for name in node.output)
        shown = f"<{attributes}>" if attributes else ""
        lines.append(f"{results} = {operator}{shown}({operands})")
    return "\n".join(lines)


def _constant(array: np.ndarray) -> str:
    if array.size > _SHOWN:
        return f"{array.dtype}{list(array.shape)}"
    return "{" + ", ".join(_number(v) for v in array.reshape(-1).tolist()) + "}"


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _attribute(value: Any) -> str:
    if isinstance(value, bytes):
        return f'"{value.decode()}"'
    if isinstance(value, onnx.TensorProto):
        return _constant(numpy_helper.to_array(value))
    if isinstance(value, int | float):
        return _number(value)
    return "[" + ", ".join(_attribute(v) for v in value) + "]"


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
    "number-categories": Case(
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
    "dynamic-quantisation": Case(
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
    "shorten-formulas": Case(
        "l = ReduceLogSumExp<axes = [1]>(x) d = Sub(x, l) y = Exp(d)",
        X4,
        """
        y = Softmax<axis = -1>(x)
        """,
    ),
    "quantisation-meaning": Case(
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
    "split-directions": Case(
        'y, h = RNN<hidden_size = 2, direction = "bidirectional">(x, w, r)',
        "float[3, 1, 2] x",
        """
        t1 = RNN<hidden_size = 2>(x, {1, 2, 3, 4}, {1, -2, 3, -4})
        t2 = Gather<axis = 0>(x, {2, 1, 0})
        t3 = RNN<hidden_size = 2>(t2, {5, 6, 7, 8}, {5, -6, 7, -8})
        t4 = Gather<axis = 0>(t3, {2, 1, 0})
        y = Concat<axis = 1>(t1, t4)
        """,
        "<float[2, 2, 2] w = {1,2,3,4,5,6,7,8}, float[2, 2, 2] r = {1,-2,3,-4,5,-6,7,-8}>",
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
    "explicit-padding": Case(
        'y = Pad<mode = "reflect">(x, p)',
        X4,
        """
        y = Gather<axis = 1>(x, {1, 0, 1, 2, 3, 2, 1})
        """,
        "<int64[4] p = {0, 1, 0, 2}>",
    ),
    "explicit-pooling": Case(
        "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)",
        IMAGE,
        """
        t1 = Gather<axis = 2>(x, {0, 0, 1, 2, 3, 4, 4})
        t2 = Gather<axis = 3>(t1, {0, 0, 1, 2, 3, 4, 4})
        y = MaxPool<dilations = [1, 1], kernel_shape = [3, 3], pads = [0, 0, 0, 0], strides = [2, 2]>(t2)
        """,  # noqa: E501
    ),
    "plain-convolutions": Case(
        "y = Conv<dilations = [2, 3]>(x, w)",
        IMAGE,
        """
        y = Conv<dilations = [1, 1], kernel_shape = [3, 4]>(x, float32[2, 2, 3, 4])
        """,
        KERNEL,
    ),
    "resize-by-constants": Case(
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
    "plain-powers": Case(
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
    "integer-arithmetic": Case(
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
    "choose-by-comparisons": Case(
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
    "extrema-and-masks": Case(
        "y = Max(x, c)",
        X4,
        """
        t1 = Sub(x, {0.5, 0.1, -0.5, 0})
        t2 = Relu(t1)
        y = Add({0.5, 0.1, -0.5, 0}, t2)
        """,
        "<float[4] c = {0.5, 0.1, -0.5, 0}>",
    ),
    "plain-sums": Case(
        "y = CumSum<exclusive = 1>(x, a)",
        X4,
        """
        y = MatMul(x, float32[4, 4])
        """,
        "<int64 a = {1}>",
    ),
    "explicit-broadcasts": Case(
        "y = Expand(x, s)",
        X4,
        """
        t1 = Reshape(x, {1, 1, 4})
        y = Expand(t1, {2, 3, 4})
        """,
        "<int64[3] s = {2, 3, 4}>",
    ),
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
    "look-up-masked": Case(
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
    "extract-from-the-end": Case(
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
    "add-up-chosen": Case(
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
    "flow-along-paths": Case(
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
    "plain-scatter": Case(
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
    "count-in-ones": Case(
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
    "explicit-indices": Case(
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
