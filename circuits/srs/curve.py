"""The curve BN254 and its pairing, from py_ecc.

py_ecc raises Python's recursion limit to 100 000 when it is imported. With that, deeply nested JSON
would end the process instead of raising ``RecursionError``; so the limit is restored.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from circuits.format.field import P
from circuits.srs.g2 import Q

_limit = sys.getrecursionlimit()
try:
    bn128: Any = importlib.import_module("py_ecc.optimized_bn128")
finally:
    sys.setrecursionlimit(_limit)

#: w^(Q² − 1), where w⁶ = 9 + i generates the target field: 82 is the norm of 9 + i.
_TURN = pow(82, (Q - 1) // 6, Q)


def is_one(product: Any) -> bool:
    """Whether pairings whose Miller loops have this ``product`` (an ``FQ12``) multiply to one.

    That is f^((Q¹² − 1)/P) = 1. The exponent is (Q⁶ − 1) · (Q² + 1) · (Q⁴ − Q² + 1)/P. To the
    Q²-th power is to multiply each coefficient by one number; and Q⁶ leaves unchanged, as here it
    has to, exactly what has even powers of w alone.
    """
    squared = type(product)([c * pow(_TURN, n, Q) % Q for n, c in enumerate(product.coeffs)])
    found = (squared * product) ** ((Q**4 - Q**2 + 1) // P)
    return any(found.coeffs) and not any(found.coeffs[1::2])
