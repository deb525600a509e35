"""Sums, extrema and orders along axes."""

from __future__ import annotations

from tests.cases.operators.case import CUBE, EVEN, Case


def cases() -> dict[str, Case]:
    found = {}
    names = ["Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]
    for name in names:
        low = 0.5 if name in ("LogSum", "Prod", "L2") else -2.0
        found[f"Reduce{name}"] = Case(
            f"y = Reduce{name}<axes = [2], keepdims = 0>(x)", CUBE, low=low
        )
        found[f"Reduce{name}, two axes"] = Case(
            f"y = Reduce{name}<axes = [0, -1]>(x)", "float[2, 2, 2] x", low=low
        )
        found[f"Reduce{name}, all"] = Case(
            f"y = Reduce{name}<keepdims = 0>(x)", "float[1, 2, 2] x", low=low
        )
        found[f"Reduce{name}, axes as input"] = Case(
            f"y = Reduce{name}(x, a)", CUBE, "int64[1] a = {1}", low=low, opset=18
        )
    return found | {
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
