"""What a circuit is given beside its input: results of products, checked in it.

``circuits.lower.hinting`` says why that is cheaper, and what makes it sound. Wrong hints give a
proof that does not verify; that they are right is of use to the prover alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from circuits.field import felts_to_bytes, to_felt

#: The names of the challenge's input, and of the output that shows it.
CHALLENGE, CHALLENGE_SHOWN = "zkml_challenge", "zkml_challenge_shown"
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
    ``lookup``. ``results``: how many results of each product a lane shows because a challenge,
    which is shown behind them all, depends on them.
    """

    residues: int
    results: tuple[int, ...]
    output_bounds: tuple[int, ...]
    most_bits: int
    lookup: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "residues": self.residues,
            "results": list(self.results),
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
            output_bounds=tuple(data["output_bounds"]),
            most_bits=data["most_bits"],
            lookup=None if lookup is None else (lookup[0], lookup[1]),
        )

    @property
    def tensors(self) -> int:
        """How many of a circuit's outputs stand behind the model's."""
        return 1 + len(self.results) + bool(self.results)

    def bind(self, base: int, legs: int, lookup: tuple[int, int]) -> bool:
        """Whether results are bound in a circuit of these decompositions and tables."""
        digits = 0 < base <= _WIDEST and 0 < legs <= _MOST and base**legs <= 1 << self.most_bits
        if self.lookup is None:
            return digits
        return digits and self.lookup[0] <= lookup[0] and lookup[1] <= self.lookup[1]


@dataclass(frozen=True, kw_only=True)
class Given:
    """A circuit's hints: the graph that computes them out of its inputs, and what its manifest says
    of them."""

    graph: bytes
    claim: Hints


def challenge(verifying_key: bytes, shown: Iterable[Sequence[str]]) -> str:
    """The challenge for results that are shown, as a felt: a hash of the key, for the weights, of
    every input and of every result, as they stand among the public instances."""
    digest = hashlib.sha256(_DOMAIN + hashlib.sha256(verifying_key).digest())
    for felts in shown:
        digest.update(felts_to_bytes(felts))
    return to_felt(int.from_bytes(digest.digest()[:_CHALLENGE_BYTES], "little"))
