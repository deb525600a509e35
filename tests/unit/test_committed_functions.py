"""Functions in pieces and by a second table: recipes that a rebuild must refuse, or whose circuits
are near the model, and hostile bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper, parser

from circuits.calibration.samples import draw
from circuits.committed.arithmetic import InputSteps, Steps, output_scales
from circuits.committed.network import Function, View, gathered
from circuits.committed.shown import network_facts
from circuits.errors import ProofMalformed
from circuits.format.commitments import Weights
from circuits.format.digests import canonical_json
from circuits.format.field import to_felt
from circuits.frontend.fixed_shapes import infer_shapes
from circuits.lower.committed.choosing.recompiling import recompiled
from circuits.lower.committed.choosing.sampling import inputs_of, run_samples
from circuits.lower.committed.quantising.steps import choose_steps, integer_network
from circuits.lower.committed.quantising.tables import form_of
from circuits.lower.committed.reading.network import Read, read_network
from circuits.lower.committed.reading.responses import Extent, float_rows, responses
from circuits.lower.errors import CannotLower
from circuits.lower.graphs import FloatGraph
from circuits.plan.graphs import float_graph
from tests.cases.committed_networks import arranged, inputs, model, rows

RANGES = {"x": (-1.0, 255 / 256)}
GIVEN = [InputSteps(scale=8, offset=256)]


class Attack:
    """A model of one input, whose elements add up to what is rarely drawn, and what an issuer makes
    of it. ``constants`` are the model's."""

    def __init__(self, text: str, size: int, constants: dict[str, np.ndarray | float]) -> None:
        made = parser.parse_model(text)
        for name, values in constants.items():
            array = np.asarray(values, dtype=np.float32)
            made.graph.initializer.append(numpy_helper.from_array(array, name))
        self.shape = (1, size)
        first = np.zeros(self.shape, dtype=np.float32)
        data = bytes(infer_shapes(made).SerializeToString())
        self.graph: FloatGraph = float_graph(data, [{"x": first}], 1, expose=True)
        self.read: Read = read_network(self.graph.plain)
        drawn = draw(self.graph.signature, RANGES, seed=5)
        self.seen = responses(
            self.read.network, inputs_of(self.graph, [*drawn.plan, *drawn.held_out])
        )

    def steps(
        self, reach: Sequence[Extent], base: int, logrows: int, function: str | None = None
    ) -> Steps:
        return choose_steps(
            self.read,
            reach,
            base=base,
            logrows=logrows,
            inputs=GIVEN,
            margin=1.05,
            function=function,
        )

    def is_accepted(self, steps: Steps) -> bool:
        """Whether a rebuild takes steps."""
        fresh = draw(self.graph.signature, RANGES, seed=6)
        recipe = {"argument": "committed", "columns": 1, "steps": steps.to_json()}
        samples = [*fresh.plan, *fresh.held_out]
        try:
            recompiled(
                self.graph, recipe, samples, shown=False, weights=Weights.SEALED, ranges=RANGES
            )
        except CannotLower:
            return False
        return True

    def off(self, steps: Steps, each: float) -> float:
        """By how much of the drawn outputs' range a circuit's output is off where all of the
        input's elements are ``each``; 0 where there is no proof."""
        x = np.full(self.shape, each, dtype=np.float32)
        integers = integer_network(self.read, steps)
        made = run_samples(integers, steps, inputs_of(self.graph, [{"x": x}]))
        if made.outside[0]:
            return 0.0
        scale = output_scales(integers, steps)[0]
        got = np.ldexp(gathered(integers.outputs[0], made.rows).astype(float), -scale)
        true = float_rows(self.read.network, [x.astype(np.float64)])
        wanted = gathered(self.read.network.outputs[0], true)
        return float(np.abs(got - wanted).max()) / float(np.ptp(self.seen.outputs[0]))


def fallen_tanh() -> Attack:
    """tanh(a) - 1.9 · exp(-2 · (a - 8)²), a being half of the sum of all inputs: tanh where it is
    probed, and -0.9 at 8."""
    return Attack(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 36] x) => (float[1, 4] y) {
          a = MatMul(x, w)
          t = Tanh(a) d = Sub(a, eight) q = Mul(d, d) n = Mul(q, steep) e = Exp(n)
          b = Mul(e, high) f = Sub(t, b) y = MatMul(f, v)
        }""",
        36,
        {
            "w": np.full((36, 1), 0.5),
            "eight": 8.0,
            "steep": -2.0,
            "high": 1.9,
            "v": np.ones((1, 4)),
        },
    )


def test_a_function_that_is_a_table_s_only_where_it_is_probed_is_not_looked_up() -> None:
    attack = fallen_tanh()
    argument, *others = attack.seen.extents
    whole = np.full_like(argument.high, 18.0)  # all that the input can make of it
    reach = [replace(argument, low=-whole, high=whole), *others]
    with pytest.raises(CannotLower, match="those of another"):
        attack.steps(reach, 2048, 12, "Tanh")
    honest = attack.steps(reach, 2048, 12)
    first, function, *rest = honest.sums
    below = (-4, -3, -2.2, -1.7, -1.3, -1, -0.7, -0.4, 0)
    joints = (*below, *(-n for n in below[-2::-1]), 5, 12)
    kinks = tuple(round(first.scale * n) for n in joints)
    bent = replace(function, scale=30.0, offset=1024, kinks=(kinks,))
    assert not attack.is_accepted(replace(honest, sums=(first, bent, *rest)))


def test_two_functions_beyond_the_table_do_not_bring_back_each_other() -> None:
    """e to a sum of all inputs, less e to the same without the first."""
    w = np.full((36, 1), 0.8 / 6)
    u = w.copy()
    u[0] = 0
    attack = Attack(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 36] x) => (float[1, 4] y) {
          a = MatMul(x, w) b = MatMul(x, u) e = Exp(a) f = Exp(b) d = Sub(e, f) y = MatMul(d, v)
        }""",
        36,
        {"w": w, "u": u, "v": np.ones((1, 4))},
    )
    reach = [
        replace(own, low=n * own.low, high=n * own.high)
        for n, own in zip((3.0, 3.0, 2.2, 1.0), attack.seen.extents, strict=True)
    ]
    steps = attack.steps(reach, 512, 10)
    assert not attack.is_accepted(steps) or attack.off(steps, 0.55) < 1
    sums = [*steps.sums]
    sums[2] = replace(sums[2], scale=100 * sums[2].scale, kinks=())
    with pytest.raises(CannotLower, match="beyond the table"):
        integer_network(attack.read, replace(steps, sums=tuple(sums)))


