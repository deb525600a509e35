"""A verifier contract: what a compiler makes of its source, and the size that chains allow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

#: Bytes of a deployed contract at most: EIP-170.
MAX_CONTRACT_BYTES = 24_576
#: What the engine calls its contract.
CONTRACT_NAME = "Halo2Verifier"
#: How far, as a share, ``predicted_size`` may be wrong: three times what it was at worst on models
#: left out of its fit.
PREDICTION_ERROR = 0.03

# Bytes of code that each of these leaves behind, on average: least squares over 34 contracts of
# nine models, compiled by solc 0.8.20 with the settings of ``circuits.evm.solc``.
_BYTES_IN_ALL = 1356.0
_BYTES_PER_PRODUCT = 18.156
_BYTES_PER_ASSIGNMENT = 7.655
_BYTES_PER_CONSTANT = 30.80
#: Digits from which on a literal is a constant of the circuit and no address.
_LONG = 40


@dataclass(frozen=True, kw_only=True)
class Contract:
    """``creation`` is what a deployment sends, ``runtime`` what then lies on chain; ``selectors``
    maps each function, ``name(types)``, to the four bytes that call it; ``solc`` is the compiler's
    version, as it calls itself."""

    abi: list[dict[str, Any]] = field(repr=False)
    creation: bytes = field(repr=False)
    runtime: bytes = field(repr=False)
    selectors: dict[str, bytes] = field(repr=False)
    solc: str


def predicted_size(source: str) -> int:
    """Bytes of the engine's contract as deployed, predicted from its source by counting.

    Within ``PREDICTION_ERROR`` for what this version of the engine writes; for nothing else.
    """
    body = re.sub(r"//.*", "", source[source.index("function verifyProof") :])
    constants = sum(len(digits) > _LONG for digits in re.findall(r"0x([0-9a-f]+)", body))
    return round(
        _BYTES_IN_ALL
        + _BYTES_PER_PRODUCT * body.count("mulmod(")
        + _BYTES_PER_ASSIGNMENT * body.count(":=")
        + _BYTES_PER_CONSTANT * constants
    )
