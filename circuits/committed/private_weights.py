"""Private weights as a tensor of their own, which every proof commits to again.

The weights of convolutions come first, each counted ``weight_offset`` more: the table rectifies
them, so that what the circuit reads lies in its range. Behind them stand the constants of each sum,
which nothing bounds: an accepted proof has all else of a sum bounded, and so what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from circuits.committed.arithmetic import Steps
from circuits.committed.arrangement import Arrangement, salted
from circuits.committed.network import Convolution, Integers, Network, Sum
from circuits.committed.weight_folding import full_bias


def weight_offset(steps: Steps) -> int:
    """What is added to each weight."""
    return steps.base // 2


def bounded(arrangement: Arrangement) -> list[Integers]:
    """The weights of each sum's convolutions, sum by sum, with their offset, in the shape that they
    have in the network."""
    offset = weight_offset(arrangement.steps)
    return [
        term.weights.astype(np.int64) + offset
        for _, step in arrangement.network.sums
        for term in step.convolutions
    ]


def unbounded(arrangement: Arrangement) -> list[Integers]:
    """The constants of each sum."""
    return [full_bias(arrangement, n, step) for n, (_, step) in enumerate(arrangement.network.sums)]


def outside(arrangement: Arrangement) -> bool:
    """Whether a weight has no entry in the table."""
    base = arrangement.steps.base
    return any(w.min(initial=0) < 0 or w.max(initial=0) >= base for w in bounded(arrangement))


def private_tensor(arrangement: Arrangement, salt: Sequence[int] | None = None) -> list[int]:
    """What is committed to, with new salt unless one is given."""
    parts = [*bounded(arrangement), *unbounded(arrangement)]
    flat: list[int] = np.concatenate([part.reshape(-1) for part in parts]).tolist()
    return salted(flat, arrangement.steps.logrows, salt)


def widest(network: Network, steps: Steps) -> Network:
    """The network with the largest weights that the table lets pass, and without constants."""
    largest = steps.base - weight_offset(steps)

    def wide(step: Sum) -> Sum:
        terms = tuple(
            replace(t, weights=np.full_like(t.weights, largest))
            if isinstance(t, Convolution)
            else t
            for t in step.terms
        )
        return replace(step, terms=terms, bias=np.zeros_like(step.bias))

    steps_ = tuple(wide(step) if isinstance(step, Sum) else step for step in network.steps)
    return replace(network, steps=steps_)
