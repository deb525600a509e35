"""Products, convolutions, pooling and normalisations."""

from __future__ import annotations

from tests.cases.operators.case import EVEN, IMAGE, V4, Case


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
    found = {}
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
        found[label] = Case(f"y = {call}(x, w, b)", IMAGE, bias)
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
        found[label] = Case(f"y = {call}(x, w, b)", EVEN, bias)
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
            found[label] = Case(f"y = {op}<{attributes}>(x)", IMAGE, high=-0.5, low=-3)
        found[f"{op}, line"] = Case(
            f"y = {op}<kernel_shape = [2], strides = [2]>(x)", "float[1, 2, 6] x"
        )
        found[f"{op}, volume"] = Case(
            f"y = {op}<kernel_shape = [2, 2, 2], strides = [2, 2, 2]>(x)", "float[1, 1, 4, 4, 2] x"
        )
    return found | {
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


def cases() -> dict[str, Case]:
    return _products() | _windows() | _normalisations()
