"""A batch dimension is propagated through a graph, or refused with the node that prevents it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from benchmarks.zoo.zoo import ZOO
from circuits.batching.errors import CannotBatch
from circuits.batching.vectorize import vectorize
from circuits.format.tensors import TensorSpec
from circuits.rewrite import bind_context, rewrite
from circuits.rewrite.compare import run
from tests.cases.lanes import pack, vectorize_checked

X = TensorSpec(name="x", dtype="float32", shape=(1, 6))


def graph(body: str, shape: str = "1,6") -> bytes:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]>g (float[{shape}] x) => (float[N] y) {{{body}}}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return bytes(inferred.SerializeToString())


CARRIED = {
    "reshape": "s = Constant<value_ints=[1,2,3]>()\n y = Reshape(x, s)",
    "flatten": "a = Constant<value_ints=[1,1,2,3]>()\n b = Reshape(x, a)\n y = Flatten<axis=1>(b)",
    "squeezed to a vector and back": (
        "a = Constant<value_ints=[0]>()\n b = Squeeze(x, a)\n c = Relu(b)\n y = Unsqueeze(c, a)"
    ),
    "repeated constant": (
        "a = Constant<value_ints=[0]>()\n b = Squeeze(x, a)\n"
        "w = Constant<value = float[6] {1, 2, 3, 4, 5, 6}>()\n c = Mul(b, w)\n y = Unsqueeze(c, a)"
    ),
    "first of a batch of one": "i = Constant<value_int=0>()\n b = Gather<axis=0>(x, i)\n"
    " a = Constant<value_ints=[1,6]>()\n y = Reshape(b, a)",
    "transposed and back": (
        "a = Transpose<perm=[1,0]>(x)\n b = Sigmoid(a)\n y = Transpose<perm=[1,0]>(b)"
    ),
    "constant joined": "c = Constant<value = float[1,2] {7, 8}>()\n y = Concat<axis=1>(x, c)",
    "attention": (
        "s = Constant<value_ints=[1,2,3]>()\n q = Reshape(x, s)\n k = Transpose<perm=[0,2,1]>(q)\n"
        "a = MatMul(q, k)\n b = Softmax<axis=-1>(a)\n y = MatMul(b, q)"
    ),
    "whole slice": (
        "s = Constant<value_ints=[0,1]>()\n e = Constant<value_ints=[1,4]>()\n"
        "a = Constant<value_ints=[0,1]>()\n y = Slice(x, s, e, a)"
    ),
    "beside more rows than one": (
        "c = Constant<value = float[2,1] {1, 2}>()\n a = Add(x, c)\n b = Mul(a, x)\n"
        "s = Constant<value_ints=[1,12]>()\n y = Reshape(b, s)"
    ),
    "distances to vectors": (
        "v = Constant<value = float[2,6] {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}>()\n d = Sub(v, x)\n"
        "q = Mul(d, d)\n a = Constant<value_ints=[1]>()\n r = ReduceSum<keepdims=0>(q, a)\n"
        "s = Constant<value_ints=[1,2]>()\n y = Reshape(r, s)"
    ),
    "reshaped across the batch": (
        "t = Transpose<perm=[1,0]>(x)\n a = Constant<value_ints=[2,3,1]>()\n b = Reshape(t, a)\n"
        "c = Constant<value_ints=[1,6]>()\n y = Reshape(b, c)"
    ),
    "lanes in different places": (
        "t = Transpose<perm=[1,0]>(x)\n a = Constant<value_ints=[1,6]>()\n b = Reshape(t, a)\n"
        "c = Constant<value_ints=[6,1]>()\n d = Reshape(x, c)\n e = Transpose<perm=[1,0]>(d)\n"
        "y = Add(b, e)"
    ),
    "an output with the batch in its last axis": "y = Transpose<perm=[1,0]>(x)",
    "expand": "s = Constant<value_ints=[3,1,6]>()\n a = Expand(x, s)\n"
    " y = Transpose<perm=[1,0,2]>(a)",
}

REFUSED = {
    "Softmax": "y = Softmax<axis=0>(x)",
    "ReduceSum": "a = ReduceSum<keepdims=1>(x)\n y = Add(a, x)",
    "Concat": "y = Concat<axis=0>(x, x)",
    "Slice": (
        "s = Constant<value_ints=[-1]>()\n e = Constant<value_ints=[1]>()\n"
        "a = Constant<value_ints=[0]>()\n b = Slice(x, s, e, a)\n y = Relu(b)"
    ),
    "Gather": "i = Constant<value_ints=[0,0]>()\n y = Gather<axis=0>(x, i)",
    "MatMul": "t = Transpose<perm=[1,0]>(x)\n y = MatMul(t, x)",
}


@pytest.mark.parametrize("name", CARRIED)
def test_every_lane_computes_what_the_single_lane_graph_computes(name: str) -> None:
    single = graph(CARRIED[name])
    for lanes in (2, 3, 8):
        batched = vectorize_checked(single, lanes)
        assert batched == vectorize_checked(single, lanes)
        assert onnx.load_from_string(batched).graph.input[0].type.tensor_type.shape.dim[
            0
        ].dim_value == (lanes)


@pytest.mark.parametrize("operator", REFUSED)
def test_a_node_that_mixes_the_lanes_is_named(operator: str) -> None:
    with pytest.raises(CannotBatch) as caught:
        vectorize(graph(REFUSED[operator]), 4)
    assert caught.value.context["op"] == operator


def test_one_lane_changed_leaves_all_others_as_they_were() -> None:
    batched = vectorize(graph(CARRIED["attention"]), 5)
    rng = np.random.default_rng(3)
    rows = [{"x": rng.normal(size=(1, 6)).astype(np.float32)} for _ in range(5)]
    (before,) = run(batched, [pack(rows, [X])])
    rows[2] = {"x": rows[2]["x"] + 1}
    (after,) = run(batched, [pack(rows, [X])])
    changed = np.abs(before[0] - after[0]).reshape(5, -1).max(axis=1) > 0
    assert changed.tolist() == [False, False, True, False, False]


SEQUENCES = {
    "the batch behind the steps": ("6,1,2", "y = Relu(x)"),
    "the mean over the steps": (
        "6,1,2",
        "b = ReduceMean<axes=[0], keepdims=0>(x)\n s = Constant<value_ints=[1,2]>()\n"
        " y = Reshape(b, s)",
    ),
    "no batch at all": ("6", "c = Constant<value = float[6] {1,2,3,4,5,6}>()\n y = Mul(x, c)"),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_inputs_without_a_leading_batch_are_batched_too(name: str) -> None:
    shape, body = SEQUENCES[name]
    for lanes in (2, 5):
        vectorize_checked(graph(body, shape), lanes)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("output", ["all", "last"])
def test_recurrent_layers_keep_the_lanes_beside_the_steps(operator: str, output: str) -> None:
    rng = np.random.default_rng(1)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    arrays = {
        "w": rng.normal(size=(1, gates * 2, 3)),
        "r": rng.normal(size=(1, gates * 2, 2)),
        "h": rng.normal(size=(1, 1, 2)),
    }
    first = {"all": ["y"], "last": ["", "y"]}[output]
    node = onnx.helper.make_node(operator, ["x", "w", "r", "", "", "h"], first, hidden_size=2)
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "recurrent",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 1, 3])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    vectorize_checked(onnx.shape_inference.infer_shapes(made).SerializeToString(), 3)


def test_what_works_along_the_only_axis_of_an_input_is_refused_by_name() -> None:
    with pytest.raises(CannotBatch, match=r"Softmax at node .* along the batch"):
        vectorize(graph("y = Softmax<axis=0>(x)", shape="6"), 2)


@pytest.mark.parametrize("name", ["digits", "gradient-boosting", "attention", "minicnn-8", "svm"])
def test_models_exported_with_a_batch_of_one_are_batched_with_their_context(name: str) -> None:
    built = ZOO[name].build()
    samples = [{n: a[i] for n, a in built.calibration.items()} for i in range(4)]
    bound = bind_context(rewrite(built.onnx, samples).onnx, 16)
    batched = vectorize_checked(bound, 3, samples)
    inputs = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in onnx.load_from_string(batched).graph.input
    }
    assert inputs.pop("zkml_context") == [1, 48]
    assert all(shape[0] == 3 for shape in inputs.values())
