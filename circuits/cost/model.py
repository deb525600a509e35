"""What a shape will cost: seconds, memory, proof size, predicted from the engine's own counts.

Proving is dominated by transforms and multi-exponentiations over halo2's columns of n = 2^k rows:
three for an inner column of the engine's (two operands and a result), two for each lookup argument
or range check in it, one of committed elements. So every cost is taken as linear in n, and in n
times columns; a multi-exponentiation of n points takes time in proportion to n / log n. The other
part of the columns' cost grows with the degree of the constraints: the engine has a gate that
multiplies a row's inner columns with one another, and the quotient is computed on a domain that is
so many times larger. The coefficients come from non-negative least squares over proofs measured by
``circuits.plan.calibrate``; the form of the model follows Quangle07/zkml-predictive-cost-model.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from circuits.engine.port import LayoutStats
from circuits.format.digests import sha256
from circuits.format.profile import Target

TERMS = ("fixed", "extended_rows", "columns", "extended_columns")
#: Of the engine's lookup arguments, but for the columns of the table.
_LOOKUP_DEGREE = 4
#: Columns in halo2 that make an inner column of the engine's, and of a lookup argument: how often
#: each entry is looked up, and a running sum.
_OPERANDS, _SUMS = 3, 2
#: From so many rows on a multi-exponentiation adds up points in batches (``halo2curves::msm``),
#: without which it takes so many times as long.
_BATCHED_LOGROWS, _UNBATCHED = 13, 1.3
QUANTITIES = ("prove_s", "peak_bytes", "pk_bytes", "proof_bytes")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted costs of one proof: seconds of wall time, bytes of peak memory, bytes on disk."""

    prove_s: float
    peak_bytes: int
    pk_bytes: int
    proof_bytes: int

    def of(self, target: Target) -> float:
        """What the target makes small."""
        return {
            Target.SPEED: self.prove_s,
            Target.MEMORY: float(self.peak_bytes),
            Target.PROOF_SIZE: float(self.proof_bytes),
            Target.EVM: float(self.proof_bytes),
        }[target]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Coefficients by quantity (``QUANTITIES``), one for each of ``TERMS``.

    ``error`` is the median relative error of each quantity on proofs left out of the fit,
    ``source`` whose proofs they were: ``bundled``, or a machine's fingerprint.
    """

    coefficients: dict[str, tuple[float, ...]]
    error: dict[str, float]
    source: str

    @classmethod
    def bundled(cls) -> CostModel:
        """The coefficients in the package: right in proportion, not to the second."""
        text = resources.files("circuits.plan").joinpath("coefficients.json").read_text()
        return cls.from_json(json.loads(text))

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "error": self.error,
            "coefficients": {name: list(row) for name, row in self.coefficients.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CostModel:
        """Raises ``ValueError`` when the coefficients are not for these quantities and terms, as
        those are not that another version fitted."""
        coefficients = {name: tuple(map(float, r)) for name, r in data["coefficients"].items()}
        lengths = {len(row) for row in coefficients.values()}
        if set(coefficients) != set(QUANTITIES) or lengths != {len(TERMS)}:
            raise ValueError("the cost model has other quantities or terms than this version's")
        return cls(coefficients=coefficients, error=data["error"], source=data["source"])

    def predict(self, layout: LayoutStats) -> Prediction:
        values = {
            name: sum(c * f for c, f in zip(row, features(layout, name), strict=True))
            for name, row in self.coefficients.items()
        }
        return Prediction(
            prove_s=values["prove_s"],
            peak_bytes=int(values["peak_bytes"]),
            pk_bytes=int(values["pk_bytes"]),
            proof_bytes=int(values["proof_bytes"]),
        )


def features(layout: LayoutStats, quantity: str) -> Sequence[float]:
    """The terms of one quantity for one shape, in the order of ``TERMS``.

    A proof's length does not depend on the number of rows, everything else grows with it.
    """
    logrows = layout.args.logrows
    rows = extended = 1.0
    if quantity != "proof_bytes":
        rows = float(1 << logrows)
        extended = rows * extension(layout)
    if quantity == "prove_s":
        rows *= (1.0 if logrows >= _BATCHED_LOGROWS else _UNBATCHED) / logrows
    arguments = len(layout.range_checks) + len(layout.lookups) * table_columns(layout)
    inner = layout.args.num_inner_cols * blocks(layout)
    columns = inner * (_OPERANDS + _SUMS * arguments) + layout.committed
    return (1.0, extended, rows * columns, extended * columns)


def extension(layout: LayoutStats) -> float:
    """How many times larger than in the plainest circuit the quotient's domain is: a power of two
    that holds the degree of the constraints. A gate multiplies a row's inner columns, and the
    look-up of a table in several columns multiplies by a choice between them."""
    tables = table_columns(layout) + _LOOKUP_DEGREE
    degree = max(_LOOKUP_DEGREE + 1, layout.args.num_inner_cols + 2, tables)
    return 2.0 ** (math.ceil(math.log2(degree - 1)) - math.ceil(math.log2(_LOOKUP_DEGREE)))


def blocks(layout: LayoutStats) -> int:
    """How often the layout is folded because it is longer than 2^k rows."""
    return max(1, math.ceil(layout.rows / (1 << layout.args.logrows)))


def table_columns(layout: LayoutStats) -> int:
    """Columns that a lookup table takes: one for each 2^k entries of its range."""
    if not layout.lookups:
        return 0
    low, high = layout.args.lookup_range
    return (high - low) // (1 << layout.args.logrows) + 1


def machine_fingerprint() -> str:
    """Tells machines apart whose proofs take different times: processor, cores, system."""
    parts = (platform.machine(), _processor(), str(os.cpu_count()), platform.system())
    return sha256("|".join(parts).encode())[:23]


def _processor() -> str:
    """The processor's model name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
