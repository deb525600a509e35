"""Samples as a network of integers takes them, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.calibration.samples import Sample
from circuits.committed.arithmetic import Run, Steps, run
from circuits.committed.network import Floats, Network, gathered
from circuits.format.tensors import quantised
from circuits.lower.graphs import FloatGraph

#: Each sample's outputs, in their shapes.
Answers = list[list[NDArray[Any]]]


def inputs_of(graph: FloatGraph, samples: Sequence[Sample]) -> list[Floats]:
    """Each input of all samples, ``[samples, elements]``."""
    return [
        np.array([np.asarray(s[t.name], dtype=np.float64).reshape(-1) for s in samples]).reshape(
            len(samples), t.size
        )
        for t in graph.signature.inputs
    ]


def run_samples(network: Network, steps: Steps, values: Sequence[Floats]) -> Run:
    scaled = zip(values, steps.inputs, strict=True)
    return run(network, steps, [quantised(v, own.scale).astype(np.int64) for v, own in scaled])


def answers_of(
    graph: FloatGraph, network: Network, scales: Sequence[int], rows: Sequence[Any]
) -> Answers:
    """The circuit's outputs of samples, from its ``rows``."""
    outputs = [
        np.ldexp(gathered(output, rows).astype(np.float64), -scale)
        for output, scale in zip(network.outputs, scales, strict=True)
    ]
    return shaped(graph, outputs)


def shaped(graph: FloatGraph, outputs: Sequence[Floats]) -> Answers:
    """Outputs ``[samples, elements]`` as each sample's tensors."""
    shapes = [output.shape for output in graph.signature.outputs]
    return [
        [values.reshape(shape) for values, shape in zip(row, shapes, strict=True)]
        for row in zip(*outputs, strict=True)
    ]
