"""Every pass changes what it says and nothing that the model computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from circuits.compiler.inspect import inspect_model
from circuits.errors import CircuitNotFaithful, UnsupportedOperator
from circuits.frontend import reading
from circuits.rewrite import bind_context, compare, draft, pipeline, rewrite, uploaded
from circuits.rewrite.context import CONTEXT_INPUT
from circuits.rewrite.edit import Pass, expand
from tests.cases.rewriting import CASES, IMAGE, X4, after, graph, samples

STEPS = tuple(dict.fromkeys((*pipeline.PASSES, *pipeline._REPAIRS)))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_pass_rewrites_a_graph_as_its_case_shows(step: Pass) -> None:
    """Each pass has a case, in tests/cases/rewriting."""
    assert after(step, CASES[step.name].model) == CASES[step.name].nodes


def test_the_documentation_lists_every_pass_in_order() -> None:
    text = (Path(__file__).parents[2] / "docs/compiler.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    said = [f"| `{step.name}` | {step.version} | {step.purpose} |" for step in pipeline.PASSES]
    assert rows[: len(said)] == said


@pytest.mark.parametrize("name", [step.name for step in pipeline.PASSES])
def test_a_pass_keeps_what_the_model_computes(name: str) -> None:
    """``rewrite`` itself compares with onnxruntime and raises when a pass changes the outputs."""
    data = CASES[name].model
    result = rewrite(data, samples(data))
    # What the last pass folds, the first one finds already where nothing is between them.
    assert ("fold-constants" if name == "fold-leftovers" else name) in {
        p.name for p in result.passes
    }
    rounds = any(step.rounds and step.name == name for step in pipeline.PASSES)
    allowed = pipeline.ROUNDING_TOLERANCE if rounds else pipeline.TOLERANCE
    assert result.max_difference <= allowed
    assert rewrite(result.onnx, samples(data)).onnx == result.onnx


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool", "AveragePool, count_include_pad = 1"])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("pads", ["0, 0, 0, 0", "0, 1, 1, 0"])
def test_pooling_over_the_border_means_what_onnx_says(pool: str, ceil: int, pads: str) -> None:
    op, _, extra = pool.partition(",")
    attributes = f"kernel_shape = [2, 2], strides = [2, 2], pads = [{pads}], ceil_mode = {ceil}"
    joined = f"{attributes}, {extra}" if extra else attributes
    data = graph(f"y = {op}<{joined}>(x)", IMAGE, opset=19)
    # All-negative images: the engine's zero padding would show.
    rewrite(data, samples(data, -3.0, -1.0))


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool", "AveragePool, count_include_pad = 1"])
@pytest.mark.parametrize("pads", ["0, 0, 0, 0", "0, 1, 1, 0"])
def test_windows_of_elements_that_are_apart_are_laid_side_by_side(pool: str, pads: str) -> None:
    op, _, extra = pool.partition(",")
    attributes = f"kernel_shape = [2, 2], dilations = [2, 2], strides = [2, 1], pads = [{pads}]"
    joined = f"{attributes}, {extra}" if extra else attributes
    data = graph(f"y = {op}<{joined}>(x)", IMAGE, opset=19)
    rewrite(data, samples(data, -3.0, -1.0))


@pytest.mark.slow
def test_equal_models_give_equal_bytes_in_every_process() -> None:
    code = (
        "import sys; from circuits.rewrite import rewrite;"
        "from circuits.format.digests import sha256;"
        "print(sha256(rewrite(sys.stdin.buffer.read()).onnx))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=CASES["decompose-pooling"].model,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_pass_that_changes_the_model_refuses_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Pass(
        name="wrong",
        version=1,
        purpose="",
        reference="",
        run=lambda model: expand(model, {"Relu": lambda node, b: b.op("Abs", node.inputs[0])}),
    )
    monkeypatch.setattr(pipeline, "PASSES", (wrong,))
    data = graph("y = Relu(x)", X4)
    with pytest.raises(CircuitNotFaithful, match="'wrong'"):
        rewrite(data, samples(data))


def test_a_model_is_parsed_again_only_if_a_pass_changed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed = []

    def from_proto(model: onnx.ModelProto) -> ir.Model:
        parsed.append(model)
        return ir.from_proto(model)

    monkeypatch.setattr(draft, "ir", SimpleNamespace(from_proto=from_proto, to_proto=ir.to_proto))
    steps = " ".join(f"v{i + 1} = Relu(v{i})" for i in range(400))
    found = rewrite(graph(f"v0 = Neg(x) {steps} y = Neg(v400)", X4))
    assert len(parsed) <= 1 + len(found.passes)
    before = len(parsed)
    rewrite(graph(f"v0 = Neg(x) {steps} y = Neg(v400)", X4))
    assert len(parsed) == before


def test_what_was_inspected_is_not_read_again_to_be_rewritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Samples have the shapes that the model is inspected in, mostly."""
    read, ran = [], []

    def read_model(data: bytes) -> onnx.ModelProto:
        read.append(data)
        return reading.read_model(data)

    def run(data: bytes, feeds: Any) -> Any:
        ran.append(data)
        return compare.run(data, feeds)

    monkeypatch.setattr(uploaded, "read_model", read_model)
    monkeypatch.setattr(pipeline, "run", run)
    data = graph("d = Dropout(x) y = Gelu(d)", X4, opset=20)
    inspect_model(data)
    found = rewrite(data, samples(data))
    assert len(found.passes) > 1
    assert read == [data]
    # The model as it came and as it leaves, however many passes are between.
    assert len(ran) == 2


