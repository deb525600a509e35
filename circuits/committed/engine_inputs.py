"""What a circuit with committed hints is given: its tensor with new salt, private weights with
theirs, what shown weights fold to, and the challenges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuits.committed.arrangement import Arrangement
from circuits.committed.private_weights import private_tensor
from circuits.committed.weight_folding import folded_weights
from circuits.format.commitments import Weights, challenge_names
from circuits.format.field import Felts, P, from_felt, to_felt

#: The challenges of tensors that are committed to, in order.
Challenges = Callable[[Sequence[Felts]], Felts]


def committed_inputs(
    network: bytes,
    inputs: Sequence[Felts],
    challenges: Challenges | None = None,
    blinding: Sequence[int] = (),
) -> list[Felts]:
    """The engine's inputs for the circuit's own ones (``inputs``, each of all lanes one behind the
    other; the last is the context): what is committed to, private weights, what shown weights fold
    to, and the ``challenges`` of these. (Without these, where nothing is proved, any elements stand
    in their place.) ``blinding``: as in ``Arrangement.committed``.

    Raises ``InputOutOfRange`` where a result has no entry in the circuit's table.
    """
    arrangement = Arrangement.from_bytes(network)
    names = challenge_names(arrangement.lanes, arrangement.weights)
    made = challenges or (lambda _: [to_felt(n + 2) for n in range(len(names))])
    own = [[from_felt(felt) for felt in given] for given in inputs[:-1]]
    tensors = [[to_felt(n) for n in arrangement.committed(own, blinding)]]
    if arrangement.weights is Weights.PRIVATE:
        tensors.append([to_felt(n) for n in private_tensor(arrangement)])
    found = made(tensors)
    if arrangement.weights is Weights.SHOWN:
        numbers = [from_felt(felt) % P for felt in found]
        tensors.append([to_felt(n) for n in folded_weights(arrangement, numbers)])
        found = made(tensors)
    return [*tensors, found]
