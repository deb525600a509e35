"""Committed hints without a proof: products of polynomials, order, salt, challenges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from circuits.committed.arithmetic import run
from circuits.committed.arrangement import COLUMN_SALT, Arrangement, as_map
from circuits.committed.claim import (
    CHALLENGES,
    Binding,
    Commitments,
    Lanes,
    Subject,
    Weights,
    columns,
    doubled,
    evaluation,
    halved,
    joined,
    usable_rows,
)
from circuits.committed.folding import folded_weights
from circuits.committed.network import (
    Dense,
    Network,
    Numbers,
    exponents,
    reach,
    read_by,
    weights_of,
    with_numbers,
)
from circuits.errors import InputOutOfRange
from circuits.field import P, from_felt, to_felt
from circuits.lower.committed.circuit import write_circuit
from circuits.lower.committed.quantising import (
    check_steps,
    choose_steps,
    integer_network,
    responses,
)
from circuits.lower.committed.reading import read_network
from circuits.lower.errors import CannotLower

MODELS = {
    "strided, padded, uneven": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [3, 2], pads = [1, 0, 2, 1], strides = [2, 3]>(x, k, kb)
      a = Relu(c) f = Flatten(a) y = Gemm(f, w, wb)
    }""",
    "dilated, grouped, pooled": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [2, 2], pads = [0, 0, 0, 0], strides = [1, 1], dilations = [2, 1],
               group = 2>(x, k, kb)
      a = Relu(c)
      p = AveragePool<kernel_shape = [2, 3], strides = [2, 3]>(a)
      f = Flatten(p) h = Gemm(f, u, ub) b = Relu(h) y = Gemm(b, w, wb)
    }""",
    "residual": """<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 2, 9, 7] x) => (float[1, 4] y) {
      c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(x, k, kb)
      a = Relu(c)
      d = Conv<kernel_shape = [5, 3], pads = [2, 1, 2, 1], strides = [1, 1]>(a, m, mb)
      s = Add(d, a)
      e = Relu(s)
      p = GlobalAveragePool(e)
      f = Flatten(p) y = Gemm(f, w, wb)
    }""",
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "strided, padded, uneven": {"k": (3, 2, 3, 2), "kb": (3,), "w": (45, 4), "wb": (4,)},
    "dilated, grouped, pooled": {
        "k": (4, 1, 2, 2),
        "kb": (4,),
        "u": (24, 5),
        "ub": (5,),
        "w": (5, 4),
        "wb": (4,),
    },
    "residual": {
        "k": (3, 2, 3, 3),
        "kb": (3,),
        "m": (3, 3, 5, 3),
        "mb": (3,),
        "w": (3, 4),
        "wb": (4,),
    },
}


def model(name: str) -> bytes:
    rng = np.random.default_rng(5)
    made = parser.parse_model(MODELS[name])
    for tensor, shape in SHAPES[name].items():
        values = rng.normal(size=shape).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, tensor))
    return bytes(made.SerializeToString())


def inputs(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(-1, 1, (count, 1, 2, 9, 7)).astype(np.float32)


def maps(network: Network, x: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.stack([as_map(v[0].astype(np.float64), network.input) for v in x])


def arranged(name: str = "residual", *, shown: bool = False, logrows: int = 10) -> Arrangement:
    network = read_network(model(name))
    sums = responses(network, maps(network, inputs(20)))
    steps = choose_steps(
        network,
        sums,
        base=256,
        logrows=logrows,
        input_scale=6,
        offset=0 if shown else 64,
        margin=2.0,
    )
    integers = integer_network(network, steps)
    return write_circuit(integers, steps, shown=shown, columns=1, result="y").arrangement


@pytest.mark.parametrize("name", MODELS)
def test_polynomials_say_what_the_model_says(name: str) -> None:
    data, x = model(name), inputs(4)
    network = read_network(data)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = [session.run(None, {"x": v})[0].reshape(-1) for v in x]
    found = responses(network, maps(network, x))[-1].reshape(4, -1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_steps_that_make_another_function_are_refused() -> None:
    """What an issuer could write into a recipe: a rebuild takes no such steps."""
    network = read_network(model("dilated, grouped, pooled"))
    steps = arranged("dilated, grouped, pooled").steps
    check_steps(network, steps)
    (conv, dense) = steps.shifts
    for bent in (
        replace(steps, tops=(-steps.tops[0], steps.tops[1])),  # min in the place of max
        replace(steps, tops=(steps.tops[0], float("inf"))),
        replace(steps, tops=(steps.tops[0], 0.0)),
        replace(steps, shifts=((13, *conv[1:]), dense)),
        replace(steps, shifts=(conv, (-14, *dense[1:]))),  # a neuron erased
    ):
        with pytest.raises(CannotLower):
            check_steps(network, bent)


def test_an_output_counts_in_the_steps_of_the_last_layer() -> None:
    ends = MODELS["strided, padded, uneven"].replace(
        "y = Gemm(f, w, wb)", "g = Gemm(f, w, wb) y = Relu(g)"
    )
    made = parser.parse_model(ends)
    rng = np.random.default_rng(5)
    for tensor, shape in SHAPES["strided, padded, uneven"].items():
        values = rng.normal(size=shape).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(values, tensor))
    network = read_network(bytes(made.SerializeToString()))
    assert not network.raw
    steps = choose_steps(
        network,
        responses(network, maps(network, inputs(20))),
        base=256,
        logrows=11,
        input_scale=6,
        offset=64,
        margin=2.0,
    )
    check_steps(network, steps)
    with pytest.raises(CannotLower, match="output's scale"):
        check_steps(network, replace(steps, output_scale=steps.output_scale - 3))


@pytest.mark.parametrize("name", MODELS)
def test_integers_come_close(name: str) -> None:
    arrangement = arranged(name)
    network = read_network(model(name))
    x = maps(network, inputs(20))
    _, found = run(
        arrangement.network,
        arrangement.steps,
        np.rint(np.ldexp(x, arrangement.steps.input_scale)).astype(np.int64),
    )
    values = np.ldexp(found.astype(np.float64), -arrangement.steps.output_scale)
    wanted = responses(network, x)[-1]
    assert np.abs(values - wanted).max() < 0.05 * np.ptp(wanted)


def test_a_maximum_has_no_form_yet() -> None:
    text = MODELS["residual"].replace("GlobalAveragePool", "GlobalMaxPool")
    made = parser.parse_model(text)
    for tensor, shape in SHAPES["residual"].items():
        made.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, "f4"), tensor))
    with pytest.raises(CannotLower, match="GlobalMaxPool"):
        read_network(made.SerializeToString())


def test_an_arrangement_is_its_bytes() -> None:
    arrangement = arranged("dilated, grouped, pooled")
    data = arrangement.to_bytes()
    assert Arrangement.from_bytes(data).to_bytes() == data
    with pytest.raises(ValueError, match="follow"):
        Arrangement.from_bytes(data + b"\0")
    with pytest.raises(ValueError, match="too soon"):
        Arrangement.from_bytes(data[:-1])


def test_every_column_begins_with_its_own_salt() -> None:
    arrangement = arranged()
    numbers = [0] * 126
    first, second = arrangement.committed(numbers), arrangement.committed(numbers)
    assert len(first) == arrangement.elements
    assert len(arrangement.pieces) > 1
    starts = [start - COLUMN_SALT for start, _ in arrangement.pieces]
    assert starts == [n * usable_rows(10) for n in range(len(starts))]
    for start in starts:
        salts = [set(t[start : start + COLUMN_SALT]) for t in (first, second)]
        assert len(salts[0]) == COLUMN_SALT
        assert not salts[0] & salts[1]


def test_an_input_beyond_the_table_is_refused() -> None:
    arrangement = arranged()
    for number in (192, -65):
        with pytest.raises(InputOutOfRange):
            arrangement.committed([number] + [0] * 125)


def test_columns_of_a_committed_tensor() -> None:
    """As the engine lays them out: one more just below an edge."""
    rows = usable_rows(8)
    assert rows == 250
    sizes = (1, 247, 248, 249, 250, 251, 498, 499, 500)
    assert [columns(n, 8) for n in sizes] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def claim(**changes: object) -> Commitments:
    plain = Commitments(
        weights=Weights.SEALED,
        network_sha256="sha256:" + "0" * 64,
        elements=10,
        residues=2,
        output_bounds=(1000,),
        evaluated=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_challenges_are_hashes_of_all_that_a_prover_could_choose() -> None:
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=claim(),
        about=Subject(context=5, inputs=None),
    )
    first = plain.challenges(b"point")
    assert len({*first}) == len(CHALLENGES)
    others = [
        replace(plain, vk=b"yek"),
        replace(plain, settings=b"other"),
        replace(plain, srs_part=b"crs"),
        replace(plain, claim=claim(network_sha256="sha256:" + "1" * 64)),
        replace(plain, claim=claim(elements=11)),
        replace(plain, about=Subject(context=6, inputs=None)),
        replace(plain, about=Subject(context=5, inputs=[[]])),
        replace(plain, about=Subject(context=5, inputs=[[to_felt(1)]])),
    ]
    found = [tuple(b.challenges(b"point")) for b in others] + [tuple(plain.challenges(b"tniop"))]
    assert len({tuple(first), *found}) == len(found) + 1
    assert all(not {*first} & {*other} for other in found)


def test_the_lanes_challenge_hashes_every_lane_and_its_evaluation() -> None:
    subjects = [Subject(context=n, inputs=[[to_felt(n)]]) for n in range(3)]
    leaves = [s.leaf for s in subjects]
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=claim(lanes=3, evaluated=(1, 1)),
        about=leaves,
    )
    first = plain.challenges(b"point", lambda found: Lanes.of(subjects, (1, 1), found).evaluations)
    assert len({*first}) == len(CHALLENGES) + 1
    lanes = Lanes.of(subjects, (1, 1), first)
    assert plain.challenges(b"point", lambda _: lanes.evaluations) == first
    assert Lanes.from_bytes(lanes.to_bytes()) == lanes
    bent = [to_felt(from_felt(lanes.evaluations[0]) + 1), *lanes.evaluations[1:]]
    other = plain.challenges(b"point", lambda _: bent)
    assert (other[:-1], other[-1] != first[-1]) == (first[:-1], True)
    swapped = replace(plain, about=[leaves[1], leaves[0], leaves[2]])
    assert not {*swapped.challenges(b"point", lambda _: lanes.evaluations)} & {*first}
    for about in (leaves[:2], subjects[0]):
        with pytest.raises(ValueError, match="number of lanes"):
            replace(plain, about=about).challenges(b"point", lambda _: lanes.evaluations)
    for wrong in ((), lanes.evaluations[:2]):
        with pytest.raises(ValueError, match="evaluated"):
            plain.challenges(b"point", lambda _, given=wrong: given)  # type: ignore[misc]
    assert joined(lanes.evaluations, to_felt(10)) == to_felt(
        sum(from_felt(e) * 10 ** (n + 1) for n, e in enumerate(lanes.evaluations))
    )


def test_lanes_are_committed_to_part_by_part() -> None:
    """The tensor of two lanes holds what each lane's own holds, and the result."""
    one = arranged("dilated, grouped, pooled")
    both = replace(one, lanes=2)
    rng = np.random.default_rng(1)
    rows = [[int(n) for n in rng.integers(-60, 60, 126)] for _ in range(2)]

    def parts(arrangement: Arrangement, numbers: list[int]) -> dict[str, list[int]]:
        tensor = arrangement.committed(numbers)
        flat = [tensor[n] for piece in arrangement.pieces for n in range(*piece)]
        found, at = {}, 0
        for part in arrangement.parts:
            found[part.name] = flat[at : at + part.size]
            at += part.size
        return found

    single, together = [parts(one, row) for row in rows], parts(both, rows[0] + rows[1])
    for name in single[0].keys() - {"salt", "sum"}:
        assert together[name] == single[0][name] + single[1][name]
    assert len(together["result"]) == 2 * 4


