"""The context where inputs are not public: handed on as the first output."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from circuits.rewrite.context import CONTEXT_INPUT, CONTEXT_OUTPUT, bind_context
from tests.conformance.make_vectors import INPUT, uploaded


def test_the_context_goes_out_first_and_the_model_is_as_before() -> None:
    model = uploaded(4)
    bound = onnx.load_model_from_string(bind_context(model, 3, hand_on=True))
    onnx.checker.check_model(bound)
    assert [i.name for i in bound.graph.input] == ["x", CONTEXT_INPUT]
    assert [o.name for o in bound.graph.output] == [CONTEXT_OUTPUT, "y"]

    context = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    session = onnxruntime.InferenceSession(bound.SerializeToString())
    carried, y = session.run(None, {**INPUT, CONTEXT_INPUT: context})
    (alone,) = onnxruntime.InferenceSession(model).run(None, INPUT)
    assert np.array_equal(carried, context)
    assert np.array_equal(y, alone)


def test_without_a_context_there_is_nothing_to_hand_on() -> None:
    assert bind_context(uploaded(4), 0, hand_on=True) == uploaded(4)
