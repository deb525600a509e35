"""Committed hints without a proof: products of polynomials, order, salt, challenges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from circuits.batching.committed import committed_growths, counts_by_size
from circuits.batching.lane_costs import LaneCosts
from circuits.calibration.samples import draw
from circuits.committed.arithmetic import (
    all_largest,
    entries,
    lengths_of,
    output_scales,
    run,
)
from circuits.committed.arithmetic import lengths as lengths_of_rows
from circuits.committed.arrangement import Arrangement
from circuits.committed.network import (
    Function,
    Kind,
    Local,
    gathered,
)
from circuits.compiler.recipe import Recipe
from circuits.cost.model import CostModel
from circuits.engine.port import Limits
from circuits.errors import InputOutOfRange
from circuits.format.commitments import (
    COLUMN_SALT,
    Weights,
    usable_rows,
)
from circuits.format.commitments import columns as columns_of
from circuits.format.profile import Argument, Profile, Target, Visibility
from circuits.lower.committed.choosing.input_steps import input_steps
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.quantising.checking import check_steps
from circuits.lower.committed.reading.functions import pieces
from circuits.lower.committed.reading.network import read_network
from circuits.lower.committed.reading.responses import responses
from circuits.lower.committed.writing.circuit import write_circuit
from circuits.lower.committed.writing.powers import Packing
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import LoweredGraph
from circuits.plan.committed import committed_args
from circuits.plan.graphs import float_graph
from tests.cases.committed_networks import (
    EVERY,
    MODELS,
    SHAPES,
    arranged,
    inputs,
    model,
    quantised,
    rows,
)


@pytest.mark.parametrize("name", EVERY)
def test_rows_agree_with_the_model(name: str) -> None:
    data, x = model(name), inputs(4)
    read = read_network(data)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = [session.run(None, {"x": v}) for v in x]
    for n, found in enumerate(responses(read.network, rows(x)).outputs):
        expected = np.stack([np.asarray(w[n]).reshape(-1) for w in wanted])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_steps_that_make_another_function_are_refused() -> None:
    """What an issuer could write into a recipe: a rebuild takes no such steps."""
    read = read_network(model("dilated, grouped, pooled"))
    steps = arranged("dilated, grouped, pooled").steps
    (conv, *others) = steps.sums
    for bent in (
        replace(conv, scale=-conv.scale),  # min in the place of max
        replace(conv, scale=float("inf")),
        replace(conv, scale=0.0),
        replace(conv, shifts=(13, *conv.shifts[1:])),
        replace(conv, shifts=(-14, *conv.shifts[1:])),  # a channel erased
        replace(conv, offset=3),  # of a rectified sum
        replace(conv, digits=0),
    ):
        with pytest.raises(CannotLower):
            check_steps(read, replace(steps, sums=(bent, *others)))


def test_pieces_out_of_order_are_refused() -> None:
    read = read_network(model("functions"))
    steps = arranged("functions").steps
    at = next(n for n, own in enumerate(steps.sums) if own.kinks)
    own = steps.sums[at]
    for kinks in ((own.kinks[0][::-1],), ((own.kinks[0][0] - (1 << 20), *own.kinks[0][1:]),)):
        bent = [*steps.sums]
        bent[at] = replace(own, kinks=kinks)
        with pytest.raises(CannotLower, match="order"):
            check_steps(read, replace(steps, sums=tuple(bent)))


def test_an_output_counts_in_a_power_of_two() -> None:
    arrangement = arranged("transposed")
    network, steps = arrangement.network, arrangement.steps
    assert network.steps[-1].kind is Kind.RECTIFIED  # type: ignore[union-attr]
    (scale,) = output_scales(network, steps)
    assert steps.sums[0].scale == 2.0**scale
    bent = replace(steps, sums=(replace(steps.sums[0], scale=3.0),))
    with pytest.raises(ValueError, match="power of two"):
        output_scales(network, bent)


@pytest.mark.parametrize("name", EVERY)
def test_integers_come_close(name: str) -> None:
    arrangement = arranged(name, logrows=12, base=1 << 11)
    network, x = arrangement.network, inputs(20)
    made = run(network, arrangement.steps, quantised(arrangement, x))
    assert not np.any(made.outside)
    seen = responses(read_network(model(name)).network, rows(x))
    near = [((np.abs(gaps) < 0.01 * np.ptp(gaps)) & (gaps != 0)).any(axis=1) for gaps in seen.gaps]
    clear = ~np.any([np.zeros(len(x), dtype=bool), *near], axis=0)
    assert clear.mean() > 0.3
    scales = output_scales(network, arrangement.steps)
    for output, scale, expected in zip(network.outputs, scales, seen.outputs, strict=True):
        values = np.ldexp(gathered(output, made.rows).astype(np.float64), -scale)
        assert np.abs(values - expected)[clear].max() < 0.03 * np.ptp(expected)


@pytest.mark.parametrize("name", EVERY)
def test_what_steps_add_up_counts_in_steps_of_one_length(name: str) -> None:
    """Elements that a local step compares or adds, and those that a product adds up."""
    network = (arrangement := arranged(name)).network
    found = lengths_of_rows(network, arrangement.steps)
    for step in network.steps:
        for view in step.views if isinstance(step, Local) else []:
            own = lengths_of(view, found)
            whole = own if step.right != 0 else own.reshape(-1, own.shape[-1]).T  # type: ignore[union-attr]
            spread = [np.unique(row[row != 0]) for row in whole.reshape(len(whole), -1).T]
            assert all(len(s) <= 1 for s in spread)


def test_a_sum_that_one_sum_reads_is_part_of_it() -> None:
    """A residual sum: a convolution and what is added to it have one quotient."""
    network = read_network(model("residual")).network
    kinds = [s.kind for _, s in network.sums]
    assert kinds == [Kind.RECTIFIED, Kind.RECTIFIED, Kind.RESULT]
    assert len(network.sums[1][1].terms) == 2


def test_functions_are_straight_pieces() -> None:
    values = np.tanh(np.linspace(-4, 4, 401)) * 100
    ends = pieces(values, 1.0)
    assert ends[0] == 0
    assert ends[-1] == 400
    lines = np.interp(np.arange(401), ends, values[ends])
    assert np.abs(lines - values).max() <= 1.0
    assert len(ends) < 15
    network = arranged("functions").network
    terms = [t for _, s in network.sums for t in s.terms if isinstance(t, Function)]
    assert terms
    assert all(t.kinks == tuple(sorted({*t.kinks})) for t in terms)


def test_an_operator_without_a_form_is_named() -> None:
    text = MODELS["residual"].replace("GlobalAveragePool", "GlobalLpPool")
    made = parser.parse_model(text)
    for tensor, shape in SHAPES["residual"].items():
        made.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, "f4"), tensor))
    with pytest.raises(CannotLower, match="GlobalLpPool"):
        read_network(made.SerializeToString())


@pytest.mark.parametrize("name", ["dilated, grouped, pooled", "pieces of lines", "attention"])
def test_an_arrangement_is_its_bytes(name: str) -> None:
    arrangement = arranged(name)
    data = arrangement.to_bytes()
    assert Arrangement.from_bytes(data).to_bytes() == data
    with pytest.raises(ValueError, match="follow"):
        Arrangement.from_bytes(data + b"\0")
    with pytest.raises(ValueError, match="too soon"):
        Arrangement.from_bytes(data[:-1])


def test_every_column_begins_with_its_own_salt() -> None:
    arrangement = arranged()
    numbers = [[0] * 126]
    first, second = arrangement.committed(numbers), arrangement.committed(numbers)
    assert len(first) == arrangement.elements
    assert len(arrangement.pieces) > 1
    starts = [start - COLUMN_SALT for start, _ in arrangement.pieces]
    assert starts == [n * usable_rows(10) for n in range(len(starts))]
    for start in starts:
        salts = [set(t[start : start + COLUMN_SALT]) for t in (first, second)]
        assert len(salts[0]) == COLUMN_SALT
        assert not salts[0] & salts[1]


def test_random_lookups_reach_every_column() -> None:
    """They fit one block of columns: a recipe for a circuit with several blocks is refused."""
    graph = float_graph(model("residual"), [], 1)

    def made(logrows: int) -> LoweredGraph:
        steps = arranged("residual", logrows=logrows).steps
        recipe = {"columns": 1, "steps": steps.to_json()}
        return recompiled(graph, recipe, [], shown=False, weights=Weights.SEALED)

    size = made(12).size
    assert size is not None
    assert usable_rows(11) < size[2] <= usable_rows(12)
    with pytest.raises(CannotLower, match="several blocks"):
        made(11)


def test_a_recipe_is_held_to_the_model_where_its_range_says() -> None:
    """On samples that its issuer cannot know, most of which have to stay in the table."""
    graph = float_graph(model("residual"), [], 1)
    steps = arranged("residual", logrows=12).steps
    own = steps.inputs[0]
    ends = (-own.offset / 2**own.scale, (steps.base - 1 - own.offset) / 2**own.scale)
    drawn = draw(graph.signature, {graph.signature.inputs[0].name: ends}, seed=7).plan

    def rebuilt(number: int, factor: float) -> None:
        sums = [*steps.sums]
        sums[number] = replace(sums[number], scale=sums[number].scale * factor)
        recipe = {"columns": 1, "steps": replace(steps, sums=tuple(sums)).to_json()}
        recompiled(graph, recipe, drawn, shown=False, weights=Weights.SEALED)

    rebuilt(0, 1.0)
    with pytest.raises(CannotLower, match="stay in its table"):
        rebuilt(0, 8.0)
    with pytest.raises(CannotLower, match="too few bits"):
        rebuilt(0, 2.0**-12)


def test_an_input_beyond_the_table_is_refused() -> None:
    arrangement = arranged()
    for number in (192, -65):
        with pytest.raises(InputOutOfRange):
            arrangement.committed([[number] + [0] * 125])


def test_lanes_are_committed_to_part_by_part() -> None:
    """The tensor of two lanes holds what each lane's own holds."""
    one = arranged("dilated, grouped, pooled")
    both = replace(one, lanes=2)
    rng = np.random.default_rng(1)
    rows = [[int(n) for n in rng.integers(-60, 60, 126)] for _ in range(2)]

    def parts(arrangement: Arrangement, numbers: list[int]) -> dict[str, list[int]]:
        tensor = arrangement.committed([numbers])
        flat = [tensor[n] for piece in arrangement.pieces for n in range(*piece)]
        found, at = {}, 0
        for part in arrangement.parts:
            found[part.name] = flat[at : at + part.size]
            at += part.size
        return found

    single, together = [parts(one, row) for row in rows], parts(both, rows[0] + rows[1])
    for name in single[0].keys() - {"salt", "salt-sum"}:
        assert together[name] == single[0][name] + single[1][name]


