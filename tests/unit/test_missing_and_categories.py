"""Missing values and categories: proved as the model, given NaN and text, answers them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from circuits.calibration.accuracy import compare
from circuits.calibration.samples import accepted_ranges, read_calibration
from circuits.compiler.inspect import inspect_model
from circuits.errors import (
    CalibrationError,
    InputCategory,
    InputNotFinite,
    InputOutOfRange,
    InputType,
    ModelTooLarge,
    UnsupportedOperator,
)
from circuits.format.input_forms import Columns, read_columns
from circuits.format.manifest import CircuitManifest
from circuits.format.tensors import InputEncoding, Signature
from circuits.lower import choose_bits, lower
from circuits.plan.integers import _MORE_BITS
from circuits.rewrite import rewrite
from circuits.rewrite.compare import run
from prover.statement.bundle import read_bundle
from prover.statement.commitment import input_json, parse_input_json
from prover.verify.checks.evidence import Unmet
from prover.verify.checks.files import _well_meant
from tests.cases.estimators import ML, model
from tests.cases.integers import outputs_of
from tests.cases.missing import CODES, MISSING, TEXT, Case, Raw, boosted, numbers
from tests.effort import examples, sampled


def sent(rows: Raw) -> bytes:
    """Rows as JSON, missing values by null and NaN in turn."""

    def plain(values: NDArray[Any]) -> Any:
        lists = values.tolist()
        for at, row in enumerate(lists):
            for place, value in enumerate(row):
                if isinstance(value, float) and np.isnan(value) and at % 2:
                    row[place] = None
        return lists

    return json.dumps({"inputs": {name: plain(values) for name, values in rows.items()}}).encode()


def columns(case: Case) -> tuple[Signature, Columns]:
    signature = inspect_model(case.onnx).signature
    return signature, read_columns(sent(case.rows), signature)


@pytest.mark.parametrize(
    "name",
    [*sampled(MISSING, 4), *sampled(TEXT, 4), *sampled(CODES, 4)],
)
@pytest.mark.slow
def test_rows_are_answered_as_the_model_answers_them(name: str) -> None:
    """In integers, planned on a few rows; against onnxruntime on what was sent."""
    case = (MISSING | TEXT | CODES)[name]()
    signature, read = columns(case)
    count = min(read.rows, examples(250, 1_000))
    samples = [read.row(at) for at in range(count)]
    spread = {n: (float(a.min()), float(a.max())) for n, a in read.arrays.items()}
    accepted = accepted_ranges(signature, spread, 0.1)
    found = rewrite(case.onnx, samples[:48])
    assert found.signature == signature
    assert all(node.domain == "" for node in _nodes(found.onnx))
    want = case.answers({name: values[:count] for name, values in case.rows.items()})
    np.testing.assert_allclose(  # in floats nothing but rounding differs
        [np.concatenate([o.reshape(-1) for o in a]) for a in run(found.onnx, samples)],
        [np.concatenate([o.reshape(-1) for o in a]) for a in want],
        rtol=1e-4,
        atol=1e-4,
    )
    errors = []
    for choice in choose_bits(found.onnx, samples[:48], accepted, 0.01, 0.99):
        for more in (0, *_MORE_BITS):
            variant = lower(found.onnx, choice.finer(more), accepted)
            errors.append(compare(want, outputs_of(variant, samples)).max_error)
            if errors[-1] <= 0.01:
                return
    pytest.fail(f"errors are {errors}")


def _nodes(data: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(data).graph.node


def test_what_inspection_says() -> None:
    summary = inspect_model(MISSING["less-small"]().onnx)
    assert "input 'x': values may be missing (null, NaN)" in summary.notes
    assert [(t.name, t.dtype, t.missing_of) for t in summary.signature.inputs] == [
        ("x", "float32", None),
        ("x/missing", "bool", "x"),
    ]
    strict, other = (inspect_model(TEXT[n]().onnx) for n in ("codes-strict", "codes-other"))
    assert "input 'home': text, one of 'family', 'own', 'rent'" in strict.notes
    assert "input 'home': text, one of 'family', 'own', 'rent', or any other" in other.notes
    assert Signature.from_json(other.signature.to_json()) == other.signature


def test_one_input_has_one_form_however_it_is_sent() -> None:
    signature = inspect_model(MISSING["less-small"]().onnx).signature
    null = b'{"inputs": {"x": [[41, null, 0.25, 3, null]]}}'
    nan = b'{"input_data": [[41, NaN, 0.25, 3, NaN]]}'
    table = b"x[0],x[1],x[2],x[3],x[4]\n41,,0.25,3,NaN\n"
    bare = b"41,,0.25,3,na\n"
    read = [read_columns(d, signature).arrays for d in (null, nan, table, bare)]
    for arrays in read:
        assert arrays["x"].tolist() == [[[41, 0, 0.25, 3, 0]]]
        assert arrays["x/missing"].tolist() == [[[False, True, False, False, True]]]
        assert list(arrays) == ["x", "x/missing"]


def test_a_statement_has_no_value_where_one_is_missing() -> None:
    signature = inspect_model(MISSING["less-small"]().onnx).signature
    encodings = [
        InputEncoding(tensor=t, scale=0, lower=0.0, upper=1.0 if t.missing_of else 99.0)
        for t in signature.inputs
    ]
    row = read_columns(b'{"inputs": {"x": [[1, null, 3, 4, 5]]}}', signature).row(0)
    document = input_json(encodings, row)
    assert parse_input_json(document, encodings)["x"].tolist() == [[1, 0, 3, 4, 5]]
    forged = document.replace(b"[1.0,0.0,3.0", b"[1.0,2.0,3.0")
    assert forged != document
    with pytest.raises(ValueError, match="a value where it is missing"):
        parse_input_json(forged, encodings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"upper": 2.0}, "the range of input 'x/missing'"),
        ({"lower": -1.0}, "the range of input 'x/missing'"),
        ({"scale": 1}, "the range of input 'x/missing'"),
        ({"tensor": {"missing_of": "z"}}, "'x/missing' is no mask of 'z'"),
        ({"tensor": {"dtype": "int64"}}, "'x/missing' is no mask of 'x'"),
        ({"tensor": {"shape": (1, 4)}}, "'x/missing' is no mask of 'x'"),
    ],
)
def test_a_verifier_believes_no_other_mask(change: dict[str, Any], says: str) -> None:
    """An issuer's manifest is his word: what a mask is called does not make it one."""
    vector = Path(__file__).parents[1] / "conformance" / "vectors" / "public.zkml"
    manifest = CircuitManifest.from_json(json.loads(read_bundle(vector.read_bytes()).manifest))
    signature = inspect_model(MISSING["less-small"]().onnx).signature
    value, mask = (InputEncoding(tensor=t, scale=0, lower=0.0, upper=1.0) for t in signature.inputs)
    _well_meant(dataclasses.replace(manifest, inputs=(value, mask)))
    tensor = dataclasses.replace(mask.tensor, **change.get("tensor", {}))
    bent = dataclasses.replace(mask, **{**change, "tensor": tensor})
    with pytest.raises(Unmet, match=says):
        _well_meant(dataclasses.replace(manifest, inputs=(value, bent)))


