"""What a circuit with committed hints claims, and the challenges that its proofs stand under.

``circuits.lower.committed`` says why that is sound. A proof begins with KZG commitments to the
circuit's input, hints and salt; the challenges are hashes of these and of all else that a product
must not be chosen by. Whoever verifies computes them from the proof's bytes.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from circuits.format.digests import canonical_json, digest_json, parse_canonical_json, sha256
from circuits.format.field import P, felts_to_bytes, from_felt, to_felt

#: Bytes of one commitment in a proof: x and y, big-endian.
POINT_BYTES = 64
#: The names of a committed circuit's inputs: what is committed to before the challenges, private
#: weights too, weights folded under them, and these.
DATA, WEIGHTS = "zkml_committed", "zkml_weights"
FOLDED, POINT = "zkml_folded", "zkml_challenges"
#: Random elements at the head of each column that holds a secret. Two are told by a proof.
COLUMN_SALT = 6
#: The fact in a graph's metadata that says how many cells the engine fills for it.
CELLS = "zkml_cells"
#: Challenges, in the order of the tensor that holds them: powers of ``output`` tell a layer's
#: outputs apart, those of ``row`` and ``column`` a convolution's places, and the last two are
#: where a public input is evaluated.
CHALLENGES = ("output", "row", "column", "input-row", "input-column")
#: The number of that in which an input is a polynomial which an identity commits to.
_PLACE = CHALLENGES.index("input-column")
#: With several lanes one more, behind these: its powers tell the lanes apart.
LANE = "lane"
#: Where weights are shown, the last ones: they hash what the weights fold to as well, which is
#: evaluated under them.
WEIGHTS_CHALLENGES = ("weights-row", "weights-column")
#: The number that the engine takes powers of: a float32, as its settings have it.
_E = 2.7182817
#: Rows of a column that no assignment may use.
_RESERVED_ROWS = 6
_IDENTITY = "zkml-prover/weights-identity/v1"
_INPUT_IDENTITY = "zkml-prover/input-identity/v1"
_DOMAIN, _LANE_DOMAIN = b"zkml-prover/committed-hints/v1", b"zkml-prover/lane/v1"
#: Of SHA-256's 256 bits, so many make an element that is surely below the modulus.
_CHALLENGE_BYTES, _DIGEST_BYTES = 31, 32


class Weights(enum.StrEnum):
    """Where the weights of a committed circuit are."""

    SEALED = "sealed"  # constants of the circuit: whoever verifies needs its key only
    SHOWN = "shown"  # the verifier has them; one circuit and key serve an architecture
    PRIVATE = "private"  # committed to in every proof; an identity names them, nothing shows them


@dataclass(frozen=True, kw_only=True)
class Commitments:
    """What a manifest says of committed hints.

    ``network_sha256``: the digest of the network's integers (``Weights``). ``elements``: how many
    elements are committed to before the challenges. ``residues``: how many public instances have to
    be zero. ``output_bounds``: no element of an output is larger than this in magnitude.
    ``evaluated``: rows and columns in which a public input stands under its challenges, or one that
    an identity names; None where the input is private. ``blinding``: how many random elements stand
    behind the latter; None of other inputs. ``folded``: how many elements shown weights fold to;
    None where they are sealed. ``lanes``: how many inputs a proof is about. ``private``: how many
    elements private weights are committed to as, salt included; ``identity``: commitments to them
    under a salt that no proof has, a point a column, in hex as proofs have them. ``function``: the
    operator and the scale of a second table; None where there is only the one that rectifies.
    """

    weights: Weights
    network_sha256: str
    elements: int
    residues: int
    output_bounds: tuple[int, ...]
    evaluated: tuple[int, int] | None
    folded: int | None = None
    lanes: int = 1
    private: int | None = None
    identity: tuple[str, ...] = ()
    blinding: int | None = None
    function: tuple[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """One lane is not mentioned."""
        optional: dict[str, Any] = {} if self.lanes == 1 else {"lanes": self.lanes}
        if self.folded is not None:
            optional["folded"] = self.folded
        if self.private is not None:
            optional |= {"private": self.private, "identity": list(self.identity)}
        if self.blinding is not None:
            optional["blinding"] = self.blinding
        if self.function is not None:
            optional["function"] = list(self.function)
        return optional | {
            "weights": self.weights.value,
            "network_sha256": self.network_sha256,
            "elements": self.elements,
            "residues": self.residues,
            "output_bounds": list(self.output_bounds),
            "evaluated": None if self.evaluated is None else list(self.evaluated),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Commitments:
        evaluated, function = data["evaluated"], data.get("function")
        return cls(
            weights=Weights(data["weights"]),
            network_sha256=data["network_sha256"],
            elements=data["elements"],
            residues=data["residues"],
            output_bounds=tuple(data["output_bounds"]),
            evaluated=None if evaluated is None else (evaluated[0], evaluated[1]),
            folded=data.get("folded"),
            lanes=data.get("lanes", 1),
            private=data.get("private"),
            identity=tuple(data.get("identity", ())),
            blinding=data.get("blinding"),
            function=None if function is None else (function[0], function[1]),
        )

    @property
    def tables(self) -> list[dict[str, Any]]:
        """The tables that the circuit looks up in, as the engine's settings have them."""
        found: list[dict[str, Any]] = [{"HardSwish": {"scale": 1.0}}]
        if self.function is not None:
            op, scale = self.function
            base = {"base": _E} if op == "Exp" else {}
            found.append({op: {"scale": 2.0**scale, **base}})
        return found

    @property
    def challenges(self) -> tuple[str, ...]:
        """The names of the challenges, in the order of the tensor that holds them."""
        return challenge_names(self.lanes, self.weights)

    @property
    def sizes(self) -> list[int]:
        """Elements of each tensor that is committed to, in the proof's order."""
        more = [n for n in (self.private, self.folded) if n is not None]
        return [self.elements, *more, len(self.challenges)]

    def committed(self, proof: bytes, logrows: int) -> tuple[bytes, ...]:
        """The commitments that the challenges are hashes of, the proof's first bytes: those to
        input, hints and salt, with those to private weights behind them, and those to what shown
        weights fold to.

        Raises ``ValueError`` where the proof is shorter.
        """
        found, at = [], 0
        for size in self.sizes[:-1]:
            end = at + columns(size, logrows) * POINT_BYTES
            found.append(proof[at:end])
            at = end
        if len(proof) < at:
            raise ValueError("the proof is shorter than its commitments")
        return tuple(found) if self.private is None else (b"".join(found),)

    def private_points(self, committed: bytes, logrows: int) -> tuple[bytes, ...]:
        """Those of the commitments that are to private weights: of the columns that hold any."""
        first = columns(self.elements, logrows) * POINT_BYTES
        return tuple(
            committed[first + n * POINT_BYTES : first + (n + 1) * POINT_BYTES]
            for n in range(salted_columns(self.private or 0, logrows))
        )

    def weights_identity(self, vk_sha256: str, settings_sha256: str) -> str | None:
        """The digest that names private weights in the circuit of a key; None of other weights.

        It is of all of the claim and the settings, too: of sizes that are moved between tensors the
        engine accepts the same proof, and they say which commitments are the weights'.
        """
        if self.private is None:
            return None
        files = {"settings": settings_sha256, "vk": vk_sha256}
        return digest_json({"commitments": self.to_json(), "type": _IDENTITY, **files})


