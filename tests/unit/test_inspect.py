"""A model file is read without trust: broken or hostile ones are refused by name."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from circuits.compiler.inspect import ModelSummary, inspect_model
from circuits.errors import (
    DynamicShape,
    ExternalData,
    ModelError,
    ModelTooLarge,
    NotOnnx,
    UnsupportedOperator,
)

MLP = """
<ir_version: 8, opset_import: ["" : 17]>
mlp (float[N, 4] x) => (float[N, 3] y)
<float[4, 3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] b = {0,1,2}>
{
  z = MatMul(x, w)
  s = Add(z, b)
  y = Relu(s)
}
"""


def model(text: str = MLP) -> onnx.ModelProto:
    return parser.parse_model(text)


def one_node(body: str, inputs: str = "float[1, 4] x") -> bytes:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float y) {{ {body} }}"""
    return bytes(model(text).SerializeToString())


def refused(data: bytes) -> bool:
    try:
        inspect_model(data)
    except ModelError:
        return True
    return False


def test_the_summary_has_signature_parameters_and_operators() -> None:
    summary = inspect_model(model().SerializeToString())
    assert [(t.name, t.shape) for t in summary.signature.inputs] == [("x", (1, 4))]
    assert [(t.name, t.shape) for t in summary.signature.outputs] == [("y", (1, 3))]
    assert summary.parameters == 15
    assert summary.multiplications == 12
    assert {o.op: o.status for o in summary.operators} == dict.fromkeys(
        ["Add", "MatMul", "Relu"], "supported"
    )
    assert summary.notes == ("input 'x': batch dimension bound to 1",)


