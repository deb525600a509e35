"""One pack of a batch: one proof of its inputs, with a receipt for each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from circuits.errors import Fault, InputOutOfRange, ZkmlError
from circuits.format.digests import sha256
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile
from prover import tracing
from prover.admission import proof_limits
from prover.batch.chunks import load_inputs, queued_items
from prover.batch.finer import finer_circuit
from prover.batch.lanes import Lane, SharedProof, Stated, prove_lanes
from prover.batch.options import OnInexact
from prover.batch.services import BatchServices
from prover.jobs.kept_proofs import prove_once
from prover.jobs.lease import LeaseKeeper
from prover.records.batch_errors import RowInexact, problem_of_item
from prover.records.job import Job, Stage
from prover.statement.context import Context
from prover.statement.exactness import error_json, inexact, inexact_in_words

_SHARED = (
    "proof",
    "settings",
    "vk",
    "srs_part",
    "manifest",
    "plan",
    "lanes",
    "weights",
    "identity",
    "input_identity",
)


@dataclass(kw_only=True)
class PackOutcome:
    """The outcome of a pack: ``proved`` has lane and result by number, ``failed`` the problems,
    ``again`` the numbers to prove in a finer circuit."""

    proved: dict[int, tuple[int, dict[str, Any]]]
    failed: dict[int, dict[str, Any]]
    again: list[int] = field(default_factory=list)
    result: dict[str, Any]
    timings: dict[str, float]
    peak_rss_bytes: int | None = None


def prove_pack(services: BatchServices, job: Job, held: LeaseKeeper) -> PackOutcome:
    """Proves the remaining items of a pack, verifies each statement and signs it.

    Writes only artifacts; the caller settles the pack. Raises the engine's errors, and
    ``StatementRefused`` when the service's own verification fails.
    """
    circuit = finer_circuit(services, job, held) or services.registry.open(job.circuit_id)
    assert circuit is not None, "a pack is queued after its circuit is built"
    outcome = PackOutcome(proved={}, failed={}, result={}, timings={})
    lanes = _lanes(services, job, circuit.manifest, outcome)
    if not lanes:
        return outcome
    made = prove_lanes(
        services,
        circuit,
        lanes,
        proof_limits(services.settings, job),
        on_stage=partial(_begin, services, held),
        should_stop=held.should_stop,
        prove=lambda make: prove_once(
            services.store,
            services.artifacts,
            job,
            held.lease,
            make,
            circuit=circuit.manifest.circuit_id,
            lanes=[lane.number for lane in lanes],
            **_named_by(circuit.manifest, lanes[0]),
        ),
    )
    outcome.timings |= made.proof.seconds
    outcome.peak_rss_bytes = made.proof.peak_rss_bytes
    tracing.stage(Stage.VERIFY.value)
    services.store.set_stage(held.lease, Stage.VERIFY, 0.9, outcome.timings)
    started = time.monotonic()
    _state_all(services, job, made, lanes, outcome)
    outcome.timings["receipts"] = time.monotonic() - started
    return outcome


def _named_by(manifest: CircuitManifest, lane: Lane) -> dict[str, str]:
    """What a kept proof has to be of besides, where an identity names the input: its salt, which
    each attempt draws again."""
    if lane.salt is None or not manifest.profile.visibility.names_input:
        return {}
    return {"salt": sha256(lane.salt)}


def _begin(services: BatchServices, held: LeaseKeeper, name: str) -> None:
    tracing.stage(name)
    services.store.set_stage(held.lease, Stage(name))


def _lanes(
    services: BatchServices, job: Job, manifest: CircuitManifest, outcome: PackOutcome
) -> list[Lane]:
    lanes: list[Lane] = []
    batch_id = job.request["batch"]
    items = queued_items(services.store, batch_id, pack_id=job.id)
    for item, inputs in load_inputs(services.store, services.artifacts, batch_id, items):
        context = Context.from_request(f"{batch_id}.{item.number}", job.request["context"])
        try:
            lanes.append(Lane.of(manifest, item.number, inputs, context))
        except InputOutOfRange as error:
            outcome.failed[item.number] = problem_of_item(error, job.request)
    return lanes


def _state_all(
    services: BatchServices, job: Job, made: SharedProof, lanes: list[Lane], outcome: PackOutcome
) -> None:
    put = services.artifacts.put
    shared = {name: getattr(made.shared, name) for name in _SHARED}
    outcome.result = {"files": {n: put(data) for n, data in shared.items() if data is not None}}
    for index, lane in enumerate(lanes):
        try:
            stated = made.state(index, lane, outcome.timings)
        except ZkmlError as error:
            if error.fault is not Fault.INPUT:
                raise
            # The other lanes keep their proof.
            outcome.failed[lane.number] = problem_of_item(error, job.request)
        else:
            _keep(services, job, index, lane, stated, outcome)


def _keep(
    services: BatchServices, job: Job, index: int, lane: Lane, stated: Stated, outcome: PackOutcome
) -> None:
    """Stores a lane's statement, unless its output misses the profile and such rows have to fail or
    be proved again."""
    profile = Profile.from_json(job.request["profile"])
    wish = OnInexact(job.request.get("on_inexact", OnInexact.REPORT))
    if inexact(stated.error, profile) and wish is OnInexact.ISOLATE:
        outcome.again.append(lane.number)
    elif inexact(stated.error, profile) and wish is OnInexact.FAIL:
        error = RowInexact(f"the proof was made, but {inexact_in_words(stated.error, profile)}")
        outcome.failed[lane.number] = problem_of_item(error, job.request)
    else:
        outcome.proved[lane.number] = (index, _stored(services, stated, profile))


def _stored(services: BatchServices, stated: Stated, profile: Profile) -> dict[str, Any]:
    """An item's result, after storing its own artifacts."""
    put, bundle = services.artifacts.put, stated.bundle
    return {
        "receipt": put(bundle.receipt),
        "signer": put(bundle.signer),
        "input": put(bundle.input) if bundle.input is not None else None,
        "input_salt": stated.salt.hex() if stated.salt else None,
        **({"input_identity": stated.identity} if stated.identity else {}),
        "outputs": stated.outputs,
        "error": error_json(stated.error, profile),
    }
