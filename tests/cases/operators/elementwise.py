"""Functions of single elements."""

from __future__ import annotations

from tests.cases.operators.case import Case


def cases() -> dict[str, Case]:
    plain = (
        "Abs Asinh Atan Ceil Celu Cos Cosh Elu Erf Exp Floor HardSigmoid HardSwish Identity"
        " LeakyRelu Mish Neg Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Tanh"
        " ThresholdedRelu Shrink"
    )
    found = {op: Case(f"y = {op}(x)", opset=18) for op in plain.split()}
    ranges = {
        "Acos": (-1, 1),
        "Asin": (-1, 1),
        "Atanh": (-0.75, 0.75),
        "Acosh": (1, 3),
        "Log": (0.5, 4),
        "Sqrt": (0, 4),
        "Reciprocal": (0.5, 4),
        "Tan": (-1, 1),
    }
    for op, (low, high) in ranges.items():
        found[op] = Case(f"y = {op}(x)", low=low, high=high)
    return found | {
        "Reciprocal, negative": Case("y = Reciprocal(x)", low=-4, high=-0.5),
        "Elu, alpha": Case("y = Elu<alpha = 0.5>(x)"),
        "Selu, factors": Case("y = Selu<alpha = 1.5, gamma = 0.5>(x)"),
        "Celu, alpha": Case("y = Celu<alpha = 2.0>(x)"),
        "HardSigmoid, factors": Case("y = HardSigmoid<alpha = 0.5, beta = 0.25>(x)"),
        "LeakyRelu, alpha": Case("y = LeakyRelu<alpha = 0.3>(x)"),
        "LeakyRelu, negative alpha": Case("y = LeakyRelu<alpha = -0.5>(x)"),
        "ThresholdedRelu, alpha": Case("y = ThresholdedRelu<alpha = 0.5>(x)"),
        "Shrink, bias": Case("y = Shrink<lambd = 0.75, bias = 0.25>(x)"),
        "Gelu": Case("y = Gelu(x)", opset=20),
        "Gelu, tanh": Case('y = Gelu<approximate = "tanh">(x)', opset=20),
        "PRelu": Case("y = PRelu(x, k)", constants="float[4] k = {0.1, 0.2, 0.3, -0.5}"),
        "PRelu, channel": Case(
            "y = PRelu(x, k)", "float[1, 2, 3, 3] x", "float[2, 1, 1] k = {0.25, 0.5}"
        ),
        "Clip": Case("y = Clip(x, a, b)", constants="float a = {-0.5}, float b = {1.0}"),
        "Clip, below": Case("y = Clip(x, a)", constants="float a = {-0.5}"),
        "Clip, above": Case("y = Clip(x, , b)", constants="float b = {0.5}"),
        "Clip, integers": Case(
            "i = Clip(x, a, b) y = Cast<to = 1>(i)",
            "int64[1, 4] x",
            "int64 a = {-3}, int64 b = {4}",
            low=-9,
            high=9,
        ),
        "Abs, integers": Case("i = Abs(x) y = Cast<to = 1>(i)", "int64[1, 4] x", low=-9, high=9),
        "Sign, then sum": Case("s = Sign(x) y = Add(s, x)"),
    }
