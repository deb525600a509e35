"""A lowered graph's own answers, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from circuits.integers.interpreter import exact_type, parsed, run_graph
from circuits.lower.variant import GraphVariant

Array = NDArray[Any]


def run_integers(variant: GraphVariant, inputs: Mapping[str, Array]) -> list[Array]:
    """Outputs as integers for a batch of samples.

    ``inputs[name]`` has shape ``[samples, *input shape]`` and holds integers; each output has
    shape ``[samples, *output shape]``, in the smallest exact type.
    """
    graph = parsed(variant.onnx, variant.scale)
    return run_graph(graph, inputs, exact_type(variant.value_bounds.largest))
