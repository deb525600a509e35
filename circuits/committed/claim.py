"""What a circuit with committed hints claims, and the challenges that its proofs stand under.

``circuits.lower.committed`` says why that is sound. A proof begins with KZG commitments to the
circuit's input, hints and salt; the challenges are hashes of these and of all else that a product
must not be chosen by. Whoever verifies computes them from the proof's bytes.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from circuits.digests import canonical_json
from circuits.field import P, felts_to_bytes, from_felt, to_felt

#: Bytes of one commitment in a proof: x and y, big-endian.
POINT_BYTES = 64
#: The names of a committed circuit's inputs: what is committed to before the challenges, and these.
DATA, POINT = "zkml_committed", "zkml_challenges"
#: The fact in a graph's metadata that says how many cells the engine fills for it.
CELLS = "zkml_cells"
#: Challenges, in the order of the tensor that holds them: powers of ``output`` tell a layer's
#: outputs apart, those of ``row`` and ``column`` a convolution's places, and the last two are
#: where a public input is evaluated.
CHALLENGES = ("output", "row", "column", "input-row", "input-column")
#: Rows of a column that no assignment may use.
_RESERVED_ROWS = 6
_DOMAIN = b"zkml-prover/committed-hints/v1"
#: Of SHA-256's 256 bits, so many make an element that is surely below the modulus.
_CHALLENGE_BYTES = 31


class Weights(enum.StrEnum):
    """Where the weights of a committed circuit are."""

    SEALED = "sealed"  # constants of the circuit: whoever verifies needs its key only


@dataclass(frozen=True, kw_only=True)
class Commitments:
    """What a manifest says of committed hints.

    ``network_sha256``: the digest of the network's integers (``Weights``). ``elements``: how many
    elements are committed to before the challenges. ``residues``: how many public instances have to
    be zero. ``output_bounds``: no element of an output is larger than this in magnitude.
    ``evaluated``: rows and columns in which a public input stands under its challenges; None where
    the input is private.
    """

    weights: Weights
    network_sha256: str
    elements: int
    residues: int
    output_bounds: tuple[int, ...]
    evaluated: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "weights": self.weights.value,
            "network_sha256": self.network_sha256,
            "elements": self.elements,
            "residues": self.residues,
            "output_bounds": list(self.output_bounds),
            "evaluated": None if self.evaluated is None else list(self.evaluated),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Commitments:
        evaluated = data["evaluated"]
        return cls(
            weights=Weights(data["weights"]),
            network_sha256=data["network_sha256"],
            elements=data["elements"],
            residues=data["residues"],
            output_bounds=tuple(data["output_bounds"]),
            evaluated=None if evaluated is None else (evaluated[0], evaluated[1]),
        )

    @property
    def sizes(self) -> list[int]:
        """Elements of each tensor that is committed to, in the proof's order."""
        return [self.elements, len(CHALLENGES)]

    def committed(self, proof: bytes, logrows: int) -> bytes:
        """The commitments that the challenges are hashes of: the proof's first bytes.

        Raises ``ValueError`` where the proof is shorter.
        """
        end = columns(self.elements, logrows) * POINT_BYTES
        if len(proof) < end:
            raise ValueError("the proof is shorter than its commitments")
        return proof[:end]


def usable_rows(logrows: int) -> int:
    """Rows of a column that hold committed elements."""
    return (1 << logrows) - _RESERVED_ROWS


def columns(elements: int, logrows: int) -> int:
    """Columns, and so commitments, of a committed tensor, as the engine lays it out.

    (Its own ``kzg_commit`` returns one fewer just below an edge.)
    """
    rows = usable_rows(logrows)
    spread = elements // rows + 1
    return (elements + spread) // rows + 1


@dataclass(frozen=True, kw_only=True)
class Binding:
    """All that challenges are hashes of, beside the commitments: files of the circuit by their
    bytes, the claim, the context's digest (below 2^248) and, where it is public, the input."""

    vk: bytes
    settings: bytes
    srs_part: bytes
    claim: Commitments
    context: int
    inputs: Sequence[Sequence[str]] | None

    def challenges(self, committed: bytes) -> list[str]:
        """The challenges, as felts in the order of ``CHALLENGES``.

        Raises ``ValueError`` where one is zero, which no hash ever is in practice.
        """
        shown = b"" if self.inputs is None else b"".join(felts_to_bytes(f) for f in self.inputs)
        parts = (
            self.vk,
            self.settings,
            self.srs_part,
            canonical_json(self.claim.to_json()),
            self.context.to_bytes(32, "big"),
            b"private" if self.inputs is None else b"public" + shown,
            committed,
        )
        seed = hashlib.sha256(_DOMAIN)
        for part in parts:
            seed.update(hashlib.sha256(part).digest())
        found = [_challenge(seed.digest(), name) for name in CHALLENGES]
        if 0 in found:
            raise ValueError("a challenge is zero")
        return [to_felt(n) for n in found]


def _challenge(seed: bytes, name: str) -> int:
    digest = hashlib.sha256(seed + name.encode()).digest()
    return int.from_bytes(digest[:_CHALLENGE_BYTES], "little")


def doubled(felts: Sequence[str]) -> list[str]:
    """Elements added to themselves: how a circuit shows its challenges."""
    return [to_felt(2 * _number(f) % P) for f in felts]


def evaluation(inputs: Sequence[str], shape: tuple[int, int], challenges: Sequence[str]) -> str:
    """A public input under its challenges: the sum of ``x[a, b] · row^(a+1) · column^(b+1)``, with
    zeros behind its end up to ``shape``."""
    row, column = (_number(c) for c in challenges[-2:])
    numbers = [_number(f) for f in inputs]
    total = 0
    for a in reversed(range(shape[0])):
        line = 0
        for number in reversed(numbers[a * shape[1] : (a + 1) * shape[1]]):
            line = (line + number) * column % P
        total = (total + line) * row % P
    return to_felt(total)


def _number(felt: str) -> int:
    """An element as a number from 0 to the modulus."""
    return from_felt(felt) % P