@pytest.mark.parametrize("name", EVERY)
def test_groups_of_outputs_fit_the_field(name: str) -> None:
    """Quotients and remainders that the table bounds cannot wrap a group around."""
    arrangement = arranged(name)
    network, steps = arrangement.network, arrangement.steps
    for n, (size, (_, step)) in enumerate(
        zip(all_largest(network, steps), network.sums, strict=True)
    ):
        pack = Packing.of(step, size, steps, steps.divisor(n))
        assert pack.groups * pack.members >= step.shape[2]
        if step.bordered or (step.kind is Kind.RESULT and not steps.sums[n].digits):
            assert pack.members == 1
        if pack.members == 1:
            continue
        assert pack.bits * pack.members <= 253
        given = steps.divisor(n) * entries(steps.logrows) + steps.divisor(n)
        assert size + given < 1 << pack.bits


@pytest.mark.parametrize("name", EVERY)
def test_sums_stay_within_their_bounds(name: str) -> None:
    """At inputs that are extreme in every place, too."""
    arrangement = arranged(name)
    network, steps = arrangement.network, arrangement.steps
    rng = np.random.default_rng(2)
    own = steps.inputs[0]
    ends = np.where(rng.random((20, 126)) < 0.5, -own.offset, steps.base - 1 - own.offset)
    made = run(network, steps, [ends.astype(np.int64)])
    for size, split in zip(all_largest(network, steps), made.splits, strict=True):
        inside = split.full[~made.outside]
        assert np.abs(inside).max(initial=0) <= size


