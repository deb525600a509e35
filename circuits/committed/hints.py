"""What a circuit with committed hints is given: its tensor, new salt in it, and the challenges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuits.committed.arrangement import Arrangement
from circuits.committed.claim import challenge_names
from circuits.field import from_felt, to_felt

Felts = list[str]


def committed_inputs(
    network: bytes, inputs: Sequence[Felts], challenges: Callable[[Felts], Felts] | None = None
) -> list[Felts]:
    """The engine's inputs for the circuit's own one (the first of ``inputs``, of all lanes one
    behind the other): what is committed to, and the ``challenges`` of that. (Without these, where
    nothing is proved, any elements stand in their place.)

    Raises ``InputOutOfRange`` where a result has no entry in the circuit's table.
    """
    arrangement = Arrangement.from_bytes(network)
    committed = [to_felt(n) for n in arrangement.committed([from_felt(f) for f in inputs[0]])]
    if challenges is not None:
        return [committed, challenges(committed)]
    return [committed, [to_felt(n + 2) for n in range(len(challenge_names(arrangement.lanes)))]]