def test_an_evaluation_tells_inputs_and_their_order_apart() -> None:
    at = [to_felt(n) for n in (2, 3, 5, 7, 11)]
    value = evaluation([to_felt(n) for n in (4, -6, 9)], (2, 2), at)
    assert from_felt(value) == 7 * (11 * 4 - 11**2 * 6) + 7**2 * 11 * 9
    assert value != evaluation([to_felt(n) for n in (-6, 4, 9)], (2, 2), at)


@pytest.mark.parametrize("name", MODELS)
def test_weights_fold_to_what_a_circuit_multiplies_with(name: str) -> None:
    """Feature maps times what weights fold to are the products with the border, under powers."""
    arrangement, at = arranged(name), (3, 5, 7)
    arrangement = replace(arrangement, shown=True)
    network = arrangement.network
    x = maps(network, inputs(1))
    integers = np.rint(np.ldexp(x, arrangement.steps.input_scale)).astype(np.int64)
    splits, sums = run(network, arrangement.steps, integers)
    known: list[Numbers] = [integers, *(np.maximum(s.quotients, 0) for s in splits)]
    folded = iter(folded_weights(arrangement, at))
    for number, layer in enumerate(network.layers):
        read = read_by(layer, known)
        if isinstance(layer, Dense):
            total = sum(int(v) * next(folded) for v in read[0].reshape(-1))
            values = sums if layer.last else splits[number].products + layer.bias
            wanted = sum(int(v) * 3 ** (f + 1) for f, v in enumerate(values.reshape(-1)))
            assert (total + next(folded) - wanted) % P == 0
            continue
        far = reach([t.height for t in layer.terms]), reach([t.width for t in layer.terms])
        total = 0
        for term, values in zip(layer.terms, read, strict=True):
            for _, high, _ in term.height.phases:
                for _, wide, _ in term.width.phases:
                    for c in range(values.shape[3]):
                        part = sum(
                            int(values[0, i, j, c])
                            * 5 ** exponents(term.height, i, far[0])
                            * 7 ** exponents(term.width, j, far[1])
                            for i in high
                            for j in wide
                        )
                        total += part * next(folded)
        products = splits[number].products[0]
        wanted = sum(
            int(n) * 5 ** (y + layer.rows.first) * 7 ** (x + layer.columns.first) * 3 ** (f + 1)
            for (y, x, f), n in np.ndenumerate(products)
        )
        bias = sum(int(b) * 3 ** (f + 1) for f, b in enumerate(layer.bias))
        assert (total - wanted) % P == 0
        assert (next(folded) - bias) % P == 0
    assert list(folded) == []


