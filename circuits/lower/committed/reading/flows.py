"""Ones that flow down trees: products of bits, and what is left of a flow where one is taken off.

At a node the flow ``here`` goes to one side where a test holds, ``here · test``, and to the other
where it does not: ``here - here · test``. Both are 0 or 1. So either is made an element of its own
before it is multiplied again, without a hint.
"""

from __future__ import annotations

import numpy as np

from circuits.committed.network import ZERO, Floats, Local, Op
from circuits.lower.committed.reading.draft import Draft
from circuits.lower.committed.reading.values import Part, Value, of_addresses, raw, rows_of

#: A sum's elements by their addresses, with their factors.
_Terms = dict[int, float]
#: What makes a flow of two bits; or a bit by itself.
_Made = tuple[Op | None, int, int]


def single(draft: Draft, value: Value) -> Value:
    """A flow as bits, or ones less bits: elements of rows. Any other value as it is.

    a - a · b is max(a - a · b, 0), and 1 - a - b + a · b is 1 - max(a, b).
    """
    if len(value.parts) == 1 or not _of_bits(draft, value):
        return value
    constants = value.constant.reshape(-1).tolist()
    sums = zip(_elements(draft, value), constants, strict=True)
    made = [_made(draft, terms, constant) for terms, constant in sums]
    known = [own for own in made if own is not None]
    if len(known) < len(made):
        return value
    for op in (Op.RECTIFY, Op.MAXIMUM):
        new = {own[1:] for own in known if own[0] is op and own not in draft.flows}
        if new:
            pairs = np.array(sorted(new))
            step = Local(op=op, left=raw(pairs[:, 0]), right=raw(pairs[:, 1]))
            row = draft.row(step, (len(pairs),)).addresses.tolist()
            draft.flows |= {(op, a, b): at for (a, b), at in zip(pairs.tolist(), row, strict=True)}
    found = [own[1] if own[0] is None else draft.flows[own] for own in known]
    addresses = np.array(found, dtype=np.int64).reshape(value.shape)
    part = Part(addresses=addresses, factor=1.0 - 2.0 * value.constant)
    return Value(parts=(part,), constant=value.constant)


def shortened(draft: Draft, value: Value) -> Value:
    """The same sums of bits, with flows that are elements in the place of what makes them."""
    if len(value.parts) == 1 or not _of_bits(draft, value):
        return value
    elements = [list(terms.items()) for terms in _elements(draft, value)]
    parts = []
    for n in range(max(1, *map(len, elements))):
        own = [terms[n] if n < len(terms) else (ZERO, 1.0) for terms in elements]
        addresses = np.array([address for address, _ in own], dtype=np.int64)
        factor = np.array([factor for _, factor in own])
        shaped = addresses.reshape(value.shape), factor.reshape(value.shape)
        parts.append(Part(addresses=shaped[0], factor=shaped[1]))
    return Value(parts=tuple(parts), constant=value.constant)


def _of_bits(draft: Draft, value: Value) -> bool:
    return bool(value.parts) and all(
        part.function is None and draft.bits.issuperset(rows_of(part.addresses))
        for part in value.parts
    )


def _elements(draft: Draft, value: Value) -> list[_Terms]:
    """The elements of rows that each element of a value is a sum of, with their factors."""
    found: list[_Terms] = [{} for _ in range(value.size)]
    for part in value.parts:
        factors = np.broadcast_to(part.factor, value.shape).reshape(-1).tolist()
        addresses = part.addresses.reshape(-1).tolist()
        for terms, address, factor in zip(found, addresses, factors, strict=True):
            if address != ZERO:
                terms[address] = terms.get(address, 0.0) + factor
    return [_shorter(draft, {a: f for a, f in terms.items() if f}) for terms in found]


def _shorter(draft: Draft, terms: _Terms) -> _Terms:
    for product, factor in terms.items():
        pair = draft.products.get(product, ())
        less = tuple(a for a in pair if terms.get(a) == -factor)
        if len(less) == len(pair):
            flow = draft.flows.get((Op.MAXIMUM, min(less), max(less))) if less else None
        else:
            flow = draft.flows.get((Op.RECTIFY, less[0], product)) if less else None
        if flow is not None:
            rest = {a: f for a, f in terms.items() if a not in (product, *less)}
            rest[flow] = rest.get(flow, 0.0) - factor
            return _shorter(draft, {a: f for a, f in rest.items() if f})
    return terms


def _made(draft: Draft, terms: _Terms, constant: float) -> _Made | None:
    """What makes a flow, or one less it where ``constant`` is 1; None for what may be neither 0 nor
    1."""
    above = [address for address, factor in terms.items() if factor == 1]
    below = [address for address, factor in terms.items() if factor == -1]
    if len(above) + len(below) < len(terms):
        return None
    match len(above), len(below), constant:
        case (1, 0, 0) | (0, 1, 1):
            return None, (above or below)[0], 0
        case (1, 1, 0) if above[0] in draft.products.get(below[0], ()):
            return Op.RECTIFY, above[0], below[0]
        case (1, 2, 1) if sorted(below) == sorted(draft.products.get(above[0], ())):
            return Op.MAXIMUM, min(below), max(below)
    return None


def as_elements(value: Value, matrix: Floats) -> tuple[Value, Floats, Floats]:
    """A row of sums times a matrix as the elements that these are sums of, each once, times
    another, and constants."""
    addresses = np.stack([part.addresses.reshape(-1) for part in value.parts])
    found, which = np.unique(addresses, return_inverse=True)
    weights = np.zeros((len(found), matrix.shape[1]))
    for part, own in zip(value.parts, which.reshape(addresses.shape), strict=True):
        factor = np.broadcast_to(part.factor, value.shape).reshape(-1, 1)
        np.add.at(weights, own, factor * matrix)
    there = found != ZERO
    bias: Floats = value.constant.reshape(-1) @ matrix
    return of_addresses(found[there].reshape(1, 1, -1)), weights[there], bias
