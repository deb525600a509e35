"""One small model for each operator (and each way of using it) that the compiler says it supports.

``cases()`` names each ``"Operator, variant"``. Inputs are drawn from a grid of eighths, so that
quantising them changes nothing and ties, zeros and equal values occur: where an operator jumps, the
engine has to jump at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, parser

V4 = "float[1, 4] x"
TWO = "float[1, 4] x, float[1, 4] z"
CUBE = "float[2, 3, 4] x"
IMAGE = "float[1, 2, 5, 5] x"
EVEN = "float[1, 2, 4, 4] x"
BITS = "bool[1, 4] a, bool[1, 4] b"

_GRID = 8
_DTYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool",
}


@dataclass(frozen=True)
class Case:
    """A model's text: its nodes, inputs, constants and outputs, the range of its inputs, and
    whether it has an answer where all of them are equal."""

    nodes: str
    inputs: str = V4
    constants: str = ""
    outputs: str = "float y"
    low: float = -2.0
    high: float = 2.0
    opset: int = 17
    ties: bool = True

    def model(self) -> bytes:
        constants = f"<{self.constants}>" if self.constants else ""
        text = (
            f'<ir_version: {8 if self.opset < 20 else 10}, opset_import: ["" : {self.opset}]>'
            f" g ({self.inputs}) => ({self.outputs}) {constants} {{ {self.nodes} }}"
        )
        return bytes(parser.parse_model(text).SerializeToString())

    def samples(self, count: int = 4) -> list[dict[str, NDArray[np.generic]]]:
        """Inputs on the grid; the last sample has every input equal to every other."""
        rng = np.random.default_rng(3)
        model = onnx.load_model_from_string(self.model())
        shapes = {i.name: i.type.tensor_type for i in model.graph.input}
        drawn = []
        for number in range(count):
            sample = {}
            for name, kind in shapes.items():
                shape = [d.dim_value for d in kind.shape.dim]
                dtype = _DTYPES[kind.elem_type]
                places = rng.integers(0, int((self.high - self.low) * _GRID) + 1, shape)
                if number == count - 1 and self.ties:
                    places = np.full(shape, int((self.high - self.low) * _GRID) // 2)
                if dtype == "bool":
                    values = places % 2 == 0
                elif dtype.startswith("float"):
                    values = self.low + places / _GRID
                else:
                    values = np.floor(self.low + places / _GRID)
                sample[name] = np.asarray(values).astype(dtype)
            drawn.append(sample)
        return drawn


def _elementwise() -> dict[str, Case]:
    plain = (
        "Abs Asinh Atan Ceil Celu Cos Cosh Elu Erf Exp Floor HardSigmoid HardSwish Identity"
        " LeakyRelu Mish Neg Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Tanh"
        " ThresholdedRelu Shrink"
    )
    cases = {op: Case(f"y = {op}(x)", opset=18) for op in plain.split()}
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
        cases[op] = Case(f"y = {op}(x)", low=low, high=high)
    return cases | {
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


def _arithmetic() -> dict[str, Case]:
    third = "float[1] k = {0.3}"
    cases = {op: Case(f"y = {op}(x, z)", TWO) for op in ("Add", "Sub", "Mul", "Max", "Min")}
    return cases | {
        "Div": Case("y = Div(x, z)", TWO, low=0.5),
        "Div, number": Case("y = Div(x, k)", constants="float[1] k = {3}"),
        "Div, negative": Case("y = Div(x, k)", constants="float[1] k = {-1.5}"),
        "Div, half": Case("y = Div(x, k)", constants="float[1] k = {2}"),
        "Div, of a number": Case("y = Div(k, x)", constants=third, low=0.5),
        "Div, vector": Case("y = Div(x, k)", constants="float[4] k = {1, 2, 3, -4}"),
        "Div, integers": Case(
            "i = Div(x, k) y = Cast<to = 1>(i)",
            "int64[1, 4] x",
            "int64[1] k = {4}",
            low=-20,
            high=20,
        ),
        "Mul, half": Case("y = Mul(x, k)", constants="float[1] k = {0.5}"),
        "Mul, number": Case("y = Mul(x, k)", constants=third),
        "Mul, negative half": Case("y = Mul(x, k)", constants="float[1] k = {-0.5}"),
        "Mul, zero": Case("t = Mul(x, k) y = Add(t, x)", constants="float[1] k = {0}"),
        "Mul, itself": Case("y = Mul(x, x)"),
        "Mul, broadcast": Case("y = Mul(x, z)", "float[2, 3, 4] x, float[3, 1] z"),
        "Mul, wider constant": Case("y = Mul(x, k)", "float[4] x", "float[2, 1] k = {0.5, 0.25}"),
        "Mul, flag": Case("b = Greater(x, z) f = Cast<to = 1>(b) y = Mul(f, x)", TWO),
        "Add, broadcast": Case("y = Add(x, z)", "float[2, 3, 4] x, float[3, 1] z"),
        "Add, scalar": Case("y = Add(x, k)", constants="float k = {0.3}"),
        "Add, integer as float": Case(
            "f = Cast<to = 1>(n) y = Add(x, f)", "float[1, 4] x, int64[1, 4] n"
        ),
        "Sub, from a number": Case("y = Sub(k, x)", constants=third),
        "Sub, broadcast": Case("y = Sub(x, z)", "float[3, 1] x, float[2, 3, 4] z"),
        "Max, number": Case("y = Max(x, k)", constants=third),
        "Max, zero first": Case("y = Max(k, x)", constants="float[1] k = {0}"),
        "Max, vector": Case("y = Max(x, k)", constants="float[4] k = {0.5, 0.25, -0.5, 0}"),
        "Max, three": Case("y = Max(x, z, w)", TWO + ", float[1, 4] w"),
        "Max, broadcast": Case("y = Max(x, z)", "float[2, 4] x, float[4] z"),
        "Max, integers": Case(
            "i = Max(x, k) y = Cast<to = 1>(i)", "int64[1, 4] x", "int64[1] k = {1}", low=-5, high=5
        ),
        "Min, number": Case("y = Min(x, k)", constants=third),
        "Min, zero": Case("y = Min(x, k)", constants="float[1] k = {0}"),
        "Min, three": Case("y = Min(x, z, w)", TWO + ", float[1, 4] w"),
        "Sum": Case("y = Sum(x, z, w)", TWO + ", float[1, 4] w"),
        "Mean": Case("y = Mean(x, z)", TWO),
        "Mean, three": Case("y = Mean(x, z, w)", TWO + ", float[1, 4] w"),
        "Mod": Case(
            "i = Mod(x, k) y = Cast<to = 1>(i)", "int64[1, 4] x", "int64[1] k = {3}", low=-9, high=9
        ),
        "Mod, float": Case("y = Mod<fmod = 1>(x, k)", constants="float[1] k = {0.75}"),
        "BitShift": Case(
            'i = BitShift<direction = "RIGHT">(x, k) y = Cast<to = 1>(i)',
            "uint8[1, 4] x",
            "uint8[1] k = {1}",
            low=0,
            high=200,
        ),
        **{
            f"Pow, {power}": Case(
                "y = Pow(x, k)", constants=f"float[1] k = {{{power}}}", low=low, high=2.5
            )
            for power, low in (
                ("2", -2),
                ("3", -2),
                ("1", -2),
                ("0", -2),
                ("0.5", 0.5),
                ("1.5", 0.5),
                ("-1", 0.5),
                ("-2", 0.5),
                ("-0.5", 0.5),
            )
        },
        "Pow, of a number": Case("y = Pow(k, x)", constants="float[1] k = {2}"),
        "Pow": Case("y = Pow(x, k)", constants="float k = {4}"),
    }


def _logic() -> dict[str, Case]:
    asks = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
    cases = {
        op: Case(f"b = {op}(x, z) y = Cast<to = 1>(b)", TWO, low=-0.5, high=0.5) for op in asks
    }
    for op in asks:
        cases[f"{op}, number"] = Case(
            f"b = {op}(x, k) y = Cast<to = 1>(b)",
            constants="float[1] k = {0.25}",
            low=-0.5,
            high=0.5,
        )
        cases[f"{op}, integers"] = Case(
            f"b = {op}(x, k) y = Cast<to = 1>(b)", "int64[1, 4] x", "int64[1] k = {1}"
        )
        cases[f"{op}, times"] = Case(
            f"b = {op}(x, z) f = Cast<to = 1>(b) s = Add(f, x) y = Mul(s, z)",
            TWO,
            low=-0.5,
            high=0.5,
        )
        cases[f"{op}, sum"] = Case(
            f"b = {op}(x, z) f = Cast<to = 1>(b) y = ReduceSum(f)", TWO, low=-0.5, high=0.5
        )
    for op in ("And", "Or", "Xor"):
        cases[op] = Case(f"c = {op}(a, b) y = Cast<to = 1>(c)", BITS)
        cases[f"{op}, of questions"] = Case(
            f"a = Equal(x, z) b = Less(x, z) c = {op}(a, b) y = Cast<to = 1>(c)",
            TWO,
            high=0,
            low=-0.5,
        )
        cases[f"{op}, broadcast"] = Case(
            f"c = {op}(a, b) y = Cast<to = 1>(c)", "bool[2, 4] a, bool[1, 4] b"
        )
    return cases | {
        "Not": Case("c = Not(a) y = Cast<to = 1>(c)", "bool[1, 4] a"),
        "Not, of a question": Case(
            "a = Equal(x, z) c = Not(a) y = Cast<to = 1>(c)", TWO, low=-0.25, high=0.25
        ),
        "Where": Case("b = Greater(x, z) y = Where(b, x, z)", TWO),
        "Where, number": Case(
            "b = Equal(x, z) y = Where(b, k, x)", TWO, "float[1] k = {-1.5}", low=-0.25, high=0.25
        ),
        "Where, broadcast": Case(
            "y = Where(c, x, z)", "bool[2, 1] c, float[2, 4] x, float[1, 4] z"
        ),
        "Where, integers": Case(
            "b = Greater(x, k) i = Where(b, one, two) f = Cast<to = 1>(i) y = Add(f, x)",
            V4,
            "float[1] k = {0}, int64[1] one = {3}, int64[1] two = {-2}",
        ),
        "IsNaN": Case("b = IsNaN(x) f = Cast<to = 1>(b) y = Add(f, x)"),
        "IsInf": Case("b = IsInf(x) f = Cast<to = 1>(b) y = Add(f, x)"),
        "Cast, to integers": Case("i = Cast<to = 7>(x) y = Cast<to = 1>(i)", low=-5, high=5),
        "Cast, to bool": Case("b = Cast<to = 9>(x) y = Cast<to = 1>(b)", low=-0.25, high=0.25),
        "Cast, bool to integers": Case(
            "b = Greater(x, z) i = Cast<to = 7>(b) y = Cast<to = 1>(i)", TWO
        ),
        "Cast, integers in sums": Case(
            "i = Cast<to = 7>(x) f = Cast<to = 1>(i) y = Mul(f, x)", low=-5, high=5
        ),
        "Cast": Case("d = Cast<to = 11>(x) y = Cast<to = 1>(d)"),
    }


def _reductions() -> dict[str, Case]:
    cases = {}
    names = ["Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]
    for name in names:
        low = 0.5 if name in ("LogSum", "Prod", "L2") else -2.0
        cases[f"Reduce{name}"] = Case(
            f"y = Reduce{name}<axes = [2], keepdims = 0>(x)", CUBE, low=low
        )
        cases[f"Reduce{name}, two axes"] = Case(
            f"y = Reduce{name}<axes = [0, -1]>(x)", "float[2, 2, 2] x", low=low
        )
        cases[f"Reduce{name}, all"] = Case(
            f"y = Reduce{name}<keepdims = 0>(x)", "float[1, 2, 2] x", low=low
        )
        cases[f"Reduce{name}, axes as input"] = Case(
            f"y = Reduce{name}(x, a)", CUBE, "int64[1] a = {1}", low=low, opset=18
        )
    return cases | {
        "ReduceSum": Case("y = ReduceSum<keepdims = 0>(x, a)", CUBE, "int64[1] a = {-1}"),
        "ReduceSum, all": Case("y = ReduceSum(x)", CUBE),
        "ReduceSum, nothing": Case("t = ReduceSum<noop_with_empty_axes = 1>(x) y = Neg(t)", CUBE),
        "ReduceMean, image": Case("y = ReduceMean<axes = [2, 3]>(x)", EVEN),
        "ArgMax": Case("i = ArgMax<axis = 1, keepdims = 0>(x) y = Cast<to = 1>(i)"),
        "ArgMax, ties": Case("i = ArgMax<axis = 1>(x) y = Cast<to = 1>(i)", low=0, high=0.25),
        "ArgMax, last": Case(
            "i = ArgMax<axis = 1, select_last_index = 1>(x) y = Cast<to = 1>(i)", low=0, high=0.25
        ),
        "ArgMax, axis 0": Case("i = ArgMax(x) y = Cast<to = 1>(i)", "float[3, 4] x"),
        "ArgMin": Case("i = ArgMin<axis = -1>(x) y = Cast<to = 1>(i)", low=0, high=0.5),
        "ArgMin, then sum": Case("i = ArgMin<axis = 1>(x) f = Cast<to = 1>(i) y = Add(f, x)"),
        "TopK": Case("y, i = TopK<axis = 1>(x, k)", constants="int64[1] k = {2}"),
        "TopK, smallest": Case(
            "y, i = TopK<axis = 0, largest = 0>(x, k)", "float[4, 2] x", "int64[1] k = {3}"
        ),
        "CumSum": Case("y = CumSum(x, a)", CUBE, "int64 a = {1}"),
        "CumSum, exclusive": Case("y = CumSum<exclusive = 1>(x, a)", CUBE, "int64 a = {2}"),
        "CumSum, backwards": Case("y = CumSum<reverse = 1>(x, a)", CUBE, "int64 a = {-1}"),
        "Hardmax": Case("y = Hardmax<axis = 1>(x)", low=0, high=0.5),
        "Hardmax, axis 0": Case("y = Hardmax<axis = 0>(x)", "float[3, 4] x"),
        "Softmax": Case("y = Softmax(x)"),
        "Softmax, axis 1": Case("y = Softmax<axis = 1>(x)", "float[1, 3, 2] x"),
        "LogSoftmax": Case("y = LogSoftmax(x)", high=0.5),
        "LogSoftmax, axis 0": Case("y = LogSoftmax<axis = 0>(x)", "float[3, 2] x", high=0.5),
    }


def _products() -> dict[str, Case]:
    w = "float[4, 2] w = {1, 2, 3, 4, 0.5, 0.6, 0.7, -0.8}"
    return {
        "Gemm": Case("y = Gemm(x, w, b)", constants=w + ", float[2] b = {0.5, -0.5}"),
        "Gemm, factors": Case(
            "y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, w, b)",
            V4,
            "float[2, 4] w = {1, 2, 3, 4, 0.5, 0.6, 0.7, -0.8}, float[2] b = {0.5, -0.5}",
        ),
        "Gemm, turned": Case("y = Gemm<transA = 1>(x, w)", "float[4, 3] x", w),
        "Gemm, column": Case(
            "y = Gemm(x, w, b)", "float[3, 4] x", w + ", float[3, 1] b = {1, 2, 3}"
        ),
        "MatMul": Case("y = MatMul(x, w)", "float[2, 3, 4] x", w),
        "MatMul, values": Case("y = MatMul(x, z)", "float[1, 3, 4] x, float[1, 4, 2] z"),
        "MatMul, stacks": Case("y = MatMul(x, z)", "float[2, 1, 3, 4] x, float[2, 4, 2] z"),
        "MatMul, vector": Case("y = MatMul(x, v)", "float[3, 4] x", "float[4] v = {1, 2, 3, 4}"),
        "MatMul, vector first": Case("y = MatMul(x, w)", "float[4] x", w),
        "MatMul, weights first": Case(
            "y = MatMul(v, x)", "float[1, 3, 2] x", "float[2, 3] v = {1, 2, 3, -1, -2, 0.5}"
        ),
        "Einsum": Case(
            'y = Einsum<equation = "bij,bjk->bik">(x, z)', "float[1, 3, 4] x, float[1, 4, 2] z"
        ),
        "Einsum, heads": Case(
            'y = Einsum<equation = "bqhd,bkhd->bhqk">(x, z)',
            "float[1, 2, 2, 3] x, float[1, 3, 2, 3] z",
        ),
        "Einsum, turned": Case('y = Einsum<equation = "ij->ji">(x)', "float[2, 3] x"),
        "Einsum, sum": Case('y = Einsum<equation = "ij->i">(x)', "float[2, 3] x"),
        "Einsum, outer": Case('y = Einsum<equation = "i,j->ij">(x, z)', "float[3] x, float[2] z"),
    }


def _windows() -> dict[str, Case]:
    kernel = "float[2, 2, 2, 2] w = {1,2,3,4,0.5,0.6,0.7,0.8,1,2,3,4,0.5,-0.6,0.7,0.8}"
    bias = kernel + ", float[2] b = {0.5, -0.5}"
    line = "float[2, 2, 2] w = {1, 2, 3, 4, 0.5, 0.6, 0.7, 0.8}"
    depth = "float[2, 1, 2, 2] w = {1, 2, 3, 4, 0.5, 0.6, 0.7, 0.8}"
    cases = {}
    conv = {
        "": "",
        "stride": "strides = [2, 2]",
        "pads": "pads = [1, 0, 1, 0]",
        "dilated": "dilations = [2, 2]",
        "same": 'auto_pad = "SAME_UPPER"',
        "same, lower": 'auto_pad = "SAME_LOWER", strides = [2, 2]',
    }
    for name, attributes in conv.items():
        label = f"Conv, {name}" if name else "Conv"
        call = f"Conv<{attributes}>" if attributes else "Conv"
        cases[label] = Case(f"y = {call}(x, w, b)", IMAGE, bias)
    turned = {
        "": "",
        "stride": "strides = [2, 2]",
        "pads": "strides = [2, 2], pads = [1, 1, 1, 1]",
        "output padding": "strides = [2, 2], output_padding = [1, 1]",
        "dilated": "dilations = [2, 2]",
        "output shape": "strides = [2, 2], output_shape = [7, 7]",
        "same": 'strides = [2, 2], auto_pad = "SAME_UPPER"',
    }
    for name, attributes in turned.items():
        label = f"ConvTranspose, {name}" if name else "ConvTranspose"
        call = f"ConvTranspose<{attributes}>" if attributes else "ConvTranspose"
        cases[label] = Case(f"y = {call}(x, w, b)", EVEN, bias)
    pools = {
        "": "kernel_shape = [2, 2], strides = [2, 2]",
        "no strides": "kernel_shape = [2, 2]",
        "pads": "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
        "ceiling": "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1",
        "same": 'kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER"',
    }
    for op in ("MaxPool", "AveragePool"):
        for name, attributes in pools.items():
            label = f"{op}, {name}" if name else op
            cases[label] = Case(f"y = {op}<{attributes}>(x)", IMAGE, high=-0.5, low=-3)
        cases[f"{op}, line"] = Case(
            f"y = {op}<kernel_shape = [2], strides = [2]>(x)", "float[1, 2, 6] x"
        )
        cases[f"{op}, volume"] = Case(
            f"y = {op}<kernel_shape = [2, 2, 2], strides = [2, 2, 2]>(x)", "float[1, 1, 4, 4, 2] x"
        )
    return cases | {
        "Conv, group": Case("y = Conv<group = 2>(x, w)", IMAGE, depth),
        "Conv, group of two": Case("y = Conv<group = 2>(x, w)", "float[1, 4, 3, 3] x", kernel),
        "Conv, line": Case("y = Conv(x, w)", "float[1, 2, 6] x", line),
        "Conv, volume": Case(
            "y = Conv(x, w)",
            "float[1, 1, 3, 3, 3] x",
            "float[2, 1, 1, 2, 2] w = {1, 2, 3, 4, 0.5, 0.6, 0.7, 0.8}",
        ),
        "Conv, two images": Case("y = Conv(x, w, b)", "float[2, 2, 4, 4] x", bias),
        "Conv, then flat": Case(
            "c = Conv(x, w, b) y = Reshape(c, s)", IMAGE, bias + ", int64[1] s = {-1}"
        ),
        "Conv, no batch after": Case(
            "c = Conv(x, w, b) r = Relu(c) y = Reshape(r, s)",
            IMAGE,
            bias + ", int64[2] s = {2, 16}",
        ),
        "Conv, squeezed": Case(
            "c = Conv(x, w, b) y = Squeeze(c, s)", IMAGE, bias + ", int64[1] s = {0}"
        ),
        "ConvTranspose, group": Case(
            "y = ConvTranspose<strides = [2, 2], group = 2>(x, w)", EVEN, depth
        ),
        "ConvTranspose, line": Case(
            "y = ConvTranspose<strides = [2]>(x, w)", "float[1, 2, 4] x", line
        ),
        "AveragePool, counting pads": Case(
            "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
            IMAGE,
        ),
        "MaxPool, dilated": Case(
            "y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", IMAGE
        ),
        "GlobalAveragePool": Case("y = GlobalAveragePool(x)", IMAGE),
        "GlobalAveragePool, line": Case("y = GlobalAveragePool(x)", "float[1, 2, 6] x"),
        "GlobalMaxPool": Case("y = GlobalMaxPool(x)", IMAGE, high=-0.5, low=-3),
        "Resize": Case('y = Resize<mode = "nearest">(x, , s)', EVEN, "float[4] s = {1, 1, 2, 2}"),
        "Resize, linear": Case(
            'y = Resize<mode = "linear">(x, , s)', EVEN, "float[4] s = {1, 1, 2, 1.5}"
        ),
        "Resize, corners": Case(
            'y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">'
            "(x, , , s)",
            EVEN,
            "int64[4] s = {1, 2, 7, 7}",
        ),
        "Resize, cubic": Case(
            'y = Resize<mode = "cubic">(x, , s)', EVEN, "float[4] s = {1, 1, 2, 2}"
        ),
    }


def _normalisations() -> dict[str, Case]:
    affine = "float[2] s = {1.5, 0.5}, float[2] b = {0.1, 0.2}"
    moments = affine + ", float[2] m = {0.3, -0.3}, float[2] v = {1.0, 2.0}"
    row = "float[4] s = {1.5, 0.5, 1, 2}, float[4] b = {0.1, 0.2, 0.3, 0.4}"
    return {
        "BatchNormalization": Case("y = BatchNormalization(x, s, b, m, v)", EVEN, moments),
        "BatchNormalization, rows": Case(
            "y = BatchNormalization(x, s, b, m, v)", "float[3, 2] x", moments
        ),
        "BatchNormalization, epsilon": Case(
            "y = BatchNormalization<epsilon = 0.5>(x, s, b, m, v)", EVEN, moments
        ),
        "InstanceNormalization": Case(
            "y = InstanceNormalization<epsilon = 0.01>(x, s, b)", EVEN, affine
        ),
        "LayerNormalization": Case(
            "y = LayerNormalization<epsilon = 0.01>(x, s, b)", "float[1, 3, 4] x", row
        ),
        "LayerNormalization, no bias": Case(
            "y = LayerNormalization<epsilon = 0.01>(x, s)", "float[1, 3, 4] x", row
        ),
        "LayerNormalization, two axes": Case(
            "y = LayerNormalization<axis = 1, epsilon = 0.01>(x, s)",
            "float[1, 2, 2] x",
            "float[2, 2] s = {1.5, 0.5, 1, 2}",
        ),
        "GroupNormalization": Case(
            "y = GroupNormalization<num_groups = 2, epsilon = 0.01>(x, s, b)",
            "float[1, 4, 2, 2] x",
            row,
            opset=21,
        ),
        "LpNormalization": Case("y = LpNormalization<axis = 1>(x)", low=0.5),
        "LpNormalization, 1": Case("y = LpNormalization<axis = 1, p = 1>(x)", low=0.5),
        "MeanVarianceNormalization": Case(
            "y = MeanVarianceNormalization(x)", "float[1, 2, 3, 3] x", ties=False
        ),
    }


def _recurrent() -> dict[str, Case]:
    def weights(gates: int, hidden: int = 2, directions: int = 1) -> str:
        rng = np.random.default_rng(gates)

        def tensor(name: str, *shape: int) -> str:
            values = ", ".join(f"{v:.2f}" for v in rng.uniform(-0.8, 0.8, int(np.prod(shape))))
            return f"float[{', '.join(map(str, shape))}] {name} = {{{values}}}"

        return ", ".join(
            [
                tensor("w", directions, gates * hidden, 2),
                tensor("r", directions, gates * hidden, hidden),
                tensor("b", directions, 2 * gates * hidden),
                tensor("h", directions, 1, hidden),
                tensor("c", directions, 1, hidden),
                tensor("p", directions, 3 * hidden),
            ]
        )

    seq = "float[3, 1, 2] x"
    return {
        "LSTM": Case("y, h1 = LSTM<hidden_size = 2>(x, w, r, b)", seq, weights(4)),
        "LSTM, last": Case("h1, y = LSTM<hidden_size = 2>(x, w, r)", seq, weights(4)),
        "LSTM, state": Case(
            "h1, h2, y = LSTM<hidden_size = 2>(x, w, r, b, , h, c)", seq, weights(4)
        ),
        "LSTM, peepholes": Case(
            "y, h1 = LSTM<hidden_size = 2>(x, w, r, b, , h, c, p)", seq, weights(4)
        ),
        "LSTM, clip": Case(
            "y, h1 = LSTM<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(4)
        ),
        "LSTM, coupled": Case(
            "y, h1 = LSTM<hidden_size = 2, input_forget = 1>(x, w, r, b)", seq, weights(4)
        ),
        "LSTM, activations": Case(
            'y, h1 = LSTM<hidden_size = 2, activations = ["HardSigmoid", "Relu", "Tanh"]>'
            "(x, w, r, b)",
            seq,
            weights(4),
        ),
        "LSTM, both ways": Case(
            'y, h1 = LSTM<hidden_size = 2, direction = "bidirectional">(x, w, r, b)',
            seq,
            weights(4, directions=2),
        ),
        "GRU": Case("y, h1 = GRU<hidden_size = 2>(x, w, r, b)", seq, weights(3)),
        "GRU, before reset": Case(
            "h1, y = GRU<hidden_size = 2, linear_before_reset = 1>(x, w, r, b)", seq, weights(3)
        ),
        "GRU, state": Case("y, h1 = GRU<hidden_size = 2>(x, w, r, b, , h)", seq, weights(3)),
        "GRU, backwards": Case(
            'y, h1 = GRU<hidden_size = 2, direction = "reverse">(x, w, r, b)', seq, weights(3)
        ),
        "GRU, clip": Case("y, h1 = GRU<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(3)),
        "GRU, activations": Case(
            'y, h1 = GRU<hidden_size = 2, activations = ["Tanh", "Sigmoid"]>(x, w, r, b)',
            seq,
            weights(3),
        ),
        "RNN": Case("y, h1 = RNN<hidden_size = 2>(x, w, r, b)", seq, weights(1)),
        "RNN, relu": Case(
            'y, h1 = RNN<hidden_size = 2, activations = ["Relu"]>(x, w, r, b, , h)', seq, weights(1)
        ),
        "RNN, clip": Case("y, h1 = RNN<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(1)),
        "RNN, both ways": Case(
            'y, h1 = RNN<hidden_size = 2, direction = "bidirectional">(x, w, r, b)',
            seq,
            weights(1, directions=2),
        ),
    }


def _movements() -> dict[str, Case]:
    return {
        "Reshape": Case("y = Reshape(x, s)", constants="int64[2] s = {2, -1}"),
        "Reshape, zero": Case("y = Reshape(x, s)", CUBE, "int64[2] s = {0, -1}"),
        "Flatten": Case("y = Flatten(x)", CUBE),
        "Flatten, axis 2": Case("y = Flatten<axis = 2>(x)", CUBE),
        "Flatten, axis 0": Case("y = Flatten<axis = 0>(x)", CUBE),
        "Transpose": Case("y = Transpose<perm = [0, 2, 1]>(x)", CUBE),
        "Transpose, all": Case("y = Transpose(x)", CUBE),
        "Squeeze": Case("y = Squeeze(x, a)", "float[1, 2, 1] x", "int64[1] a = {-1}"),
        "Squeeze, all": Case("y = Squeeze(x)", "float[1, 2, 1] x"),
        "Unsqueeze": Case("y = Unsqueeze(x, a)", constants="int64[2] a = {0, -1}"),
        "Concat": Case("y = Concat<axis = -1>(x, z)", TWO),
        "Concat, scales": Case(
            "p = Mul(x, z) n = Cast<to = 1>(i) y = Concat<axis = 1>(p, n, x)",
            TWO + ", int64[1, 2] i",
        ),
        "Concat, constant": Case(
            "y = Concat<axis = 1>(k, x)", constants="float[1, 2] k = {0.5, -0.5}"
        ),
        "Split": Case(
            "y, z = Split<axis = 1>(x, s)",
            constants="int64[2] s = {1, 3}",
            outputs="float y, float z",
        ),
        "Split, equal": Case("y, z = Split<axis = -1>(x)", outputs="float y, float z"),
        "Split, count": Case(
            "y, z = Split<axis = 1, num_outputs = 2>(x)",
            "float[1, 5] x",
            outputs="float y, float z",
            opset=18,
        ),
        "Slice": Case(
            "y = Slice(x, s, e, a)", CUBE, "int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {-1}"
        ),
        "Slice, step": Case(
            "y = Slice(x, s, e, a, t)",
            V4,
            "int64[1] s = {0}, int64[1] e = {9}, int64[1] a = {1}, int64[1] t = {2}",
        ),
        "Slice, backwards": Case(
            "y = Slice(x, s, e, a, t)",
            V4,
            "int64[1] s = {-1}, int64[1] e = {-9}, int64[1] a = {1}, int64[1] t = {-2}",
        ),
        "Pad": Case("y = Pad(x, p)", constants="int64[4] p = {0, 1, 0, 2}"),
        "Pad, value": Case(
            "y = Pad(x, p, v)", constants="int64[4] p = {0, 1, 0, 2}, float v = {1.5}"
        ),
        "Pad, axes": Case(
            "y = Pad(x, p, , a)", CUBE, "int64[2] p = {1, 2}, int64[1] a = {-2}", opset=18
        ),
        "Pad, edge": Case('y = Pad<mode = "edge">(x, p)', constants="int64[4] p = {0, 1, 0, 2}"),
        "Pad, less": Case("y = Pad(x, p)", constants="int64[4] p = {0, -1, 0, 1}"),
        "Gather": Case("y = Gather<axis = 1>(x, i)", constants="int64[2] i = {2, 0}"),
        "Gather, from the end": Case(
            "y = Gather<axis = -1>(x, i)", constants="int64[2] i = {-1, -2}"
        ),
        "Gather, number": Case("y = Gather<axis = 1>(x, i)", CUBE, "int64 i = {2}"),
        "Gather, matrix": Case(
            "y = Gather<axis = 1>(x, i)", constants="int64[2, 2] i = {2, 0, 1, 1}"
        ),
        "Gather, by input": Case(
            "y = Gather<axis = 0>(k, x)",
            "int64[3] x",
            "float[4, 2] k = {1, 2, 3, 4, 5, 6, 7, 8}",
            low=0,
            high=3,
        ),
        "Gather, by maximum": Case(
            "i = ArgMax<axis = 1, keepdims = 0>(x) y = Gather<axis = 0>(k, i)",
            V4,
            "float[4] k = {1, 2, 3, 4}",
        ),
        "Gather, by cast": Case(
            "i = Cast<to = 7>(x) y = Gather<axis = 0>(k, i)",
            V4,
            "float[4] k = {1, 2, 3, 4}",
            low=0,
            high=3,
        ),
        "Gather, by sum": Case(
            "i = Add(x, one) y = Gather<axis = 0>(k, i)",
            "int64[3] x",
            "int64[1] one = {1}, float[5] k = {1, 2, 3, 4, 5}",
            low=0,
            high=3,
        ),
        "GatherElements": Case(
            "y = GatherElements<axis = 1>(x, i)", constants="int64[1, 2] i = {2, 0}"
        ),
        "GatherElements, from the end": Case(
            "y = GatherElements<axis = 1>(x, i)", constants="int64[1, 2] i = {-1, 0}"
        ),
        "GatherElements, by input": Case(
            "y = GatherElements<axis = 1>(k, x)",
            "int64[1, 3] x",
            "float[1, 4] k = {1, 2, 3, 4}",
            low=0,
            high=3,
        ),
        "GatherND": Case("y = GatherND(x, i)", constants="int64[2, 2] i = {0, 2, 0, 1}"),
        "GatherND, batches": Case(
            "y = GatherND<batch_dims = 1>(x, i)", CUBE, "int64[2, 1] i = {2, 0}"
        ),
        "ScatterElements": Case(
            "y = ScatterElements<axis = 1>(x, i, u)",
            "float[1, 4] x, float[1, 2] u",
            "int64[1, 2] i = {2, 0}",
        ),
        "ScatterElements, from the end": Case(
            "y = ScatterElements<axis = 1>(x, i, u)",
            "float[1, 4] x, float[1, 2] u",
            "int64[1, 2] i = {-1, 0}",
        ),
        "ScatterND": Case(
            "y = ScatterND(x, i, u)", "float[4] x, float[2] u", "int64[2, 1] i = {2, 0}"
        ),
        "ScatterND, rows": Case(
            "y = ScatterND(x, i, u)", "float[3, 2] x, float[1, 2] u", "int64[1, 1] i = {1}"
        ),
        "Expand": Case("y = Expand(x, s)", constants="int64[2] s = {3, 4}"),
        "Expand, rank": Case("y = Expand(x, s)", "float[3, 1] x", "int64[3] s = {2, 1, 4}"),
        "Tile": Case("y = Tile(x, s)", constants="int64[2] s = {2, 2}"),
        "OneHot": Case(
            "y = OneHot(x, d, v)", "int64[3] x", "int64 d = {4}, float[2] v = {0, 1}", low=0, high=3
        ),
        "OneHot, levels": Case(
            "y = OneHot(x, d, v)",
            "int64[3] x",
            "int64 d = {4}, float[2] v = {-1, 2}",
            low=0,
            high=3,
        ),
        "OneHot, axis 0": Case(
            "y = OneHot<axis = 0>(x, d, v)",
            "int64[3] x",
            "int64 d = {4}, float[2] v = {0, 1}",
            low=0,
            high=3,
        ),
        "OneHot, of a cast": Case(
            "i = Cast<to = 7>(x) y = OneHot(i, d, v)",
            "float[3] x",
            "int64 d = {4}, float[2] v = {0, 1}",
            low=0,
            high=3,
        ),
        "Trilu": Case("y = Trilu(x)", "float[3, 3] x"),
        "Trilu, lower": Case("y = Trilu<upper = 0>(x, k)", "float[3, 3] x", "int64 k = {1}"),
        "DepthToSpace": Case("y = DepthToSpace<blocksize = 2>(x)", "float[1, 4, 2, 2] x"),
        "DepthToSpace, columns": Case(
            'y = DepthToSpace<blocksize = 2, mode = "CRD">(x)', "float[1, 8, 2, 2] x"
        ),
        "SpaceToDepth": Case("y = SpaceToDepth<blocksize = 2>(x)", "float[1, 1, 4, 4] x"),
        "Shape": Case("s = Shape(x) f = Cast<to = 1>(s) y = Add(f, x)", "float[1, 2] x"),
        "Size": Case("s = Size(x) f = Cast<to = 1>(s) y = Add(f, x)"),
        "Constant": Case("k = Constant<value = float[1] {1.5}>() y = Add(k, x)"),
        "ConstantOfShape": Case(
            "k = ConstantOfShape<value = float[1] {1.5}>(s) y = Add(k, x)",
            V4,
            "int64[2] s = {1, 4}",
        ),
        "Range": Case(
            "r = Range(a, b, d) f = Cast<to = 1>(r) y = Add(x, f)",
            V4,
            "int64 a = {0}, int64 b = {4}, int64 d = {1}",
        ),
        "EyeLike": Case("e = EyeLike<k = 1>(x) y = Add(e, x)", "float[3, 3] x"),
        "Dropout": Case("d = Dropout(x) y = Neg(d)"),
        "QuantizeLinear": Case(
            "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)",
            V4,
            "float s = {0.25}, uint8 z = {4}",
        ),
        "DequantizeLinear": Case(
            "w = DequantizeLinear(q, s, z) y = MatMul(x, w)",
            V4,
            "int8[4, 2] q = {1, 2, 3, 4, 5, 6, 7, 8}, float s = {0.1}, int8 z = {1}",
        ),
    }


def cases() -> dict[str, Case]:
    """Every case by its name."""
    groups = (
        _elementwise, _arithmetic, _logic, _reductions, _products, _windows, _normalisations,
        _recurrent, _movements,
    )  # fmt: skip
    found: dict[str, Case] = {}
    for group in groups:
        made = group()
        assert not found.keys() & made.keys()
        found |= made
    return found