def test_a_model_that_does_not_ask_takes_no_missing_value() -> None:
    node = helper.make_node(
        "LinearRegressor", ["x"], ["y"], domain=ML, coefficients=[1.0, 2.0], intercepts=[0.5]
    )
    signature = inspect_model(model([node], 2, {"y": TensorProto.FLOAT})).signature
    with pytest.raises(InputNotFinite, match=r"'x' holds NaN at \[0, 1\] of row 1"):
        read_columns(b'{"inputs": {"x": [[1, 2], [3, NaN]]}}', signature)
    with pytest.raises(InputType, match=r"null where a float32 number belongs, at \[1, 0\]"):
        read_columns(b'{"inputs": {"x": [[1, 2], [null, 4]]}}', signature)


def test_a_model_that_asks_in_one_place_only_takes_none() -> None:
    """Its other use of the value would have no answer."""
    nodes = [
        helper.make_node("IsNaN", ["x"], ["none"]),
        helper.make_node("Cast", ["none"], ["flag"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "flag"], ["y"]),
    ]
    signature = inspect_model(model(nodes, 2, {"y": TensorProto.FLOAT})).signature
    assert signature.names == ("x",)


def test_a_choice_between_a_value_and_itself_asks_for_no_missing_one() -> None:
    """As skl2onnx writes a QuantileTransformer."""
    nodes = [
        helper.make_node("IsNaN", ["x"], ["none"]),
        helper.make_node("Not", ["none"], ["there"]),
        helper.make_node("Where", ["there", "x", "x"], ["same"]),
        helper.make_node("Relu", ["same"], ["y"]),
    ]
    signature = inspect_model(model(nodes, 2, {"y": TensorProto.FLOAT})).signature
    assert signature.names == ("x",)


def test_an_equality_that_a_missing_value_passes_is_refused() -> None:
    """With several of these on one input, onnxruntime's answers were not those of single tests."""
    with pytest.raises(UnsupportedOperator, match="BRANCH_EQ"):
        inspect_model(boosted("BRANCH_EQ", 3, 2, 3).onnx)