def test_what_no_pass_makes_provable_is_refused_with_its_node() -> None:
    data = graph("a = Abs(x) y = NonZero(a)", X4)
    with pytest.raises(UnsupportedOperator, match="NonZero"):
        rewrite(onnx_with_int_output(data))


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("count", "width"), [(1, 5), (3, 5), (5, 5), (2, 40)])
def test_the_best_are_chosen_as_onnxruntime_chooses_them(
    largest: int, count: int, width: int
) -> None:
    """Also where they are equal: the first of them comes first."""
    body = f"v, i = TopK<axis = 1, largest = {largest}>(x, k) f = Cast<to = 1>(i)"
    data = graph(
        f"{body} y = Concat<axis = 1>(v, f)",
        f"float[1, {width}] x",
        f"<int64[1] k = {{{count}}}>",
    )
    ties = np.random.default_rng(2).integers(0, 4, (8, 1, width)).astype(np.float32)
    rewrite(data, [*samples(data), *({"x": row} for row in ties)])


def test_a_mask_of_minus_infinity_becomes_finite() -> None:
    """As attention writes one: the engine holds no infinity."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x) => (float y)
    { a = Add(x, n) y = Softmax(a) }"""
    made = parser.parse_model(text)
    mask = np.array([0, -np.inf, 0, -np.inf], dtype=np.float32)
    made.graph.initializer.append(onnx.numpy_helper.from_array(mask, "n"))
    data = made.SerializeToString()
    found = onnx.load_model_from_string(rewrite(data, samples(data)).onnx)
    constants = [onnx.numpy_helper.to_array(t) for t in found.graph.initializer]
    assert all(np.isfinite(c).all() for c in constants if c.dtype.kind == "f")


@pytest.mark.parametrize("test", ["Equal(m, i)", "Less(m, i)", "Greater(i, m)"])
def test_what_is_an_input_is_never_infinite(test: str) -> None:
    """As exporters ask whether a mask leaves nothing of a row."""
    body = f"m = ReduceMax<axes = [1]>(x) a = {test} z = Where(a, o, x) y = Relu(z)"
    model = onnx.load_model_from_string(graph(body, "float[1, 2] x"))
    for name, value in (("i", -np.inf), ("o", 0.0)):
        constant = np.full((1, 1), value, dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(constant, name))
    data = model.SerializeToString()
    found = onnx.load_model_from_string(rewrite(data, samples(data)).onnx)
    assert [node.op_type for node in found.graph.node] == ["Where", "Relu"]


@pytest.mark.parametrize("of", ["x", "d"])
def test_a_softmax_written_as_powers_is_one(of: str) -> None:
    """With and without the largest taken off, also where scores are in the hundreds."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2, 4] x) => (float y)
    <int64[1] a = {{1}}>
    {{ m = ReduceMax<axes = [1]>(x) d = Sub(x, m) e = Exp({of}) t = ReduceSum(e, a)
       y = Div(e, t) }}"""
    data = parser.parse_model(text).SerializeToString()
    rows = [{"x": row * (1 if of == "x" else 300)} for row in (s["x"] for s in samples(data))]
    found = rewrite(data, rows)
    operators = [node.op_type for node in onnx.load_model_from_string(found.onnx).graph.node]
    assert "Softmax" in operators
    assert not {"Exp", "Div"} & {*operators}