def test_large_weights_fold_alike() -> None:
    """In doubles, and in integers where doubles would not hold them."""
    arrangement = arranged("dilated, grouped, pooled")
    last = arrangement.network.layers[-1]
    assert isinstance(last, Dense)
    powers = [pow(11, n + 1, P) for n in range(len(last.bias))]
    for factor in (1, 1 << 40):
        large = replace(last, weights=last.weights * factor)
        layers = (*arrangement.network.layers[:-1], large)
        network = replace(arrangement.network, layers=layers)
        found = folded_weights(replace(arrangement, network=network), (11, 2, 3))
        rows = found[-1 - len(last.weights) : -1]
        wanted = [sum(int(w) * p for w, p in zip(r, powers, strict=True)) for r in large.weights]
        assert rows == [n % P for n in wanted]


def test_a_circuit_of_shown_weights_has_none_of_them() -> None:
    first = arranged("residual")
    weights = [[w + 1 for w in weights_of(layer)] for layer in first.network.layers]
    layers = tuple(
        with_numbers(layer, w, layer.bias + 1)
        for layer, w in zip(first.network.layers, weights, strict=True)
    )
    made = [
        write_circuit(
            network, first.steps, shown=False, columns=1, result="y", weights=Weights.SHOWN
        )
        for network in (first.network, replace(first.network, layers=layers))
    ]
    assert made[0].onnx == made[1].onnx
    claims = [replace(m.claim, network_sha256="", output_bounds=(1,)) for m in made]
    assert claims[0] == claims[1]
    assert made[0].claim.network_sha256 != made[1].claim.network_sha256