def test_a_summary_survives_json() -> None:
    summary = inspect_model(model().SerializeToString())
    assert ModelSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_shape_computations_are_folded_before_they_are_judged() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2, 3] x) => (float y)
    { s = Shape(x)  i = Constant<value = int64[1] {0}>()  n = Gather(s, i)
      m = Constant<value = int64[1] {-1}>()  t = Concat<axis = 0>(n, m)  y = Reshape(x, t) }"""
    summary = inspect_model(model(text).SerializeToString())
    assert summary.signature.outputs[0].shape == (1, 6)
    by = {o.op: (o.status, o.by) for o in summary.operators}
    assert by["Shape"] == ("rewritten", "fold-constants")


@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"not a model", b"\x0a\xff\xff\xff\xff\x0f"])
def test_what_is_not_onnx_is_said_to_be_so(data: bytes) -> None:
    with pytest.raises(NotOnnx):
        inspect_model(data)


def test_a_name_that_is_not_text_is_refused_with_its_field() -> None:
    broken = model()
    broken.graph.node[1].name = "NAME"
    with pytest.raises(NotOnnx, match=r"graph\.node\.name is not UTF-8"):
        inspect_model(broken.SerializeToString().replace(b"NAME", b"NA\xa0E"))


def test_every_truncation_of_a_model_is_refused_or_read() -> None:
    whole = model().SerializeToString()
    # A prefix that ends between fields may be a smaller model; anything but ModelError is a fault.
    outcomes = [refused(whole[:length]) for length in range(len(whole))]
    assert outcomes.count(False) < 5


def test_terabytes_declared_in_a_few_bytes_are_refused() -> None:
    broken = model()
    broken.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]
    with pytest.raises(ModelTooLarge, match="'w'"):
        inspect_model(broken.SerializeToString())
    broken.graph.initializer[0].dims[:] = [1 << 62, 4]
    with pytest.raises(ModelTooLarge):
        inspect_model(broken.SerializeToString())
    broken.graph.initializer[0].dims[:] = [400, 3]
    with pytest.raises(ModelError, match=r"declares 1200 elements .* but holds 12"):
        inspect_model(broken.SerializeToString())
    broken.graph.initializer[0].dims[:] = [-4, -3]
    with pytest.raises(ModelError, match="negative"):
        inspect_model(broken.SerializeToString())


def test_external_data_is_refused_and_no_file_opened() -> None:
    broken = model()
    tensor = broken.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/hostname"
    with pytest.raises(ExternalData, match="'w'"):
        inspect_model(broken.SerializeToString())


def test_cycles_and_undefined_names_are_refused_with_the_node() -> None:
    broken = model()
    broken.graph.node[0].input[0] = "y"
    with pytest.raises(ModelError, match="cycle"):
        inspect_model(broken.SerializeToString())
    broken = model()
    broken.graph.node[1].input[1] = "nowhere"
    with pytest.raises(ModelError, match="'nowhere', which nothing makes"):
        inspect_model(broken.SerializeToString())


def test_a_dimension_that_cannot_be_bound_names_input_and_axis() -> None:
    text = MLP.replace("float[N, 4] x", "float[N, M] x")
    with pytest.raises(DynamicShape, match="axis 1 of input 'x' has the name 'M'"):
        inspect_model(model(text).SerializeToString())
    summary = inspect_model(model(text).SerializeToString(), {"x": (2, 4)})
    assert summary.signature.outputs[0].shape == (2, 3)


def test_absurd_inputs_are_refused() -> None:
    with pytest.raises(ModelTooLarge):
        inspect_model(one_node("y = Relu(x)", "float[1, 4611686018427387904] x"))
    broken = model()
    broken.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -4
    with pytest.raises(ModelError, match="negative"):
        inspect_model(broken.SerializeToString())


def test_a_value_that_grows_beyond_reason_is_refused() -> None:
    body = "s = Constant<value = int64[2] {1000000, 1000000}>() y = Expand(x, s)"
    with pytest.raises(ModelTooLarge):
        inspect_model(one_node(body, "float[1, 1] x"))


def test_control_flow_strings_and_foreign_domains_are_refused_by_name() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [4])],
    )
    node = helper.make_node("If", ["c"], ["y"], name="gate", then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    with pytest.raises(UnsupportedOperator, match="If 'gate'") as caught:
        inspect_model(helper.make_model(graph).SerializeToString())
    assert "one branch" in caught.value.advice
    text = MLP.replace("Relu(s)", "com.example.Relu(s)").replace(
        '["" : 17]', '["" : 17, "com.example" : 1]'
    )
    with pytest.raises(UnsupportedOperator, match=r"com\.example"):
        inspect_model(model(text).SerializeToString())
    words = model()
    words.graph.initializer.append(numpy_helper.from_array(np.array(["a"], dtype=object), "t"))
    with pytest.raises(UnsupportedOperator, match="holds strings"):
        inspect_model(words.SerializeToString())


def test_what_no_pass_rewrites_is_refused_with_a_way_out() -> None:
    data = one_node("y = Det(x)", "float[4, 4] x")
    with pytest.raises(UnsupportedOperator, match="Det") as caught:
        inspect_model(data)
    assert caught.value.advice
    listed = inspect_model(data, allow_refused=True)
    assert [o.status for o in listed.operators] == ["refused"]


def test_one_value_under_two_output_names_is_refused_by_name() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3] x) => (float y, float z)
    { y = Relu(x) z = Identity(y) }"""
    with pytest.raises(ModelError, match="'y', 'z'"):
        inspect_model(parser.parse_model(text).SerializeToString())


def test_an_output_that_is_an_input_is_refused_by_name() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3] x) => (float y, float x)
    { y = Relu(x) }"""
    with pytest.raises(ModelError, match="output 'x' is an input"):
        inspect_model(parser.parse_model(text).SerializeToString())


def test_a_constant_without_a_value_is_refused_by_name() -> None:
    data = one_node("y = Mul(x, c)", "float[1, 2] x")
    broken = onnx.load_model_from_string(data)
    broken.graph.initializer.append(
        numpy_helper.from_array(np.array([np.nan, 1], dtype=np.float32), "c")
    )
    with pytest.raises(ModelError, match="'c' holds NaN"):
        inspect_model(broken.SerializeToString())