def test_calibration_without_missing_values_makes_a_circuit_that_takes_none() -> None:
    case = MISSING["less-large"]()
    signature = inspect_model(case.onnx).signature
    whole = {"x": numbers(64, 20, missing=0.0)}
    samples = read_calibration(sent(whole), signature)
    assert samples.ranges["x/missing"] == (0.0, 0.0)
    found = rewrite(case.onnx, samples.plan, ["x/missing"])
    read = [name for node in _nodes(found.onnx) for name in node.input]
    assert "x" in read
    assert "x/missing" not in read
    mask = signature.inputs[1]
    encoding = InputEncoding(tensor=mask, scale=0, lower=0.0, upper=0.0)
    with pytest.raises(InputOutOfRange, match=r"'x' has a missing value at \[0, 2\]"):
        encoding.quantise(np.array([[False, False, True, False, False]]))


def test_texts_that_the_model_does_not_know() -> None:
    strict = inspect_model(TEXT["codes-strict"]().onnx).signature
    row = {"age": [[30]], "used": [[0.5]], "purpose": [["boat"]], "home": [["own"]]}
    with pytest.raises(InputCategory, match="'purpose' holds 'boat'") as refused:
        read_columns(json.dumps({"inputs": row}).encode(), strict)
    assert "'business', 'car'" in (refused.value.advice or "")
    other = inspect_model(TEXT["codes-other"]().onnx).signature
    read = read_columns(json.dumps({"inputs": row}).encode(), other).row(0)
    assert read["purpose"].tolist() == [[4]]
    for wrong in (3, None, True):
        with pytest.raises(InputType, match="where a text belongs"):
            read_columns(json.dumps({"inputs": row | {"purpose": [[wrong]]}}).encode(), other)


def test_calibration_that_contradicts_the_signature() -> None:
    signature = inspect_model(TEXT["codes-strict"]().onnx).signature
    table = b"age,used,purpose,home\n30,0.5,car,own\n31,0.25,boat,own\n"
    with pytest.raises(CalibrationError, match="'boat'"):
        read_calibration(table, signature)
    known = read_calibration(table.replace(b"boat", b"car"), signature)
    assert known.ranges["purpose"] == (0.0, 3.0)  # whatever the data holds


def _one_hot(texts: list[str]) -> bytes:
    node = helper.make_node("OneHotEncoder", ["x"], ["hot"], domain=ML, cats_strings=texts)
    graph = helper.make_graph(
        [node, helper.make_node("ReduceSum", ["hot"], ["y"], keepdims=0)],
        "texts",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_limits_of_a_vocabulary() -> None:
    assert inspect_model(_one_hot([str(i) for i in range(1024)]))
    with pytest.raises(ModelTooLarge, match="1025 categories"):
        inspect_model(_one_hot([str(i) for i in range(1025)]))
    with pytest.raises(ModelTooLarge, match="256 characters"):
        inspect_model(_one_hot(["a" * 257]))


def test_text_that_is_not_looked_up_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("StringNormalizer", ["x"], ["low"], case_change_action="LOWER")],
        "texts",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("low", TensorProto.STRING, [1])],
    )
    written = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnsupportedOperator, match="StringNormalizer"):
        inspect_model(written.SerializeToString())


def test_a_column_that_is_encoded_holds_places() -> None:
    summary = inspect_model(CODES["codes-beside-measurements"]().onnx)
    assert "input 'x', column 0: one of 4, 5, 6, 7" in summary.notes
    signature = summary.signature
    assert [(t.name, t.shape, t.column_of, t.column) for t in signature.inputs] == [
        ("x", (1, 4), None, 0),
        ("x/0", (1, 1), "x", 0),
        ("x/2", (1, 1), "x", 2),
    ]
    assert [t.name for t in signature.sent] == ["x"]
    assert Signature.from_json(signature.to_json()) == signature
    rows = b'{"inputs": {"x": [[[4, 1.5, 10, 2]], [[7.0, 0, -10, 0]]]}}'
    read = read_columns(rows, signature).arrays
    assert read["x"].tolist() == [[[0, 1.5, 0, 2]], [[0, 0, 0, 0]]]
    assert (read["x/0"].tolist(), read["x/2"].tolist()) == ([[[0]], [[3]]], [[[2]], [[0]]])


