"""What a circuit with committed hints is given: its tensor, new salt in it, and the challenges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuits.committed.arrangement import Arrangement
from circuits.committed.claim import CHALLENGES
from circuits.field import from_felt, to_felt

Felts = list[str]


def committed_inputs(
    network: bytes, inputs: Sequence[Felts], challenges: Callable[[Felts], Felts]
) -> list[Felts]:
    """The engine's inputs for the circuit's own one (the first of ``inputs``): what is committed
    to, and the ``challenges`` of that.

    Raises ``InputOutOfRange`` where a result has no entry in the circuit's table.
    """
    arrangement = Arrangement.from_bytes(network)
    committed = [to_felt(n) for n in arrangement.committed([from_felt(f) for f in inputs[0]])]
    return [committed, challenges(committed)]


def no_challenges(committed: Felts) -> Felts:
    """In the challenges' place where nothing is proved."""
    return [to_felt(n + 2) for n in range(len(CHALLENGES))]
