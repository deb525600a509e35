"""Arithmetic of two values."""

from __future__ import annotations

from tests.cases.operators.case import TWO, Case


def cases() -> dict[str, Case]:
    third = "float[1] k = {0.3}"
    found = {op: Case(f"y = {op}(x, z)", TWO) for op in ("Add", "Sub", "Mul", "Max", "Min")}
    return found | {
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