def test_a_text_of_another_column_for_which_there_is_no_number_is_refused() -> None:
    """One list of texts serves a matrix: an encoder without a number for some would give NaN."""
    encoded = [
        helper.make_node(
            "LabelEncoder",
            [f"c{n}"],
            [f"e{n}"],
            domain=ML,
            keys_strings=keys,
            values_floats=[1.0, 4.0],
            default_float=float("nan"),
        )
        for n, keys in enumerate((["boat", "car"], ["own", "rent"]))
    ]
    nodes = [
        *(helper.make_node("Gather", ["x", f"i{n}"], [f"c{n}"], axis=1) for n in range(2)),
        *encoded,
        helper.make_node("Concat", ["e0", "e1"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.array([n]), f"i{n}") for n in range(2)],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid(ML, 2)], ir_version=8
    )
    with pytest.raises(UnsupportedOperator, match="no answer for categories of another column"):
        inspect_model(made.SerializeToString())


@pytest.mark.parametrize("data", [
    b'{"inputs": {"x": [[[4, 1.5, 10, 2]], [[9, 0, 0, 0]]]}}',
    b"4,1.5,10,2\n9,0,0,0\n",
])  # fmt: skip
def test_a_number_that_is_no_category_is_refused_with_its_place(data: bytes) -> None:
    signature = inspect_model(CODES["codes-beside-measurements"]().onnx).signature
    with pytest.raises(InputCategory, match=r"'x' holds 9\.0 at \[0, 0\]") as refused:
        read_columns(data, signature)
    assert refused.value.advice == "They are 4, 5, 6, 7."


def test_a_column_of_which_the_model_asks_more_is_refused() -> None:
    """Its number and its place would be two inputs that nothing ties together."""
    first = numpy_helper.from_array(np.array([0], dtype=np.int64))
    nodes = [
        helper.make_node("Constant", [], ["first"], value=first),
        helper.make_node("ArrayFeatureExtractor", ["x", "first"], ["code"], domain=ML),
        helper.make_node(
            "OneHotEncoder", ["code"], ["hot"], domain=ML, cats_int64s=[1, 2, 3], zeros=0
        ),
        helper.make_node("ReduceSum", ["hot"], ["ones"], keepdims=0),
        helper.make_node("Mul", ["x", "ones"], ["y"]),
    ]
    with pytest.raises(UnsupportedOperator, match="something else asks for the number too"):
        inspect_model(model(nodes, 2, {"y": TensorProto.FLOAT}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"upper": 4.0}, "the range of input 'x/0'"),
        ({"tensor": {"column_of": "z"}}, "'x/0' is no column of 'z'"),
        ({"tensor": {"column": 4}}, "'x/0' is no column of 'x'"),
        ({"tensor": {"column": 2}}, "'x/2' is no column of 'x'"),
        ({"tensor": {"shape": (2, 1)}}, "'x/0' is no column of 'x'"),
        ({"tensor": {"categories": ("4", "five", "6", "7")}}, "'x/0' is no column of 'x'"),
        ({"tensor": {"categories": None}}, "'x/0' is no column of 'x'"),
    ],
)
def test_a_verifier_believes_no_other_column(change: dict[str, Any], says: str) -> None:
    vector = Path(__file__).parents[1] / "conformance" / "vectors" / "public.zkml"
    manifest = CircuitManifest.from_json(json.loads(read_bundle(vector.read_bytes()).manifest))
    signature = inspect_model(CODES["codes-beside-measurements"]().onnx).signature
    own = [
        InputEncoding(tensor=t, scale=0, lower=0.0, upper=max(0.0, t.places - 1.0))
        for t in signature.inputs
    ]
    _well_meant(dataclasses.replace(manifest, inputs=tuple(own)))
    tensor = dataclasses.replace(own[1].tensor, **change.get("tensor", {}))
    own[1] = dataclasses.replace(own[1], **{**change, "tensor": tensor})
    with pytest.raises(Unmet, match=says):
        _well_meant(dataclasses.replace(manifest, inputs=tuple(own)))


def test_a_statement_has_no_number_where_a_category_stands() -> None:
    signature = inspect_model(CODES["codes-beside-measurements"]().onnx).signature
    encodings = [InputEncoding(tensor=t, scale=0, lower=0.0, upper=9.0) for t in signature.inputs]
    row = read_columns(b'{"inputs": {"x": [[5, 1, 0, 2]]}}', signature).row(0)
    document = input_json(encodings, row)
    assert parse_input_json(document, encodings)["x/0"].tolist() == [[1]]
    forged = document.replace(b"[0.0,1.0,0.0,2.0]", b"[5.0,1.0,0.0,2.0]")
    assert forged != document
    with pytest.raises(ValueError, match="x: a number where a category stands"):
        parse_input_json(forged, encodings)