def test_nearest_neighbours_are_looked_up_by_products() -> None:
    """A table of classes at places that TopK found, as exporters write the vote."""
    text = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
    g (float[1, 12] x) => (float y) <int64[12] t = {0,2,1,1,0,2,2,0,1,0,1,2}, int64[1] k = {3}>
    { r = Abs(x) s = Sqrt(r) v, i = TopK<axis = 1, largest = 0>(s, k) f = Flatten(i)
      l = ai.onnx.ml.ArrayFeatureExtractor(t, f) y = Cast<to = 1>(l) }"""
    data = parser.parse_model(text).SerializeToString()
    found = rewrite(data, samples(data))
    assert b"TopK" not in found.onnx.replace(b"TopK/", b"").replace(b"i/", b"")


@pytest.mark.parametrize(
    "text",
    [
        "m = ArgMin<axis = 1>(x) y = GatherElements<axis = 1>(x, m)",
        "m = ArgMax<axis = 0>(x) y = GatherElements<axis = 0>(x, m)",
        "v, i = TopK<axis = 1>(x, k) m = ArgMin<axis = 1>(v) p = GatherElements<axis = 1>(i, m)"
        " y = Cast<to = 1>(p)",
        "m = ArgMax<axis = 1>(x) y = ai.onnx.ml.ArrayFeatureExtractor(t, m)",
        "m = ArgMax<axis = 1, keepdims = 0>(x) y = ai.onnx.ml.ArrayFeatureExtractor(t2, m)",
    ],
)
def test_elements_at_computed_places_are_sums_of_products(text: str) -> None:
    whole = f"""<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
    g (float[3, 4] x) => (float y)
    <float[4] t = {{0.5, 2, -1, 7}}, float[2, 4] t2 = {{0.5, 2, -1, 7, 1, 2, 3, 4}},
     int64[1] k = {{3}}> {{ {text} }}"""
    data = parser.parse_model(whole).SerializeToString()
    found = onnx.load_model_from_string(rewrite(data, samples(data)).onnx)
    operators = {node.op_type for node in found.graph.node}
    assert not operators & {"ArrayFeatureExtractor", "GatherElements", "TopK"}
    assert rewrite(data, samples(data)).max_difference <= pipeline.TOLERANCE


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_running_sums_go_the_way_the_model_says(axis: int, reverse: int, exclusive: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[3, 4] x) => (float y)
    <int64 a = {{{axis}}}>
    {{ y = CumSum<exclusive = {exclusive}, reverse = {reverse}>(x, a) }}"""
    data = parser.parse_model(text).SerializeToString()
    assert rewrite(data, samples(data)).max_difference <= pipeline.TOLERANCE


def test_quantised_convolutions_may_be_dilated_and_padded() -> None:
    """As onnxruntime quantises a temporal convolution: the border is padded between levels."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 1, 6] x) => (float y)
    <float s = {0.02}, uint8 z = {120}, float t = {0.1}, uint8 o = {7}, float[1] u = {0.01},
     int8[1] n = {0}, int8[1, 1, 3] w = {1, -2, 3}, int64[6] b = {0, 0, 4, 0, 0, 0}>
    { q = QuantizeLinear(x, s, z) p = Pad(q, b, z) d = DequantizeLinear(p, s, z)
      v = DequantizeLinear<axis = 0>(w, u, n) c = Conv<dilations = [2]>(d, v)
      r = QuantizeLinear(c, t, o) y = DequantizeLinear(r, t, o) }"""
    data = parser.parse_model(text).SerializeToString()
    found = rewrite(data, samples(data))
    assert found.max_difference <= pipeline.TOLERANCE
    operators = [node.op_type for node in onnx.load_model_from_string(found.onnx).graph.node]
    assert "Cast" not in operators