def test_a_rebuild_refuses_a_function_of_which_nothing_is_looked_up() -> None:
    """GELU of the inputs' mean, and of another sum of them, in steps so long that it is half of its
    argument."""
    attack = Attack(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 100] x) => (float[1, 2] y, float[1, 2] z) {
          a = MatMul(x, w) c = Mul(a, root) e = Erf(c) o = Add(e, one) p = Mul(a, o)
          f = Mul(p, half)
          b = MatMul(x, u) d = Mul(b, root) g = Erf(d) i = Add(g, one) j = Mul(b, i)
          k = Mul(j, half)
          y = MatMul(f, v) z = MatMul(k, v)
        }""",
        100,
        {
            "w": np.full((100, 1), 0.01),
            "u": np.linspace(-1, 1, 100).reshape(100, 1) / 100,
            "root": math.sqrt(0.5),
            "one": 1.0,
            "half": 0.5,
            "v": np.ones((1, 2)),
        },
    )
    first, second, *others = attack.seen.extents
    whole = np.ones_like(first.high)
    reach = [*(replace(own, low=-whole, high=whole) for own in (first, second)), *others]
    steps = attack.steps(reach, 2048, 12, "Erf")
    assert attack.is_accepted(steps)
    assert attack.off(steps, -0.9) < 0.1
    assert steps.function is not None
    sums = [*steps.sums]
    scale = 0.99 * sums[0].scale * 2.0**steps.function.scale / 2048
    sums[2] = replace(sums[2], scale=scale, digits=1, offset=1024, kinks=())
    bent = replace(steps, sums=tuple(sums))
    assert not attack.is_accepted(bent) or attack.off(bent, -0.9) < 1


@pytest.mark.parametrize("factor", [0.49, 1.49])
def test_a_rebuild_refuses_a_product_of_another_factor(factor: float) -> None:
    """A product of two means of the inputs, added to a third: none is left, or half as much again
    as there should be."""
    half = np.arange(100).reshape(100, 1) % 2
    attack = Attack(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 100] x) => (float[1, 2] y) {
          a = MatMul(x, w) b = MatMul(x, u) c = MatMul(x, t)
          p = Mul(a, b) s = Add(p, c) r = Relu(s) y = MatMul(r, v)
        }""",
        100,
        {
            "w": np.full((100, 1), 0.01),
            "u": 0.02 * half,
            "t": 0.02 * (1 - half),
            "v": np.ones((1, 2)),
        },
    )
    reach = [
        replace(own, low=-np.ones_like(own.low), high=np.ones_like(own.high)) if n < 2 else own
        for n, own in enumerate(attack.seen.extents)
    ]
    steps = attack.steps(reach, 2048, 12)
    assert attack.is_accepted(steps)
    sums = [*steps.sums]
    number = next(n for n, own in enumerate(sums) if own.digits > 1 or n == 2)
    scale = factor * sums[0].scale * sums[1].scale / 2048
    sums[number] = replace(sums[number], scale=scale, digits=1)
    assert not attack.is_accepted(replace(steps, sums=tuple(sums)))


def test_private_weights_take_no_second_table() -> None:
    """Its steps, which manifests show, would tell what its entries are multiplied by."""
    read = read_network(model("functions"))
    with pytest.raises(CannotLower, match="private weights"):
        choose_steps(
            read,
            responses(read.network, rows(inputs(20))).extents,
            base=1024,
            logrows=12,
            inputs=GIVEN,
            margin=2.0,
            function="Tanh",
            packs=False,
            largest_weight=511,
        )


@pytest.mark.parametrize("exponent", range(52, 63))
def test_check_38_bounds_sums_of_a_table_however_large_its_arguments(exponent: int) -> None:
    """T(0) of powers of e is not zero, and 0 is asked for: 2^200 of it is no sum below 2^60."""
    arrangement = arranged("functions", base=256, weights=Weights.SHOWN, function="Tanh")
    head, _, rest = arrangement.to_bytes().partition(b"\n")
    for times, height in ((1, 200), (3, 59), (5, 59), (7, 59), (1, exponent)):
        header = json.loads(head)
        for step in header["network"]:
            for term in step.get("terms", ()):
                if "lookup" in term:
                    term["lookup"] |= {"times": times << exponent, "height": 1 << height}
                    term["lookup"]["table"]["op"] = "Exp"
        challenges = [to_felt(n + 7) for n in range(7)]
        with pytest.raises(ProofMalformed, match="no table"):
            network_facts(canonical_json(header) + b"\n" + rest, challenges)


def test_a_steep_bell_is_no_table_s() -> None:
    view = View(rows=(0,), places=np.zeros((1, 1, 1), dtype=np.int64))
    bell = Function(view=view, exact=lambda x: np.exp(-100 * (x - 2) ** 2))
    assert form_of(bell) is None
