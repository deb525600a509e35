"""The two ways in which given results are checked, and what each costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from circuits.lower.hinting.products import Product

#: Sums below this are smaller than the modulus of BN254's scalar field (253.6 bits).
_FIELD_BITS = 253


@dataclass(frozen=True, kw_only=True)
class Packed:
    """``groups`` equations a row, of ``members`` results of ``bits`` bits each."""

    groups: int
    members: int
    bits: int

    @classmethod
    def of(cls, product: Product, largest: int) -> Packed | None:
        """The fewest equations for results of which the same multiples of true and given values
        differ by at most ``largest``; None where not even two results fit one."""
        most = _FIELD_BITS // largest.bit_length()
        if most < 1 or (most < 2 and product.outputs > 1):
            return None
        groups = math.ceil(product.outputs / most)
        return cls(
            groups=groups,
            members=math.ceil(product.outputs / groups),
            bits=largest.bit_length(),
        )

    def residues(self, product: Product) -> int:
        return product.rows * self.groups

    def cells(self, product: Product, lanes: int) -> int:
        """Assignments for so many inputs."""
        members = self.members + self.members % 2
        row = self.groups * (product.terms + members + 3) + product.outputs
        return lanes * product.rows * row


@dataclass(frozen=True, kw_only=True)
class Challenged:
    """One equation a row, under a challenge."""

    def residues(self, product: Product) -> int:
        return product.rows

    def cells(self, product: Product, lanes: int) -> int:
        """Assignments for so many inputs, the challenge's powers left out."""
        row = product.terms + 2 * product.outputs + 3
        return product.weights.size + lanes * product.rows * row


Check = Packed | Challenged


def cheapest(product: Product, packed: Packed | None, lanes: int) -> Check | None:
    """How to check a product's results for so many inputs; None where computing them costs less."""
    computed = lanes * product.rows * product.weights.size
    checks: list[Check] = [Challenged()] if packed is None else [packed, Challenged()]
    best = min(checks, key=lambda check: check.cells(product, lanes))
    return best if best.cells(product, lanes) < computed else None
