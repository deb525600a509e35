"""What holds where a verifier does not see an input or the weights: bounds, and salt.

*Bounds.* A proof is about field elements. Where nobody sees an input, any element would do, and a
prover could solve the first layer's equations for an output of his choice. So the circuit itself
shows that each element lies in its accepted range: ``relu(n - high)`` and ``relu(low - n)`` of all
elements are summed, and the sum, a public residue, has to be 0. Each term is the result of a table
or of a decomposition, so it is a small number and never negative: only zeros add up to 0.

*Weights* of older circuits (no more are made). A weight that is used once is a loose cell in EZKL
23.0.5: its range check, and the hash of the weights, are about another copy of it. Used twice, it
is one cell that all are about. So every weight was used once more, times zero; the sum of that is
the residue.

*Salt.* The engine commits to how often each entry of a lookup table is used, without blinding. Such
a commitment is a function of the values looked up, and whoever guesses an input can confirm the
guess. Random look-ups, of no weight in any result, hide it: ``Salt``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from circuits.format.field import to_felt

#: The graph output that has to be zero, and how the names of salt's graph inputs begin and those of
#: the nodes that bound inputs, use weights twice and look salt up.
RESIDUES, SALT, BOUND = "zkml_residues", "zkml_salt", "zkml_bound"
#: Random look-ups in each table of one lane.
SALT_ELEMENTS = 640
#: Bits of entropy that hide one multiplicity column: its commitment and its opening (254 bits
#: each), and the distance from uniform that the leftover hash lemma asks for, 2^-128.
SALT_BITS = 800
#: The same where there are several: all running sums have the same blinding, so that a difference
#: of two, committed to and opened twice, is unblinded as well: 5 · 254 + 256. The rest allows for
#: where columns of a table end, which is counted here with a few rows more than the engine's.
SEVERAL_SALT_BITS = 1560
#: Rows of a table column that hold no entry of their own, at least as many as the engine reserves.
_RESERVED_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What a circuit enforces of values that its proofs do not show. Part of its manifest.

    ``inputs``: by what each input's range is enforced, ``table`` or ``digits``; None where inputs
    are shown. ``salted_tables``: how many lookup tables, all that the circuit has, get random
    look-ups, so that nothing of a proof can be compared with a guess; 0 where they get none.
    ``weights``: the largest magnitude that the engine's range check leaves a weight (before the
    shape of a circuit is chosen: that it has to leave); None where weights are in the key.
    """

    inputs: str | None = None
    salted_tables: int = 0
    weights: int | None = None

    @property
    def residues(self) -> int:
        """How many residues of each lane have to be zero."""
        return int(self.inputs is not None or self.weights is not None)

    def salt(self, lanes: int) -> Salt | None:
        """The salt of a circuit of so many lanes; None where it takes none."""
        if not self.salted_tables:
            return None
        return Salt(tables=self.salted_tables, elements=SALT_ELEMENTS * lanes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Hidden:
        """The inverse of ``to_json``. Raises ``ValueError`` for a bound of no known kind."""
        if data["inputs"] not in (None, "table", "digits"):
            raise ValueError(f"inputs bounded by {data['inputs']!r}: no such bound is known")
        made = cls(**data)
        numbers = (made.salted_tables, 0 if made.weights is None else made.weights)
        if any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError("hidden values are described by numbers that are not counts")
        return made


@dataclass(frozen=True, kw_only=True)
class Salt:
    """Random look-ups: ``elements`` in each of a circuit's ``tables``, an input tensor a table."""

    tables: int
    elements: int

    def draw(self, settings: Mapping[str, Any]) -> list[list[str]]:
        """Fresh salt, a list of felts a table.

        ``settings`` are the engine's. Consecutive elements stand in consecutive inner columns, and
        each stretch of them goes to the next of a table's columns, so that every multiplicity
        column gets its share.
        """
        args = settings["run_args"]
        first, high = (int(end) for end in args["lookup_range"])
        parts, width = _parts(first, high, args["logrows"])
        columns = int(args["num_inner_cols"])
        last = high - first + 1 - width * (parts - 1)

        def entry(position: int) -> int:
            part = position // columns % parts
            return first + part * width + secrets.randbelow(width if part < parts - 1 else last)

        return [[to_felt(entry(n)) for n in range(self.elements)] for _ in range(self.tables)]

    def bits(self, lookup_range: tuple[int, int], logrows: int, columns: int) -> float:
        """Min-entropy of the multiplicities in the least salted column, from below.

        Of t balls in N boxes the likeliest outcome is the most even one, t! / (N^t · Π m_i!).
        """
        parts, width = _parts(*lookup_range, logrows)
        entries = max(1, min(width, lookup_range[1] - lookup_range[0] + 1 - width * (parts - 1)))
        balls = self.elements // (columns * parts)
        each, more = divmod(balls, entries)
        even = more * math.lgamma(each + 2) + (entries - more) * math.lgamma(each + 1)
        nats = balls * math.log(entries) - math.lgamma(balls + 1) + even
        return nats / math.log(2)


def _parts(low: int, high: int, logrows: int) -> tuple[int, int]:
    """Into how many columns a table goes, and how many entries each of them holds."""
    width = max(1, (1 << logrows) - _RESERVED_ROWS)
    return math.ceil((high - low + 1) / width), width


def filled(lookup_range: tuple[int, int], logrows: int) -> tuple[int, int]:
    """The range, longer at its upper end: as much as fits the columns that it takes anyway."""
    parts, width = _parts(*lookup_range, logrows)
    return lookup_range[0], lookup_range[0] + parts * width - 1


def hides(salt: Salt, lookup_range: tuple[int, int], logrows: int, columns: int) -> bool:
    """Whether salt hides every multiplicity column of a circuit of this shape."""
    parts, _ = _parts(*lookup_range, logrows)
    alone = salt.tables * columns * parts == 1
    enough = SALT_BITS if alone else SEVERAL_SALT_BITS
    return salt.bits(lookup_range, logrows, columns) >= enough
