"""Weights beside a model are taken from its own folder, and from nowhere else; functions that stand
for more than anybody can hold are counted before they are written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from circuits.errors import ExternalData, ModelError, ModelTooLarge
from circuits.model.external import embed_external
from circuits.model.reading import MAX_NODES, read_model
from tests.tiny import linear

LIMIT = 1 << 20


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
    with pytest.raises(ExternalData, match="which has 8"):
        embed_external(data, tmp_path, LIMIT)


def test_data_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    data = beside(tmp_path)
    with pytest.raises(ModelTooLarge):
        embed_external(data, tmp_path, len(data) + 10)


def doubling(depth: int) -> bytes:
    """A model of one call that stands for ``2^depth`` nodes."""
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
