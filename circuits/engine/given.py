"""What the engine is given for a proof: inputs and, of circuits that have any, hints or salt.

Commitments are the engine's own (``circuits.engine.calls``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from circuits.committed.arrangement import Arrangement
from circuits.committed.engine_inputs import committed_inputs
from circuits.committed.private_weights import private_tensor
from circuits.engine.port import CircuitFiles
from circuits.format.commitments import (
    POINT_BYTES,
    Binding,
    Lanes,
    Subject,
    about,
    columns,
    place_in,
    salted_columns,
    usable_rows,
)
from circuits.format.field import Felts, P, from_felt, to_felt
from circuits.format.hidden import Salt
from circuits.srs import identity
from circuits.srs.identity import Comparison
from circuits.srs.input_identity import SALT_BYTES, NamedInput
from circuits.srs.verify_part import extract

#: The commitment to a column, with what the engine puts on the rows behind it.
Commit = Callable[[Felts], bytes]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the engine takes for a proof: ``inputs``, and hints or salt where the circuit has any;
    and that private ``weights``, and an input that is ``named``, are those of their identities."""

    inputs: list[Felts]
    weights: bytes | None = None
    named: bytes | None = None


def for_proof(
    files: CircuitFiles,
    inputs: list[Felts],
    settings: dict[str, Any],
    input_salt: bytes | None,
    commit: Commit,
) -> Given:
    """Of a lane's or all lanes' inputs. ``input_salt``: of its identity, if the circuit names it by
    one; else, and where it is left out, new."""
    hints = files.hints.read_bytes() if files.hints else None
    if files.commitments is None or hints is None:
        return Given(inputs=completed(inputs, hints, files.salt, settings))
    claim = files.commitments
    secret = None
    if claim.blinding is not None:
        integers = [from_felt(felt) for given in inputs[:-1] for felt in given]
        secret = NamedInput.of(integers, input_salt or os.urandom(SALT_BYTES), files.srs)
    shape, lanes = None if secret else claim.evaluated, claim.lanes
    sizes = [len(given) // lanes for given in inputs[:-1]]
    own = [
        [given[n * size : (n + 1) * size] for given, size in zip(inputs, sizes, strict=False)]
        for n in range(lanes)
    ]
    subjects = [
        Subject(
            context=from_felt(context),
            inputs=None if shape is None else given,
            named=secret.named if secret else None,
        )
        for context, given in zip(inputs[-1], own, strict=True)
    ]
    binding = Binding(
        vk=files.vk.read_bytes(),
        settings=files.settings.read_bytes(),
        srs_part=extract(files.srs),
        claim=claim,
        about=about(subjects),
    )
    logrows = int(settings["run_args"]["logrows"])

    def evaluate(challenges: Felts) -> Sequence[str]:
        return Lanes.of(subjects, shape, challenges).evaluations

    points: list[bytes] = []

    def challenges(tensors: Sequence[Felts]) -> Felts:
        points.extend(_committed(commit, tensor, logrows) for tensor in tensors[len(points) :])
        first = len(points) if claim.private is not None else 1
        return binding.challenges(b"".join(points[:first]), evaluate, *points[first:])

    full = committed_inputs(hints, inputs, challenges, secret.blinding if secret else ())

    def point(values: list[int]) -> bytes:
        return commit([to_felt(n) for n in values])

    named = None
    if secret is not None:
        named = secret.argument(place_in(full[-1]), logrows, point)
    if claim.private is None:
        return Given(inputs=full, named=named)
    comparison = Comparison.of(binding, b"".join(points), logrows)
    weights = [from_felt(felt) % P for felt in full[1]]
    salt = Arrangement.from_bytes(hints).identity_salt
    argument = identity.prove(comparison, weights, salt, files.srs, point)
    return Given(inputs=full, weights=argument, named=named)


def commit_weights(network: bytes, commit: Commit) -> tuple[bytes, tuple[str, ...]]:
    """A network with private weights and, from now on, a salt for their identity; and that."""
    arrangement = Arrangement.from_bytes(network)
    logrows = arrangement.steps.logrows
    tensor = private_tensor(arrangement)
    points = _committed(commit, [to_felt(n) for n in tensor], logrows)
    count = salted_columns(len(tensor), logrows) * POINT_BYTES
    found = [points[n : n + POINT_BYTES].hex() for n in range(0, count, POINT_BYTES)]
    salt = identity.salts(tensor, logrows)
    return replace(arrangement, identity_salt=tuple(salt)).to_bytes(), tuple(found)


def _committed(commit: Commit, tensor: Felts, logrows: int) -> bytes:
    """The commitments to a tensor as they stand in a proof: of each column by itself, since the
    engine's own count of columns is one less just below an edge."""
    size = usable_rows(logrows)
    parts = [tensor[n * size : (n + 1) * size] for n in range(columns(len(tensor), logrows))]
    return b"".join(commit(part or [to_felt(0)]) for part in parts)


def completed(
    inputs: list[Felts],
    hints: bytes | None,
    salt: Salt | None,
    settings: dict[str, Any],
) -> list[Felts]:
    """Inputs and, behind them, salt. With committed hints, what takes their place."""
    if hints is not None:
        return committed_inputs(hints, inputs)
    return inputs if salt is None else [*inputs, *salt.draw(settings)]
