"""Dense sums behind one another, the later first, each channel times a factor."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import float_rows

_BODIES = {
    "the later sum first": "b = Gemm(x, wb, bb) j = Concat<axis = 1>(b, a)",
    "a rectified sum behind": "r = Relu(a) b = Gemm(x, wb, bb) j = Concat<axis = 1>(b, r)",
    "the input behind": "b = Gemm(x, wb, bb) j = Concat<axis = 1>(b, x)",
}


@pytest.mark.parametrize("name", _BODIES)
def test_a_view_of_a_dense_sum_and_an_earlier_row_is_read(name: str) -> None:
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 3] x) => (float[1, 6] y) {{
      a = Gemm(x, wa, ba) {_BODIES[name]} k = Mul(j, factor) y = Tanh(k)
    }}""")
    rng = np.random.default_rng(1)
    for tensor, shape in (("wa", (3, 3)), ("ba", (3,)), ("wb", (3, 3)), ("bb", (3,))):
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, tensor))
    factor = np.linspace(0.5, 2, 6, dtype=np.float32).reshape(1, 6)
    model.graph.initializer.append(numpy_helper.from_array(factor, "factor"))
    read = read_network(model.SerializeToString())
    assert np.isfinite(float_rows(read.network, [rng.normal(size=(4, 3))])[-1]).all()
