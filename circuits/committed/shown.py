"""What whoever verifies has to know of a network that he holds. Runs inside a sandbox child: the
bytes come from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from circuits.committed.arithmetic import all_largest, bounds_of, output_bounds, output_scales
from circuits.committed.arrangement import Arrangement
from circuits.committed.weight_folding import folded_weights
from circuits.errors import ProofMalformed
from circuits.format.commitments import Weights, evaluated_at, evaluation_shape
from circuits.format.field import P, from_felt, to_felt


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
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_scales: tuple[int, ...]
    input_bounds: tuple[tuple[int, int], ...]
    output_scales: tuple[int, ...]
    logrows: int
    table: tuple[int, int]
    function: tuple[str, int] | None
    largest_sum: int
    largest_outputs: tuple[int, ...]
    evaluation: str


def network_facts(data: bytes, challenges: Sequence[str]) -> NetworkFacts:
    """Raises ``ProofMalformed`` where ``data`` is no network."""
    try:
        return _network_facts(data, challenges)
    except MemoryError:
        raise
    except Exception as error:  # whatever hostile bytes trip over
        raise ProofMalformed(f"the weights are no network: {error}") from error


def _network_facts(data: bytes, challenges: Sequence[str]) -> NetworkFacts:
    arrangement = Arrangement.from_bytes(data)
    network, steps = arrangement.network, arrangement.steps
    folded = folded_weights(arrangement, [from_felt(c) % P for c in challenges])
    elements, function = [to_felt(n) for n in folded], network.function_table
    return NetworkFacts(
        canonical=arrangement.to_bytes() == data,
        weights=arrangement.weights,
        shown=arrangement.shown,
        lanes=arrangement.lanes,
        elements=arrangement.elements,
        folded=len(folded),
        inputs=network.inputs,
        outputs=tuple(output.places.size for output in network.outputs),
        input_scales=tuple(own.scale for own in steps.inputs),
        input_bounds=tuple(bounds_of(own, steps) for own in steps.inputs),
        output_scales=tuple(output_scales(network, steps)),
        logrows=steps.logrows,
        table=(steps.lowest, steps.base - 1),
        function=None if function is None else (function.op, function.scale),
        largest_sum=max(all_largest(network, steps)),
        largest_outputs=tuple(output_bounds(network, steps)),
        evaluation=evaluated_at(elements, evaluation_shape(len(folded)), *challenges[-2:]),
    )
