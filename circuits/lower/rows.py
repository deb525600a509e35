"""Products of a single row: where nothing is shared, and each weight costs an assignment.

Two ways to make them cheaper, chosen by the ``LoweringOptions``: leave weights of zero out, take
two outputs in one number.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from circuits.lower.lowering import Lowering
from circuits.lower.packing import product
from circuits.lower.quantity import QuantizedValue, gather
from circuits.lower.variant import SingleRow

Floats = NDArray[np.float64]


def row_product(
    low: Lowering, q: QuantizedValue, row: NDArray[np.int64], weights: Floats
) -> ir.Value:
    """``[K] · [K, F]``, where ``row`` picks the left side's elements of q: a tensor of F."""
    nonzero = _most_in_a_column(weights)
    low.single_rows.append(
        SingleRow(
            terms=len(weights),
            multiplications=weights.size,
            nonzero=nonzero * weights.shape[1],
        )
    )
    if low.form.sparse and nonzero < len(weights):
        return _sparse_product(low, q, row, weights)
    return product(low, gather(low.emit, q, row[None], (1, 1, len(row))), weights)


def _most_in_a_column(weights: Floats) -> int:
    """The largest number of weights other than zero that one output has."""
    return int(np.count_nonzero(weights, axis=0).max(initial=0))


def _sparse_product(
    low: Lowering, q: QuantizedValue, row: NDArray[np.int64], weights: Floats
) -> ir.Value:
    """``[K] · [K, F]`` as F dot products of the places whose weight is not zero: ``[1, F]``."""
    outputs = weights.shape[1]
    most = max(1, _most_in_a_column(weights))
    # A stable sort by "is zero" puts the others in front, in their order.
    places = np.argsort(weights == 0, axis=0, kind="stable")[:most].T
    chosen = np.take_along_axis(weights.T, places, axis=1)
    left = gather(low.emit, q, row[places], (1, outputs, 1, most))
    right = low.emit.whole(chosen.reshape(1, outputs, most, 1))
    product = low.emit.op("MatMul", [left, right], [1, outputs, 1, 1])
    return low.emit.reshape(product, [1, outputs])
