"""What whoever verifies has to know of a network that he holds. Runs inside a sandbox child: the
bytes come from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from circuits.committed.arithmetic import largest
from circuits.committed.arrangement import Arrangement
from circuits.committed.claim import Weights, evaluated_at, evaluation_shape
from circuits.committed.folding import folded_weights
from circuits.field import P, from_felt, to_felt


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """``evaluation``: what the weights fold to, under the challenges, as a felt. ``largest_sum``:
    no sum is larger in magnitude. ``canonical``: whether the bytes are written as they have to be.
    Else: what the network's header says, sizes in elements."""

    canonical: bool
    weights: Weights
    shown: bool
    lanes: int
    elements: int
    folded: int
    inputs: int
    outputs: int
    input_scale: int
    output_scale: int
    logrows: int
    table: tuple[int, int]
    largest_sum: int
    largest_output: int
    evaluation: str


def network_facts(data: bytes, challenges: Sequence[str]) -> NetworkFacts:
    """Raises some ``Exception`` where ``data`` is no network."""
    arrangement = Arrangement.from_bytes(data)
    network, steps = arrangement.network, arrangement.steps
    sums = [largest(layer, steps) for layer in network.layers]
    folded = folded_weights(arrangement, [from_felt(c) % P for c in challenges])
    elements = [to_felt(n) for n in folded]
    return NetworkFacts(
        canonical=arrangement.to_bytes() == data,
        weights=arrangement.weights,
        shown=arrangement.shown,
        lanes=arrangement.lanes,
        elements=arrangement.elements,
        folded=len(folded),
        inputs=math.prod(network.input),
        outputs=math.prod(network.layers[-1].shape),
        input_scale=steps.input_scale,
        output_scale=steps.output_scale,
        logrows=steps.logrows,
        table=(steps.lowest, steps.base - 1),
        largest_sum=max(sums),
        largest_output=sums[-1] if network.raw else steps.base - 1,
        evaluation=evaluated_at(elements, evaluation_shape(len(folded)), *challenges[-2:]),
    )