def challenge_names(lanes: int, weights: Weights = Weights.SEALED) -> tuple[str, ...]:
    """The challenges of a circuit of so many lanes, in order."""
    names = CHALLENGES if lanes == 1 else (*CHALLENGES, LANE)
    return names + WEIGHTS_CHALLENGES if weights is Weights.SHOWN else names


def usable_rows(logrows: int) -> int:
    """Rows of a column that hold committed elements."""
    return (1 << logrows) - _RESERVED_ROWS


def salted_pieces(size: int, logrows: int) -> list[tuple[int, int]]:
    """Where so many elements stand in a tensor each of whose columns begins with salt: start and
    end of each column's piece."""
    room = usable_rows(logrows) - COLUMN_SALT
    return [
        (start + (n + 1) * COLUMN_SALT, min(start + room, size) + (n + 1) * COLUMN_SALT)
        for n, start in enumerate(range(0, size, room))
    ]


def salted_columns(elements: int, logrows: int) -> int:
    """How many columns such a tensor's elements stand in, salt included: at an edge one fewer than
    it has."""
    return -(-elements // usable_rows(logrows))


def columns(elements: int, logrows: int) -> int:
    """Columns, and so commitments, of a committed tensor, as the engine lays it out.

    (Its own ``kzg_commit`` returns one fewer just below an edge.)
    """
    rows = usable_rows(logrows)
    spread = elements // rows + 1
    return (elements + spread) // rows + 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a proof of one input is about: the context's digest (below 2^248) and, where they are
    public, the inputs. ``named``: where an identity names the input, its commitment and that to
    what the proof adds to its salt (``circuits.srs.input_identity``)."""

    context: int
    inputs: Sequence[Sequence[str]] | None
    named: bytes | None = None

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """What is hashed of it."""
        if self.named is not None:
            return self.context.to_bytes(32, "big"), b"committed" + self.named
        if self.inputs is None:
            return self.context.to_bytes(32, "big"), b"private"
        shown = b"".join(felts_to_bytes(f) for f in self.inputs)
        return self.context.to_bytes(32, "big"), b"public" + shown

    @property
    def leaf(self) -> str:
        """Its digest among those of the lanes of one proof, in hex."""
        hashed = hashlib.sha256(_LANE_DOMAIN)
        for part in self.parts:
            hashed.update(hashlib.sha256(part).digest())
        return hashed.hexdigest()


def about(subjects: Sequence[Subject]) -> Subject | Sequence[str]:
    """What a proof of these inputs is about."""
    return subjects[0] if len(subjects) == 1 else [subject.leaf for subject in subjects]


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """What challenges of several lanes are hashes of: the digest of each lane's subject
    (``leaves``, hex) and, where inputs are public, each one's ``evaluations``. Who verifies one
    lane computes its own two; all others are as its prover says."""

    leaves: tuple[str, ...]
    evaluations: tuple[str, ...]

    @classmethod
    def of(
        cls, subjects: Sequence[Subject], shape: tuple[int, int] | None, challenges: Sequence[str]
    ) -> Lanes:
        """Those of a proof of these inputs, evaluated in this shape."""
        return cls(
            leaves=tuple(subject.leaf for subject in subjects),
            evaluations=tuple(
                evaluation([f for given in subject.inputs for f in given], shape, challenges)
                for subject in subjects
                if subject.inputs is not None and shape is not None
            ),
        )

    def to_bytes(self) -> bytes:
        return canonical_json({"leaves": list(self.leaves), "evaluations": list(self.evaluations)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Lanes:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
        value = parse_canonical_json(data)
        made = cls(leaves=tuple(value["leaves"]), evaluations=tuple(value["evaluations"]))
        leaves = [bytes.fromhex(leaf) for leaf in made.leaves]
        found = cls(
            leaves=tuple(leaf.hex() for leaf in leaves),
            evaluations=tuple(to_felt(from_felt(f)) for f in made.evaluations),
        )
        if any(len(leaf) != _DIGEST_BYTES for leaf in leaves) or found.to_bytes() != data:
            raise ValueError("no list of lanes in normal form")
        return made


#: Evaluations of the lanes' inputs under the challenges that stand before theirs.
Evaluate = Callable[[list[str]], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Binding:
    """All that challenges are hashes of, beside the commitments: files of the circuit by their
    bytes, the claim, and what the proof is ``about``: one subject, or the leaves of several."""

    vk: bytes
    settings: bytes
    srs_part: bytes
    claim: Commitments
    about: Subject | Sequence[str]

    def seed(self, committed: bytes) -> bytes:
        """What every challenge is a hash of. Raises ``ValueError`` where there are other lanes than
        claimed."""
        count = 1 if isinstance(self.about, Subject) else len(self.about)
        if count != self.claim.lanes or isinstance(self.about, Subject) != (count == 1):
            raise ValueError("the proof is about another number of lanes")
        parts = (
            self.vk,
            self.settings,
            self.srs_part,
            canonical_json(self.claim.to_json()),
            *_about(self.about),
            committed,
        )
        hashed = hashlib.sha256(_DOMAIN)
        for part in parts:
            hashed.update(hashlib.sha256(part).digest())
        return hashed.digest()

    def challenges(
        self,
        committed: bytes,
        evaluate: Evaluate = lambda _: (),
        folded: bytes | None = None,
    ) -> list[str]:
        """The challenges, as felts in the order of the claim's, under the commitments to input,
        hints and salt, and to private weights. Those of shown weights hash the commitments to what
        they are ``folded`` to under the others, too, and are left out where there is none.

        That of the lanes is a hash of what ``evaluate`` gives, too. Raises ``ValueError`` where one
        is zero, which no hash ever is in practice, or where there are other lanes than claimed.
        """
        seed = self.seed(committed)
        found = [to_felt(challenge(seed, name)) for name in CHALLENGES]
        if self.claim.blinding is not None and self.claim.evaluated is not None:
            # A polynomial in one challenge: the next row's first power follows a row's last.
            found[_PLACE - 1] = to_felt(pow(place_in(found), self.claim.evaluated[1], P))
        if not isinstance(self.about, Subject):
            evaluations = list(evaluate(found))
            shown = 0 if self.claim.evaluated is None else self.claim.lanes
            if len(evaluations) != shown:
                raise ValueError("not every lane's input is evaluated")
            digest = hashlib.sha256(felts_to_bytes(evaluations)).digest()
            found.append(to_felt(challenge(seed + digest, LANE)))
        if folded is not None:
            second = hashlib.sha256(seed + hashlib.sha256(folded).digest()).digest()
            found += [to_felt(challenge(second, name)) for name in WEIGHTS_CHALLENGES]
        if to_felt(0) in found:
            raise ValueError("a challenge is zero")
        return found


def _about(about: Subject | Sequence[str]) -> tuple[bytes, bytes]:
    if isinstance(about, Subject):
        return about.parts
    return b"".join(bytes.fromhex(leaf) for leaf in about), b"lanes"


def challenge(seed: bytes, name: str) -> int:
    """A number below the modulus."""
    digest = hashlib.sha256(seed + name.encode()).digest()
    return int.from_bytes(digest[:_CHALLENGE_BYTES], "little")


def doubled(felts: Sequence[str]) -> list[str]:
    """Elements added to themselves: how a circuit shows its challenges."""
    return [to_felt(2 * _number(f) % P) for f in felts]


def halved(felts: Sequence[str]) -> list[str]:
    """The inverse of ``doubled``."""
    return [to_felt(_number(f) * pow(2, -1, P) % P) for f in felts]


def evaluation(inputs: Sequence[str], shape: tuple[int, int], challenges: Sequence[str]) -> str:
    """A public input under its challenges."""
    row, column = (challenges[CHALLENGES.index(f"input-{n}")] for n in ("row", "column"))
    return evaluated_at(inputs, shape, row, column)


def evaluated_at(elements: Sequence[str], shape: tuple[int, int], *at: str) -> str:
    """The sum of ``x[a, b] · row^(a+1) · column^(b+1)`` for two challenges, with zeros behind its
    end up to ``shape``."""
    row, column = (_number(challenge) for challenge in at)
    numbers = [_number(f) for f in elements]
    total = 0
    for a in reversed(range(shape[0])):
        line = 0
        for number in reversed(numbers[a * shape[1] : (a + 1) * shape[1]]):
            line = (line + number) * column % P
        total = (total + line) * row % P
    return to_felt(total)


def evaluation_shape(elements: int) -> tuple[int, int]:
    """Rows and columns in which so many elements are evaluated: as wide as high, or nearly."""
    width = math.isqrt(elements - 1) + 1
    return -(-elements // width), width


def joined(evaluations: Sequence[str], challenge: str) -> str:
    """The lanes' evaluations under powers of their challenge, from the first on: what the circuit
    shows."""
    total = 0
    for felt in reversed(evaluations):
        total = (total + _number(felt)) * _number(challenge) % P
    return to_felt(total)


def _number(felt: str) -> int:
    """An element as a number from 0 to the modulus."""
    return from_felt(felt) % P


def place_in(challenges: Sequence[str]) -> int:
    """Where a circuit evaluates an input that an identity names."""
    return _number(challenges[_PLACE])


def value_of(claim: Commitments, place: int, shown: str) -> int:
    """The value there of the input's polynomial, whose constant is the first element, by what the
    circuit shows. Raises ``ValueError`` where no identity names the input."""
    if claim.evaluated is None or claim.blinding is None:
        raise ValueError("no identity names the input")
    return _number(shown) * pow(place, -claim.evaluated[1] - 1, P) % P


def input_identity(point: bytes, srs_part: bytes, inputs: Sequence[tuple[int, int]]) -> str:
    """The digest that names an input: that of its commitment, of the reference string and of what
    is committed to, by the elements and the scale of each of ``inputs``. No circuit is part of it.
    """
    return digest_json(
        {
            "commitment": point.hex(),
            "inputs": [{"elements": n, "scale": scale} for n, scale in inputs],
            "srs_part": sha256(srs_part),
            "type": _INPUT_IDENTITY,
        }
    )
