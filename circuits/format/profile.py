"""What a circuit is built for: who sees what, how exact, how fast, how cautious."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, replace
from typing import Any

from circuits.format.commitments import Weights
from circuits.format.digests import digest_json


class Visibility(enum.StrEnum):
    """Who learns what from a proof (docs/receipt.md has the table)."""

    PUBLIC = "public"  # input and output in clear, weights fixed in the verifying key
    PRIVATE_INPUT = "private-input"  # the input is a witness: only the output is shown
    COMMITTED_INPUT = "committed-input"  # an identity names the input: a commitment under salt
    HASHED_INPUT = "hashed-input"  # a Poseidon hash of the input is shown
    # Of older receipts: no more circuits are built for these.
    HASHED_WEIGHTS = "hashed-weights"  # a Poseidon hash of the weights is shown
    PRIVATE_WEIGHTS = "private-weights"  # "some weights": nothing ties them to a model

    @property
    def shows_input(self) -> bool:
        """Whether the input stands in clear among the public instances."""
        hidden = Visibility.PRIVATE_INPUT, Visibility.COMMITTED_INPUT, Visibility.HASHED_INPUT
        return self not in hidden

    @property
    def names_input(self) -> bool:
        """Whether an identity names the input, the same in every proof about it."""
        return self is Visibility.COMMITTED_INPUT

    @property
    def shows_weights(self) -> bool:
        """Whether the weights are fixed in the verifying key."""
        return self not in (Visibility.HASHED_WEIGHTS, Visibility.PRIVATE_WEIGHTS)

    @property
    def engine_input(self) -> str:
        """EZKL's word for the inputs' visibility."""
        return {Visibility.PRIVATE_INPUT: "private", Visibility.HASHED_INPUT: "hashed"}.get(
            self, "public"
        )

    @property
    def engine_params(self) -> str:
        """EZKL's word for the weights' visibility."""
        return {Visibility.PRIVATE_WEIGHTS: "private", Visibility.HASHED_WEIGHTS: "hashed"}.get(
            self, "fixed"
        )


class Soundness(enum.StrEnum):
    """How much a proof establishes, the least first.

    EZKL 23.0.5 does not tie the result of a product to what follows as soon as a circuit checks any
    product by Freivalds' argument: whoever makes the proof may put other numbers there
    (docs/decisions/0006). So no circuit is made for ``freivalds``, and its proofs are refused.
    """

    FREIVALDS = "freivalds"  # of older receipts alone
    STANDARD = "standard"  # no range check where the verifier checks itself
    CONSERVATIVE = "conservative"  # every range check kept

    @property
    def level(self) -> int:
        """Grows with what a proof establishes."""
        return list(Soundness).index(self)


class Target(enum.StrEnum):
    """Optimisation target of the planner."""

    SPEED = "speed"
    MEMORY = "memory"
    PROOF_SIZE = "proof-size"
    EVM = "evm"


class Argument(enum.StrEnum):
    """How a circuit comes by its results. Of a circuit that is built, ``auto`` means plain."""

    AUTO = "auto"  # as the planner finds cheaper; hidden layers stay hidden
    COMMITTED = "committed"  # private hints under challenges that hash commitments to them
    PLAIN = "plain"  # they are computed in it


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A circuit's specification beside the model; part of the circuit's identity.

    ``max_error`` is the largest error over the output's range, ``agreement`` the share of top
    answers (the largest along an output's last axis) that are the model's, ``range_margin`` the
    room kept beyond the calibrated input range (0.25: a quarter of its width on each side).
    ``input_scale``: inputs of floats count in steps of 2^-scale, of committed hints, so that one
    identity of an input serves several circuits; None: in the finest that the circuit has room for.
    """

    visibility: Visibility = Visibility.PUBLIC
    soundness: Soundness = Soundness.STANDARD
    target: Target = Target.SPEED
    max_error: float = 0.01
    agreement: float = 0.99
    range_margin: float = 0.25
    argument: Argument = Argument.AUTO
    weights: Weights = Weights.SEALED  # of a circuit with committed hints
    input_scale: int | None = None

    @property
    def engine_input(self) -> str:
        """EZKL's word for the visibility of the circuit's inputs."""
        committed = self.argument is Argument.COMMITTED
        return "polycommit" if committed else self.visibility.engine_input

    @property
    def may_commit(self) -> bool:
        """Whether there are circuits with committed hints of this profile: whoever verifies has to
        compute their challenges, and what shown weights fold to or an identity commits to, which a
        contract does not."""
        known = self.weights is Weights.SEALED and not self.visibility.names_input
        return (
            self.argument is not Argument.PLAIN
            and self.soundness is Soundness.STANDARD
            and self.visibility.shows_weights
            and self.visibility is not Visibility.HASHED_INPUT
            and (self.target is not Target.EVM or known)
        )

    @property
    def must_commit(self) -> bool:
        """Whether only circuits with committed hints are of this profile."""
        return (
            self.argument is Argument.COMMITTED
            or self.weights is not Weights.SEALED
            or self.visibility.names_input
            or self.input_scale is not None
        )

    def chosen(self, *, committed: bool) -> Profile:
        """The profile of a circuit that was planned for this one."""
        return replace(self, argument=Argument.COMMITTED if committed else Argument.AUTO)

    @property
    def shows_network(self) -> bool:
        """Whether a bundle carries the network's integers, which the circuit does not hold."""
        return self.argument is Argument.COMMITTED and self.weights is Weights.SHOWN

    @property
    def checks_ranges(self) -> bool:
        """Whether the engine range-checks inputs and outputs in the circuit."""
        return self.soundness is Soundness.CONSERVATIVE

    @property
    def salts_tables(self) -> bool:
        """Whether a circuit of this profile gets random look-ups, where all its tables can be
        hidden by some (``circuits.format.hidden``). Where the input is hashed they would be hashed
        too, and where it is public they would be."""
        return self.visibility is Visibility.PRIVATE_INPUT and not self.checks_ranges

    @property
    def allows_hints(self) -> bool:
        """Whether an older circuit of this profile may be given results of products
        (``circuits.format.hints``): whoever verifies has to look at its input and at the residues,
        which a contract does not, and the weights have to be in the key."""
        return (
            self.soundness is Soundness.STANDARD
            and self.visibility is Visibility.PUBLIC
            and self.target is not Target.EVM
            and self.argument is not Argument.COMMITTED
        )

    def to_json(self) -> dict[str, Any]:
        """An argument that the planner chooses, sealed weights and a scale that it chooses are not
        mentioned."""
        data = asdict(self)
        if self.input_scale is None:
            del data["input_scale"]
        if self.weights is Weights.SEALED:
            del data["weights"]
        if self.argument is Argument.AUTO:
            del data["argument"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Profile:
        return cls(
            visibility=Visibility(data["visibility"]),
            soundness=Soundness(data["soundness"]),
            target=Target(data["target"]),
            max_error=data["max_error"],
            agreement=data["agreement"],
            range_margin=data["range_margin"],
            argument=Argument(data.get("argument", Argument.AUTO)),
            weights=Weights(data.get("weights", Weights.SEALED)),
            input_scale=data.get("input_scale"),
        )

    @property
    def digest(self) -> str:
        return digest_json(self.to_json())