def test_a_sequence_of_outputs_is_its_tensors() -> None:
    """As several classifiers in one are exported."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 4] x) => (seq(float) s, float[1, 4] z)
    { a = Relu(x) b = Neg(x) s = SequenceConstruct(a, b) z = Abs(x) }"""
    data = parser.parse_model(text).SerializeToString()
    assert [o.name for o in rewrite(data, samples(data)).signature.outputs] == ["a", "b", "z"]


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_operators_of_onnxruntimes_quantiser_mean_what_it_computes(op: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[1, 4] x) => (float y)
    <float s = {{0.05}}, uint8 z = {{120}}, float t = {{0.1}}, uint8 o = {{7}}>
    {{ q = QuantizeLinear(x, s, z) r = com.microsoft.{op}(q, s, z, q, s, z, t, o)
       y = DequantizeLinear(r, t, o) }}"""
    data = parser.parse_model(text).SerializeToString()
    found = rewrite(data, samples(data))
    assert "lower-quantised-operators" in [p.name for p in found.passes]


def test_functions_of_the_models_own_are_written_out() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[1, 4] x) => (float y) { y = own.twice(x) }
    <opset_import: ["" : 17], domain: "own"> bent (a) => (b) { r = Relu(a) b = Add(r, a) }
    <opset_import: ["" : 17, "own" : 1], domain: "own"> twice (a) => (b) {
      c = own.bent(a) b = own.bent(c) }"""
    data = parser.parse_model(text).SerializeToString()
    rewrite(data, samples(data))


def test_a_padding_of_unknown_value_is_refused() -> None:
    """The engine pads with zeros, whatever it is given."""
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x, float v) => (float y)
    <int64[4] p = {0, 1, 0, 1}> { y = Pad(x, p, v) }"""
    with pytest.raises(UnsupportedOperator, match="pads with is not constant"):
        rewrite(parser.parse_model(text).SerializeToString())


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap", "constant"])
@pytest.mark.parametrize("pads", ["1, 0, 2, 1", "-1, 0, 1, 1", "1, -1, 0, -1", "-1, 1, -1, 0"])
def test_padding_means_what_onnx_says(mode: str, pads: str) -> None:
    data = graph(
        f'r = Reshape(x, s) y = Pad<mode = "{mode}">(r, p, v)',
        "float[1, 12] x",
        f"<int64[2] s = {{3, 4}}, int64[4] p = {{{pads}}}, float v = {{1.5}}>",
        opset=19,
    )
    rewrite(data, samples(data))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scattering_twice_to_a_place_means_what_onnx_says(reduction: str) -> None:
    data = graph(
        f'a = Neg(x) y = ScatterElements<axis = -1, reduction = "{reduction}">(x, i, a)',
        X4,
        "<int64[1, 4] i = {1, -1, 1, 3}>",
        opset=18,
    )
    rewrite(data, samples(data))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("places", ["constant", "computed"])
def test_scattering_rows_twice_to_a_place_means_what_onnx_says(reduction: str, places: str) -> None:
    """The engine's prover would wait for ever on two positions that are equal."""
    indices = "j = Identity(k)" if places == "constant" else "f = Round(x) i = Cast<to = 7>(f)"
    if places == "computed":
        indices += " h = Clip(i, l, u) j = Reshape(h, s)"
    data = graph(
        f"{indices} v = Reshape(x, t) w = Reshape(x, q) n = Slice(w, a, e)"
        f' y = ScatterND<reduction = "{reduction}">(v, j, n)',
        "float[1, 6] x",
        "<int64[2] s = {3, 2}, int64[3] t = {2, 3, 1}, int64 l = {-2}, int64 u = {1},"
        " int64[2] q = {6, 1}, int64[1] a = {3}, int64[1] e = {6},"
        " int64[3, 2] k = {0, 1, -1, 2, 0, -2}>",
        opset=18,
    )
    rewrite(data, samples(data))


def onnx_with_int_output(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return bytes(model.SerializeToString())


def test_small_integers_that_onnxruntime_refuses_are_cast_up() -> None:
    text = """<ir_version: 8, opset_import: ["" : 11]> g (float[1, 3] x) => (float y)
    <int8[3, 2] w = {1, 2, 3, 4, 5, 6}>
    { i = Cast<to = 3>(x) m = MatMul(i, w) y = Cast<to = 1>(m) }"""
    data = parser.parse_model(text).SerializeToString()
    result = rewrite(data, [{"x": np.array([[1.0, -2.0, 3.0]], dtype=np.float32)}])
    assert "widen-integers" in [p.name for p in result.passes]
    assert result.reference != data


def test_the_context_is_the_last_input_and_no_node_reads_it() -> None:
    bound = onnx.load_model_from_string(bind_context(CASES["fill-defaults"].model, 8))
    last = bound.graph.input[-1]
    assert last.name == CONTEXT_INPUT
    assert [d.dim_value for d in last.type.tensor_type.shape.dim] == [1, 8]
    assert all(CONTEXT_INPUT not in node.input for node in bound.graph.node)
    assert bind_context(CASES["fill-defaults"].model, 0) == CASES["fill-defaults"].model
