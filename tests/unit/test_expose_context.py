"""The context if inputs are not public: exposed as the first output."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from circuits.errors import ProfileContradiction
from circuits.rewrite.context import CONTEXT_INPUT, CONTEXT_OUTPUT, bind_context
from tests.conformance.make_vectors import INPUT, uploaded


def test_the_context_goes_out_first_and_the_model_is_as_before() -> None:
    model = uploaded(4)
    bound = onnx.load_model_from_string(bind_context(model, 3, expose=True))
    onnx.checker.check_model(bound)
    assert [i.name for i in bound.graph.input] == ["x", CONTEXT_INPUT]
    assert [o.name for o in bound.graph.output] == [CONTEXT_OUTPUT, "y"]

    context = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    session = onnxruntime.InferenceSession(bound.SerializeToString())
    carried, y = session.run(None, {**INPUT, CONTEXT_INPUT: context})
    (alone,) = onnxruntime.InferenceSession(model).run(None, INPUT)
    assert np.array_equal(carried, context)
    assert np.array_equal(y, alone)


def test_without_a_context_there_is_nothing_to_expose() -> None:
    assert bind_context(uploaded(4), 0, expose=True) == uploaded(4)


@pytest.mark.parametrize("body", ["y = Identity(x)", "a = Reshape(x, t) y = Reshape(a, u)"])
def test_an_input_that_is_not_to_be_shown_is_no_output(body: str) -> None:
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) {{ {body} }}'
    )
    for name, shape in (("t", [4]), ("u", [1, 4])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape), name))
    data = model.SerializeToString()
    assert bind_context(data, 1)
    with pytest.raises(ProfileContradiction, match="output 'y' is the input 'x'"):
        bind_context(data, 1, expose=True)