def test_challenges_of_weights_hash_what_they_fold_to() -> None:
    shown = claim(weights=Weights.SHOWN, folded=4)
    plain = Binding(
        vk=b"key",
        settings=b"settings",
        srs_part=b"srs",
        claim=shown,
        about=Subject(context=5, inputs=None),
    )
    first = plain.challenges(b"point")
    both = plain.challenges(b"point", folded=b"folded")
    assert both[:-2] == first
    assert len({*both}) == len(shown.challenges) == len(CHALLENGES) + 2
    for others in (
        plain.challenges(b"point", folded=b"other"),
        plain.challenges(b"tniop", folded=b"folded"),
    ):
        assert not {*both[-2:]} & {*others}


def test_challenges_are_shown_doubled() -> None:
    assert doubled([to_felt(3), to_felt(-1)]) == [to_felt(6), to_felt(2 * (P - 1) - P)]
    assert halved(doubled([to_felt(3), to_felt(-1)])) == [to_felt(3), to_felt(-1)]


def test_groups_of_outputs_fit_the_field() -> None:
    """Quotients and remainders that the table bounds cannot wrap a group around."""
    from circuits.lower.committed.circuit import _Packing

    arrangement = arranged("dilated, grouped, pooled")
    layer, steps = arrangement.network.layers[1], arrangement.steps
    pack = _Packing.of(layer, steps)  # type: ignore[arg-type]
    assert pack.bits * pack.members <= 253
    assert pack.groups * pack.members >= len(layer.bias)
    given = max(abs(steps.base * steps.lowest), steps.base * steps.base)
    reach = np.abs(layer.weights).sum(axis=0).max() * (steps.base - 1) * layer.feed.area  # type: ignore[union-attr]
    assert reach + np.abs(layer.bias).max() + given < 1 << pack.bits
