"""Weights that are shown or private: how they fold, and what a circuit says of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.committed.arithmetic import (
    Run,
    run,
)
from circuits.committed.network import (
    Pointwise,
    Product,
    Sum,
    exponents,
    gathered,
    reach,
    results,
)
from circuits.committed.weight_folding import folded_weights
from circuits.format.commitments import (
    Weights,
)
from circuits.format.field import P
from circuits.lower.committed.writing.circuit import write_circuit
from tests.cases.committed_networks import (
    EVERY,
    MODELS,
    arranged,
    inputs,
    quantised,
)


def under_powers(step: Sum, full: NDArray[np.int64], at: tuple[int, int, int]) -> int:
    """A sum's coefficients at challenges."""
    output, row, column = at
    if step.rows.length == 1:
        row = 1
    if step.columns.length == 1:
        column = 1
    return sum(
        int(n)
        * row ** (y + step.rows.first)
        * column ** (x + step.columns.first)
        * output ** (f + 1)
        for (y, x, f), n in np.ndenumerate(full)
    )


@pytest.mark.parametrize("name", MODELS)
def test_weights_fold_to_what_a_circuit_multiplies_with(name: str) -> None:
    """Feature maps times what weights fold to are the sums with their border, under powers."""
    arrangement, at = replace(arranged(name), shown=True), (3, 5, 7)
    network = arrangement.network
    made: Run = run(network, arrangement.steps, quantised(arrangement, inputs(1)))
    folded = iter(folded_weights(arrangement, at))
    for number, ((_, step), split) in enumerate(zip(network.sums, made.splits, strict=True)):
        row, column = (
            5 if step.rows.length > 1 else 1,
            7 if step.columns.length > 1 else 1,
        )
        far = (
            reach([t.height for t in step.convolutions]),
            reach([t.width for t in step.convolutions]),
        )
        total = 0
        for term in step.convolutions:
            values = gathered(term.view, made.rows)[0]
            for _, high, _ in term.height.phases:
                for _, wide, _ in term.width.phases:
                    for c in range(values.shape[2]):
                        part = sum(
                            int(values[i, j, c])
                            * row ** exponents(term.height, i, far[0])
                            * column ** exponents(term.width, j, far[1])
                            for i in high
                            for j in wide
                        )
                        total += part * next(folded)
        full = split.full.copy()
        offset = arrangement.steps.divisor(number) * arrangement.steps.sums[number].offset
        results(step, full)[...] += step.bias + offset
        assert (total + next(folded) - under_powers(step, full[0], at)) % P == 0
    assert list(folded) == []


def test_large_weights_fold_alike() -> None:
    """In doubles, and in integers where doubles would not hold them."""
    arrangement = arranged("dilated, grouped, pooled")
    *others, last = arrangement.network.steps
    assert isinstance(last, Sum)
    (term,) = last.convolutions
    powers = [pow(11, n + 1, P) for n in range(last.shape[2])]
    for factor in (1, 1 << 40):
        large = replace(term, weights=term.weights * factor)
        steps = (*others, replace(last, terms=(large,)))
        network = replace(arrangement.network, steps=steps)
        found = folded_weights(replace(arrangement, network=network), (11, 2, 3))
        count = term.view.shape[2]
        by_input = large.weights[:, :, 0, 0].T
        wanted = [sum(int(w) * p for w, p in zip(r, powers, strict=True)) for r in by_input]
        assert found[-1 - count : -1] == [n % P for n in wanted]


def test_a_circuit_of_shown_weights_has_none_of_them() -> None:
    first = arranged("residual")
    steps = [
        replace(
            s,
            terms=tuple(replace(t, weights=t.weights + 1) for t in s.convolutions),
            bias=s.bias + 1,
        )
        if isinstance(s, Sum)
        else s
        for s in first.network.steps
    ]
    made = [
        write_circuit(
            network, first.steps, shown=False, columns=1, results=["y"], weights=Weights.SHOWN
        )
        for network in (first.network, replace(first.network, steps=tuple(steps)))
    ]
    assert made[0].onnx == made[1].onnx
    claims = [replace(m.claim, network_sha256="", output_bounds=(1,)) for m in made]
    assert claims[0] == claims[1]
    assert made[0].claim.network_sha256 != made[1].claim.network_sha256


@pytest.mark.parametrize("name", EVERY)
def test_steps_of_private_weights_say_little_of_them(name: str) -> None:
    """Manifests show them: powers of two, but for a product's, whose factor is an integer. No
    weight is larger than the table lets pass."""
    made = arranged(name, logrows=12, base=1 << 11, weights=Weights.PRIVATE)
    for (_, step), own in zip(made.network.sums, made.steps.sums, strict=True):
        if not any(isinstance(term, Product | Pointwise) for term in step.terms):
            assert math.frexp(own.scale)[0] == 0.5
        assert all(np.abs(term.weights).max() < 1 << 10 for term in step.convolutions)
