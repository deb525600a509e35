"""The ways in which given results are checked, and what each costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from circuits.lower.hinting.products import Product

#: Sums below this are smaller than the modulus of BN254's scalar field (253.6 bits).
_FIELD_BITS = 253


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How the results of a row are put into numbers of the field: ``groups`` numbers, of
    ``members`` results that take ``bits`` bits each."""

    groups: int
    members: int
    bits: int

    @classmethod
    def of(cls, product: Product, largest: int) -> Packing | None:
        """The fewest groups for results of which the same multiples of true and given values differ
        by at most ``largest``; None where not even two results, or two weights, fit one."""
        bits = largest.bit_length()
        # The last weight of a group may be larger than any result, where what it meets is zero.
        beyond = max(0, _magnitude_bits(product) - bits)
        most = (_FIELD_BITS - beyond) // bits
        if most < 1 or (most < 2 and product.outputs > 1):
            return None
        groups = math.ceil(product.outputs / most)
        return cls(
            groups=groups,
            members=math.ceil(product.outputs / groups),
            bits=bits,
        )

    @classmethod
    def none(cls, product: Product) -> Packing:
        """Each result by itself, however large it may be."""
        return cls(groups=product.outputs, members=1, bits=0)

    @property
    def powers(self) -> list[int]:
        """What the results of a group are multiplied by."""
        return [1 << (self.bits * j) for j in range(self.members)]


def _magnitude_bits(product: Product) -> int:
    """Bits of the largest weight or constant, and one for what those before it in a group add."""
    parts = (product.weights, product.bias)
    return int(max(np.abs(part).max(initial=0.0) for part in parts)).bit_length() + 1


@dataclass(frozen=True, kw_only=True)
class KroneckerPacking:
    """An equation for each group of each row."""

    packing: Packing

    def residues(self, product: Product) -> int:
        return product.rows * self.packing.groups

    def cells(self, product: Product, lanes: int) -> int:
        """Assignments for so many inputs."""
        members = self.packing.members + self.packing.members % 2
        row = self.packing.groups * (product.terms + members + 3) + product.outputs
        return lanes * product.rows * row


@dataclass(frozen=True, kw_only=True)
class FiatShamirCheck:
    """One equation a row: its groups under powers of a challenge."""

    packing: Packing

    def residues(self, product: Product) -> int:
        return product.rows

    def cells(self, product: Product, lanes: int) -> int:
        """Assignments for so many inputs, the challenge's powers left out."""
        once = product.terms * self.packing.groups
        if self.packing.members > 1:
            once += product.outputs
        row = product.terms + 2 * product.outputs + 3
        return once + lanes * product.rows * row


Check = KroneckerPacking | FiatShamirCheck


def cheapest(product: Product, packing: Packing | None, lanes: int) -> Check | None:
    """How to check a product's results for so many inputs; None where computing them costs less."""
    computed = lanes * product.rows * product.weights.size
    checks: list[Check] = [FiatShamirCheck(packing=packing or Packing.none(product))]
    if packing is not None:
        checks.insert(0, KroneckerPacking(packing=packing))
    best = min(checks, key=lambda check: check.cells(product, lanes))
    return best if best.cells(product, lanes) < computed else None