@pytest.mark.parametrize("shown", [False, True], ids=["private", "public"])
def test_circuits_of_many_lanes_are_as_large_as_predicted(shown: bool) -> None:
    """By counting two of them: what is chosen fits, and not much is left free."""
    single = arranged("dilated, grouped, pooled", shown=shown)
    recipe = Recipe(
        accepted={"x": (-1.0, 1.0)},
        limbs=1,
        visibility=Visibility.PUBLIC if shown else Visibility.PRIVATE_INPUT,
        salt=False,
        lowering={"argument": "committed", "columns": 1, "steps": single.steps.to_json()},
        lanes=1,
        input_scales=tuple(own.scale for own in single.steps.inputs),
        argument=Argument.COMMITTED,
    )
    samples = [{"x": v} for v in inputs(4)]
    data = model("dilated, grouped, pooled")
    counts = counts_by_size(data, samples, recipe, 10)
    assert not isinstance(counts, str)
    profile = Profile(argument=Argument.COMMITTED)
    table = (single.steps.lowest, single.steps.base - 1)
    lane_costs = LaneCosts(
        growths=committed_growths(counts, committed_args(profile, 10, 1, table)),
        costs=CostModel.bundled(),
        target=Target.SPEED,
        limits=Limits(deadline_s=60, memory_bytes=64 << 30),
    )
    for lanes in (2, 5, 24, 31, 100):
        fitting = [p for growth in lane_costs.growths for p in growth.shapes(lanes)]
        least = {p.args.num_inner_cols: p for p in sorted(fitting, key=lambda p: -p.args.logrows)}
        for layout in least.values():
            steps = replace(single.steps, logrows=layout.args.logrows)
            columns = layout.args.num_inner_cols
            made = write_circuit(
                single.network, steps, shown=shown, columns=columns, results=["y"], lanes=lanes
            )
            assert made.cells <= layout.assignments <= 1.2 * made.cells
            sizes = made.claim.sizes
            assert layout.committed == sum(columns_of(n, layout.args.logrows) for n in sizes)
            assert layout.args.lookup_range == (steps.lowest, steps.base - 1)
    first = lane_costs.most(24)
    assert 24 <= first < 48
    assert lane_costs.at(first) == lane_costs.at(24)


@pytest.mark.parametrize("accepted", [(-1.0, 1.0), (-0.3337, 2.71), (0.101, 0.9), (-7.77, -0.013)])
def test_every_accepted_input_is_within_the_bounds_of_the_steps(
    accepted: tuple[float, float],
) -> None:
    """Or a rebuild would refuse a public input's range."""
    for bits in range(6, 15):
        steps = input_steps("float32", accepted, 1 << bits)
        assert steps is not None
        low, high = -steps.offset, (1 << bits) - 1 - steps.offset
        assert low <= accepted[0] * 2.0**steps.scale
        assert accepted[1] * 2.0**steps.scale <= high
