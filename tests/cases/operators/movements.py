"""Shapes, places and constants."""

from __future__ import annotations

from tests.cases.operators.case import CUBE, TWO, V4, Case


def cases() -> dict[str, Case]:
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
