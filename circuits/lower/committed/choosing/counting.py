"""What a circuit takes at least, before its integers are chosen."""

from __future__ import annotations

from collections.abc import Collection

from circuits.committed.network import (
    Convolution,
    Kind,
    Local,
    Network,
    Op,
    Pointwise,
    Product,
    Sum,
    Term,
    View,
)

#: Cells of a local step for each element that it reads on its left, and one more where it compares
#: with another value.
_LOCAL = {
    Op.RECTIFY: 1,
    Op.MAXIMUM: 2,
    Op.MINIMUM: 2,
    Op.TOTAL: 1,
    Op.ABOVE: 4,
    Op.BELOW: 4,
    Op.CHOSEN: 1,
}


def least_cells(network: Network, ones: Collection[int], *, shown: bool) -> int:
    """No circuit of a network has fewer cells, whatever its steps are: those of weights, and of the
    pieces of functions, are left out. ``ones``: the rows that count in ones; ``shown``: whether
    inputs are public."""
    found = 0 if shown else sum(network.inputs)
    for row, step in enumerate(network.steps, len(network.inputs)):
        if isinstance(step, Sum):
            found += _hints(step, in_ones=row in ones)
            found += sum(_read(term) for term in step.terms)
        else:
            found += _local(step)
    return found


def _hints(step: Sum, *, in_ones: bool) -> int:
    """Quotients and remainders are looked up and added up; a bare result is only added up."""
    if step.kind is Kind.RESULT:
        return step.size
    return 2 * step.size if in_ones or step.kind is Kind.DECIDED else 4 * step.size


def _read(term: Term) -> int:
    """What a term reads is multiplied by powers of challenges."""
    if isinstance(term, Convolution):
        whole = term.height.stride == term.width.stride == 1
        return int(term.view.places.size) if whole else 0
    if isinstance(term, Product):
        return int(term.right.places.size)
    return int(term.left.places.size) if isinstance(term, Pointwise) else 0


def _local(step: Local) -> int:
    compares = isinstance(step.right, View) and step.op is not Op.CHOSEN
    return int(step.left.places.size) * (_LOCAL[step.op] + compares)
