"""Rows whose output missed the profile are proved again, alone, in a finer circuit.

The finer circuit has the same build spec with an eighth of the tolerance: three more bits. The
first pack that needs it builds it. A row that it does not help, or that has none, is proved as
before and reported.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile
from prover import tracing
from prover.batch.options import OnInexact
from prover.batch.services import BatchServices
from prover.jobs.build_spec import BuildSpec
from prover.jobs.circuit_registry import Circuit
from prover.jobs.lease import LeaseKeeper
from prover.records.batch import Batch, Pack
from prover.records.job import Job, Stage

_SHARE = 1 / 8


def finer_circuit(services: BatchServices, job: Job, held: LeaseKeeper) -> Circuit | None:
    """The circuit of a pack that proves rows again, built now if needed; None for another pack.

    Raises the errors of building a circuit.
    """
    spec = job.request.get("finer")
    if spec is None:
        return None
    if (found := services.registry.open(job.circuit_id)) is not None:
        return found
    tracing.stage(Stage.COMPILE.value)
    services.store.set_stage(held.lease, Stage.COMPILE, 0.0)
    built, _ = services.registry.ensure(BuildSpec.from_json(spec), held=held)
    return built


def finer_packs(services: BatchServices, batch: Batch, numbers: Sequence[int]) -> list[Pack]:
    """A pack for each of the rows, in a finer circuit."""
    if not numbers:
        return []
    spec = _spec(services, batch)
    request: dict[str, Any] = {
        "batch": batch.id,
        "profile": batch.request["profile"],
        "context": batch.request["context"],
        "on_inexact": OnInexact.REPORT.value,
        "finer": spec.to_json(),
        "lanes": 1,
        "items": 1,
    }
    return [
        Pack(id=secrets.token_hex(16), circuit_id=spec.id, request=request, numbers=(number,))
        for number in numbers
    ]


def _spec(services: BatchServices, batch: Batch) -> BuildSpec:
    """The batch's build spec with a smaller tolerance. For a circuit older than the batch, the spec
    comes from the job that built it, or else from the circuit's accepted range."""
    profile = Profile.from_json(batch.request["profile"])
    finer = replace(profile, max_error=profile.max_error * _SHARE)
    model = services.store.model(batch.model_id)
    assert batch.circuit_id is not None
    known = batch.request.get("circuit") or next(
        (
            job.request["circuit"]
            for job in services.store.jobs(100, circuit_id=batch.circuit_id).items
            if job.request.get("circuit")
        ),
        None,
    )
    if known is not None and known["calibration"] is not None:
        calibration = services.artifacts.get(known["calibration"])
        return services.registry.calibrated_spec(model, finer, calibration)
    if known is not None:
        return services.registry.spec_for_ranges(model, finer, BuildSpec.from_json(known).ranges)
    manifest = CircuitManifest.from_json(services.store.circuit(batch.circuit_id).manifest)
    accepted = {e.tensor.name: (e.lower, e.upper) for e in manifest.inputs}
    return services.registry.spec_for_ranges(model, finer, accepted)
