"""Public hints of older receipts: results of products, given to a circuit and checked in it.

No circuit is made with them any more; what decision 0007 asks of a verifier is here. A circuit of
today computes its products, or has committed hints (``circuits.committed``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from circuits.format.field import felts_to_bytes, to_felt

#: The most rows, as a power of two, of a circuit that is given results and has tables. Its tables
#: fill whole columns, beyond the entries that they are there for.
MOST_TABLED_LOGROWS = 18
_DOMAIN = b"zkml-prover/challenge/v1"
#: Of SHA-256's 256 bits, so many make an element that is surely below the modulus.
_CHALLENGE_BYTES = 31
#: Beyond these no engine takes numbers apart.
_WIDEST, _MOST = 1 << 64, 128


@dataclass(frozen=True, kw_only=True)
class Hints:
    """That a circuit is given results, and what a verifier has to look at because of it.

    ``residues``: how many of a lane's public instances have to be zero. That says something only
    as long as no element of an output exceeds its one of ``output_bounds`` in magnitude, the
    circuit's decompositions hold ``most_bits`` bits at most, and its tables nothing outside of
    ``lookup``. ``results``: how many results of each product a lane is given; ``challenged``:
    whether a challenge stands behind them.
    """

    residues: int
    results: tuple[int, ...]
    challenged: bool
    output_bounds: tuple[int, ...]
    most_bits: int
    lookup: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "residues": self.residues,
            "results": list(self.results),
            "challenged": self.challenged,
            "output_bounds": list(self.output_bounds),
            "most_bits": self.most_bits,
            "lookup": None if self.lookup is None else list(self.lookup),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Hints:
        lookup = data["lookup"]
        return cls(
            residues=data["residues"],
            results=tuple(data["results"]),
            challenged=data["challenged"],
            output_bounds=tuple(data["output_bounds"]),
            most_bits=data["most_bits"],
            lookup=None if lookup is None else (lookup[0], lookup[1]),
        )

    def bind(self, base: int, legs: int, lookup: tuple[int, int], logrows: int) -> bool:
        """Whether results are bound in a circuit of these decompositions, tables and rows."""
        digits = 0 < base <= _WIDEST and 0 < legs <= _MOST and base**legs <= 1 << self.most_bits
        if self.lookup is None:
            return digits
        # A table of several columns is filled up to the end of the last one.
        inside = self.lookup[0] <= lookup[0] and lookup[1] + (1 << logrows) <= self.lookup[1]
        return digits and 0 <= logrows <= MOST_TABLED_LOGROWS and inside


def challenge(verifying_key: bytes, shown: Iterable[Sequence[str]]) -> str:
    """The challenge for results, as a felt: a hash of the key, for the weights, of every input and
    of every result, as they stand among the public instances."""
    digest = hashlib.sha256(_DOMAIN + hashlib.sha256(verifying_key).digest())
    for felts in shown:
        digest.update(felts_to_bytes(felts))
    return to_felt(int.from_bytes(digest.digest()[:_CHALLENGE_BYTES], "little"))
