"""What a circuit is given beside its inputs, computed from them (see ``circuits.format.hints``)."""

from __future__ import annotations

import math

import numpy as np
import onnx

from circuits.format.field import Felts, from_felt, to_felt
from circuits.format.hints import challenge
from circuits.integers.interpreter import Graph, exact_type, run_graph


def results_for(hints: bytes, inputs: list[Felts], verifying_key: bytes = b"") -> list[Felts]:
    """The results that a circuit is given with these inputs, in the engine's order, and the
    challenge where there is one.

    ``hints`` is the graph that computes them (``Hinted.hints``), ``inputs`` the circuit's own, each
    for as many lanes as there are; tensors that the graph does not have (the context) are left out.
    """
    facts = {p.key: p.value for p in onnx.load_model_from_string(hints).metadata_props}
    graph = Graph(hints, int(facts["scale"]))
    feeds = {}
    own = inputs[: len(graph.inputs)]
    for name, felts in zip(graph.inputs, own, strict=True):
        shape = graph.shapes[name]
        numbers = np.array([from_felt(f) for f in felts], dtype=object)
        feeds[name] = numbers.reshape(len(felts) // math.prod(shape), *shape)
    found = run_graph(graph, feeds, exact_type(int(facts["largest"])))
    results = [[to_felt(int(n)) for n in r.reshape(-1)] for r in found]
    if int(facts["challenged"]):
        results.append([challenge(verifying_key, [*own, *results])])
    return results
