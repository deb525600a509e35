"""Which results are given, and how each is checked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from circuits.format.hints import MOST_TABLED_LOGROWS
from circuits.integers.interpreter import Graph
from circuits.lower.bounds import Interval, widened
from circuits.lower.hinting.backward_bounds import BackwardBounds
from circuits.lower.hinting.checks import Check, FiatShamirCheck, Packing, cheapest
from circuits.lower.hinting.products import Product, products
from circuits.lower.hinting.writing import Writing, computing
from circuits.lower.variant import Hinted, ValueBounds

#: Bits by which digits may hold more than the values that are taken apart.
_SLACK_BITS = 1
#: The least that decompositions hold: two digits of two bits.
_LEAST_BITS = 4


def with_hints(
    data: bytes,
    *,
    lanes: int,
    scale: int,
    bounds: ValueBounds,
    intervals: Mapping[str, Interval],
    sources: dict[str, tuple[str, str]],
) -> Hinted | None:
    """A lowered graph with the results of its products given, as is cheapest for ``lanes`` inputs;
    None where that saves nothing.

    ``intervals`` bound every value of the graph for accepted inputs. ``sources`` is added to.
    """
    model = onnx.load_model_from_string(data)
    graph = Graph(data, scale)
    most_bits = max(_LEAST_BITS, bounds.decomposed.bit_length() + _SLACK_BITS)
    lookup = None
    if bounds.lookup is not None:
        lookup = bounds.lookup[0], bounds.lookup[1] + (1 << MOST_TABLED_LOGROWS)
    output_bounds = {name: widened(_magnitude(intervals[name])) for name in graph.outputs}
    found = list(products(model, graph))
    reach = BackwardBounds(
        graph,
        intervals,
        results=[p.result for p in found],
        digits=float((1 << most_bits) - 1),
        lookup=lookup,
        outputs=output_bounds,
    )
    given: list[tuple[Product, Check]] = []
    for number, product in enumerate(found):
        bound, packing = reach.of(number), None
        if bound is not None:
            true = widened(_magnitude(intervals[product.result]))
            packing = Packing.of(product, bound.times * true + widened(bound.largest))
        check = cheapest(product, packing, lanes)
        if check is not None:
            given.append((product, check))
        # From here on it may be relied on: given and checked, or computed.
        reach.settle(number)
    if not given:
        return None
    challenged = any(isinstance(check, FiatShamirCheck) for _, check in given)
    return Hinted(
        onnx=Writing(data, sources).written(given),
        hints=computing(
            data, [p.result for p, _ in given], scale, bounds.largest, challenged=challenged
        ),
        residues=sum(check.residues(product) for product, check in given),
        results=tuple(p.rows * p.outputs for p, _ in given),
        challenged=challenged,
        output_bounds=tuple(output_bounds[name] for name in graph.outputs),
        most_bits=most_bits,
        lookup=lookup,
    )


def _magnitude(interval: Interval) -> float:
    return max(float(np.abs(end).max(initial=0.0)) for end in interval)
