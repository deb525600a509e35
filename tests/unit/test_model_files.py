"""Weights beside a model are taken from its own folder, and from nowhere else; functions that stand
for more than anybody can hold are counted before they are written out."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from circuits.compiler.inspect import inspect_model
from circuits.errors import DynamicShape, ExternalData, ModelError, ModelTooLarge, NotOnnx
from circuits.frontend.binding import bound_model
from circuits.frontend.external import embed_external, unpacked
from circuits.frontend.functions import MAX_NODES
from circuits.frontend.reading import read_model
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from prover.cli.shapes import parse_shapes
from tests.cases.tiny import linear, model

LIMIT = 1 << 20


def saved(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def beside(folder: Path, location: str = "weights.data") -> bytes:
    """The linear model with its weights in a file, and what names that file."""
    model = onnx.load_model_from_string(linear())
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.data", size_threshold=0
    )
    onnx.external_data_helper.write_external_data_tensors(model, str(folder))
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    return bytes(model.SerializeToString())


def test_a_pair_is_the_model_as_it_was(tmp_path: Path) -> None:
    whole = read_model(embed_external(beside(tmp_path), tmp_path, LIMIT))
    want = {t.name: numpy_helper.to_array(t) for t in read_model(linear()).graph.initializer}
    for tensor in whole.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), want[tensor.name])
    assert embed_external(linear(), tmp_path, LIMIT) == linear()


@pytest.mark.parametrize(
    "location", ["../weights.data", "/etc/passwd", "a/b", "..", "", "missing.data", "link.data"]
)
def test_no_file_but_a_plain_one_of_the_folder_is_read(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    data = beside(folder, location)
    (tmp_path / "weights.data").write_bytes(b"\0" * 4096)
    (folder / "link.data").symlink_to(tmp_path / "weights.data")
    with pytest.raises(ExternalData) as caught:
        embed_external(data, folder, LIMIT)
    assert caught.value.code == "model_external_data"


def test_a_file_that_is_shorter_than_declared_is_refused(tmp_path: Path) -> None:
    data = beside(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"\0" * 8)
    with pytest.raises(ExternalData, match="which has 8 bytes"):
        embed_external(data, tmp_path, LIMIT)


def test_data_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    data = beside(tmp_path)
    with pytest.raises(ModelTooLarge):
        embed_external(data, tmp_path, len(data) + 10)


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


def test_an_archive_of_the_pair_is_the_model_as_it_was(tmp_path: Path) -> None:
    data = beside(tmp_path)
    weights = (tmp_path / "weights.data").read_bytes()
    whole = unpacked(zipped(network_onnx=data, weights_data=weights), LIMIT)
    assert whole == embed_external(data, tmp_path, LIMIT)
    assert unpacked(zipped(network_onnx=linear()), LIMIT) == linear()


def test_an_archive_that_is_no_model_is_refused_with_what_to_pack(tmp_path: Path) -> None:
    data = beside(tmp_path)
    weights = (tmp_path / "weights.data").read_bytes()
    with pytest.raises(NotOnnx, match=r"has 0 \.onnx files"):
        unpacked(zipped(weights_data=weights), LIMIT)
    with pytest.raises(NotOnnx, match="damaged"):
        unpacked(zipped(network_onnx=data)[:-30], LIMIT)
    with pytest.raises(ExternalData, match="not in the archive"):
        unpacked(zipped(network_onnx=data), LIMIT)
    with pytest.raises(ExternalData, match="are wanted from"):
        unpacked(zipped(network_onnx=data, weights_data=weights[:4]), LIMIT)
    with pytest.raises(ModelTooLarge, match="unpacks to more"):
        unpacked(zipped(network_onnx=data, weights_data=b"\0" * LIMIT), LIMIT)


def doubling(depth: int) -> bytes:
    """A model with one call that expands to ``2^depth`` nodes."""
    functions = []
    for level in range(depth):
        inner = helper.make_node("Relu", ["a"], ["m"])
        outer = helper.make_node("Relu", ["m"], ["b"])
        if level:
            inner = helper.make_node(f"f{level - 1}", ["a"], ["m"], domain="own")
            outer = helper.make_node(f"f{level - 1}", ["m"], ["b"], domain="own")
        sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        functions.append(
            helper.make_function("own", f"f{level}", ["a"], ["b"], [inner, outer], sets)
        )
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 2])],
        [helper.make_tensor_value_info("y", kind, [1, 2])],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8, functions=functions)
    return bytes(model.SerializeToString())


def test_functions_are_written_out_as_far_as_can_be_held() -> None:
    assert len(read_model(doubling(4)).graph.node) == 16
    with pytest.raises(ModelTooLarge, match=str(MAX_NODES)):
        read_model(doubling(60))


def test_a_function_that_calls_itself_is_refused() -> None:
    model = onnx.load_model_from_string(doubling(2))
    for node in model.functions[0].node:
        node.domain, node.op_type = "own", "f1"
    with pytest.raises(ModelError, match="calls itself"):
        read_model(model.SerializeToString())


def sequences() -> bytes:
    """``y = Relu(x)`` on float32 [batch, seq, 3]."""
    return model(
        [helper.make_node("Relu", ["x"], ["y"])],
        {"x": (onnx.TensorProto.FLOAT, ["batch", "seq", 3])},
        {"y": (onnx.TensorProto.FLOAT, ["batch", "seq", 3])},
    )


@pytest.mark.parametrize(
    ("shapes", "sample"),
    [
        ({"x": [1, 5, 3]}, None),
        ({"seq": [5]}, None),
        ({}, b'{"inputs": {"x": [[[1,2,3],[1,2,3],[1,2,3],[1,2,3],[1,2,3]]]}}\n{}'),
        ({}, saved(x=np.zeros((7, 5, 3)))),
        ({}, saved(x=np.zeros((7, 1, 5, 3)))),
    ],
    ids=["input", "axis", "row", "rows", "batches"],
)
def test_dynamic_axes_are_bound_to_the_same_file(
    shapes: dict[str, list[int]], sample: bytes | None
) -> None:
    bound = bound_model(sequences(), shapes, sample)
    assert inspect_model(bound).signature.inputs[0].shape == (1, 5, 3)
    assert bound == bound_model(sequences(), {"seq": [5]})
    assert bound_model(bound, {}, sample) == bound


@pytest.mark.parametrize("shapes", [{"y": [5]}, {"x": [5]}, {"x": [1, 5, 3, 1]}])
def test_a_shape_that_the_model_does_not_have_is_refused(shapes: dict[str, list[int]]) -> None:
    with pytest.raises(DynamicShape):
        bound_model(sequences(), shapes)


@pytest.mark.parametrize("text", ["x", "x=", "=5", "x=1,0", "x=1,a", "x=-1"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(DynamicShape):
        parse_shapes([text])


def distances(rows: int, *, moves: bool = False, opset: int = 17) -> bytes:
    """Squared distances to constant rows by a Scan, as skl2onnx writes nearest neighbours; of what
    ``moves``, to each row from where the last one has led. From opset 18 on axes are an input."""
    kind = onnx.TensorProto.FLOAT
    after = helper.make_node("Add", ["a", "row"], ["b"])
    given = ["axes"] if opset >= 18 else []
    axes: dict[str, Any] = {} if given else {"axes": [1]}
    body = helper.make_graph(
        [
            after if moves else helper.make_node("Identity", ["a"], ["b"]),
            helper.make_node("Sub", ["a", "row"], ["gap"]),
            helper.make_node("ReduceSumSquare", ["gap", *given], ["d"], keepdims=0, **axes),
        ],
        "body",
        [
            helper.make_tensor_value_info("a", kind, [1, 2]),
            helper.make_tensor_value_info("row", kind, [2]),
        ],
        [
            helper.make_tensor_value_info("b", kind, [1, 2]),
            helper.make_tensor_value_info("d", kind, [1]),
        ],
        [numpy_helper.from_array(np.array([1]), name) for name in given],
    )
    table = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    scan = helper.make_node("Scan", ["x", "t"], ["z", "y"], body=body, num_scan_inputs=1)
    return model(
        [scan],
        {"x": (kind, [1, 2])},
        {"y": (kind, [rows, 1])},
        {"t": table},
        opset=max(opset, 17),
    )


@pytest.mark.parametrize("moves", [False, True], ids=["all at once", "step by step"])
@pytest.mark.parametrize(("opset", "ir"), [(18, 8), (17, 8), (11, 6), (9, 3)])
def test_a_scan_over_constants_is_written_out(opset: int, ir: int, moves: bool) -> None:
    made = onnx.load_model_from_string(distances(6, moves=moves, opset=opset))
    made.opset_import[0].version, made.ir_version = opset, ir
    data = made.SerializeToString()
    operators = [n.op_type for n in read_model(data).graph.node]
    assert "Scan" not in operators
    assert operators.count("ReduceSumSquare") == (6 if moves else 1)
    sample = {"x": np.array([[0.5, -1.0]], dtype=np.float32)}
    (want,), (got,) = run(data, [sample]), run(rewrite(data, [sample]).onnx, [sample])
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)


def test_a_scan_over_more_than_can_be_held_is_refused() -> None:
    with pytest.raises(ModelTooLarge, match="Scan"):
        read_model(distances(20_000, moves=True))
