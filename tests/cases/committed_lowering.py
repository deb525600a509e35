"""A model's integers in a circuit with committed hints, computed without the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.samples import Range, Sample
from circuits.committed.arithmetic import Steps, output_scales
from circuits.committed.network import gathered
from circuits.format.commitments import Weights
from circuits.lower.committed.choosing.candidates import committed_graphs
from circuits.lower.committed.choosing.sampling import inputs_of, run_samples
from circuits.lower.committed.quantising.steps import integer_network
from circuits.lower.committed.reading.columns import places_of
from circuits.lower.committed.reading.network import read_network
from circuits.lower.graphs import FloatGraph, LoweredGraph, LoweringTask
from circuits.plan.graphs import float_graph


def lowered(
    model: bytes,
    samples: Sequence[Sample],
    accepted: Mapping[str, Range],
    *,
    shown: bool = True,
    max_error: float = 0.01,
) -> tuple[FloatGraph, LoweredGraph]:
    """The rewritten model and its first circuit."""
    graph = float_graph(model, samples, 1, accepted=accepted)
    task = LoweringTask(
        accepted=dict(accepted),
        limbs=1,
        plan=tuple(samples),
        held_out=tuple(samples),
        max_error=max_error,
    )
    found = committed_graphs(graph, task, shown, Weights.SEALED)
    assert isinstance(found, list), found
    return graph, found[0]


def answers(
    graph: FloatGraph, made: LoweredGraph, samples: Sequence[Sample]
) -> list[NDArray[np.float64]]:
    """Each output of all samples, ``[samples, elements]``."""
    recipe: dict[str, Any] = made.recipe or {}
    steps = Steps.from_json(recipe["steps"])
    read = read_network(graph.plain, columns=places_of(steps))
    network = integer_network(read, steps)
    found = run_samples(network, steps, inputs_of(graph, samples))
    assert not found.outside.any()
    scales = output_scales(read.network, steps)
    return [
        np.ldexp(gathered(output, found.rows).astype(np.float64), -scale)
        for output, scale in zip(network.outputs, scales, strict=True)
    ]
