"""Comparisons, conditions and casts."""

from __future__ import annotations

from tests.cases.operators.case import BITS, TWO, V4, Case


def cases() -> dict[str, Case]:
    asks = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
    found = {
        op: Case(f"b = {op}(x, z) y = Cast<to = 1>(b)", TWO, low=-0.5, high=0.5) for op in asks
    }
    for op in asks:
        found[f"{op}, number"] = Case(
            f"b = {op}(x, k) y = Cast<to = 1>(b)",
            constants="float[1] k = {0.25}",
            low=-0.5,
            high=0.5,
        )
        found[f"{op}, integers"] = Case(
            f"b = {op}(x, k) y = Cast<to = 1>(b)", "int64[1, 4] x", "int64[1] k = {1}"
        )
        found[f"{op}, times"] = Case(
            f"b = {op}(x, z) f = Cast<to = 1>(b) s = Add(f, x) y = Mul(s, z)",
            TWO,
            low=-0.5,
            high=0.5,
        )
        found[f"{op}, sum"] = Case(
            f"b = {op}(x, z) f = Cast<to = 1>(b) y = ReduceSum(f)", TWO, low=-0.5, high=0.5
        )
    for op in ("And", "Or", "Xor"):
        found[op] = Case(f"c = {op}(a, b) y = Cast<to = 1>(c)", BITS)
        found[f"{op}, of questions"] = Case(
            f"a = Equal(x, z) b = Less(x, z) c = {op}(a, b) y = Cast<to = 1>(c)",
            TWO,
            high=0,
            low=-0.5,
        )
        found[f"{op}, broadcast"] = Case(
            f"c = {op}(a, b) y = Cast<to = 1>(c)", "bool[2, 4] a, bool[1, 4] b"
        )
    return found | {
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
