"""The curve BN254 and its pairing, from py_ecc.

py_ecc raises Python's recursion limit to 100 000 when it is imported. With that, deeply nested JSON
would end the process instead of raising ``RecursionError``; so the limit is restored.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

_limit = sys.getrecursionlimit()
try:
    bn128: Any = importlib.import_module("py_ecc.optimized_bn128")
finally:
    sys.setrecursionlimit(_limit)
