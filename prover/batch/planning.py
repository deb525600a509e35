"""The first job of a batch: build its circuit, plan its packs, queue them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from circuits.compiler.identity import batched_circuit_id
from circuits.errors import Canceled, Fault, InputOutOfRange, ModelTooLarge, ZkmlError
from circuits.format.manifest import CircuitManifest
from prover import tracing
from prover.batch.chunks import load_inputs, queued_items
from prover.batch.packing import LANE_COUNTS, PackPlan, plan_packs
from prover.batch.predicting import shared_costs
from prover.batch.services import BatchServices
from prover.jobs.build_spec import BuildSpec
from prover.jobs.circuit_registry import Circuit
from prover.jobs.lease import LeaseKeeper
from prover.logs import get_logger
from prover.records.batch import Batch, Pack
from prover.records.batch_errors import problem_of_item
from prover.records.job import Job, Stage

Note = Callable[[str], None]
_NOT_CHEAPER = "sharing a proof is not predicted to be cheaper for this model and number of inputs"
#: The newest circuits of a model that are searched for batched ones.
_MOST_LISTED = 200
_log = get_logger(__name__)


def plan_batch(services: BatchServices, job: Job, held: LeaseKeeper, note: Note) -> list[str]:
    """Ends the job with the batch's packs queued; returns their ids.

    Fails items out of the circuit's range first, so that packs are full. Raises the errors of
    building the circuit.
    """
    started = time.monotonic()
    tracing.stage(Stage.COMPILE.value)
    services.store.set_stage(held.lease, Stage.COMPILE, 0.0)
    batch = services.store.batch(job.id)
    circuit = _single_lane(services, job, held, note)
    good, failed = _in_range(services, batch, circuit.manifest)
    plan: dict[str, Any] = {"packs": [], "items": 0}
    packs: list[Pack] = []
    if good:
        pack_plan, circuits, plan = _plan_packs(services, batch, circuit, len(good), held, note)
        packs = _packs(batch, good, pack_plan.sizes(len(good)), circuits)
    timings = {"compile": time.monotonic() - started}
    return services.store.start_packs(held.lease, packs, failed, plan, timings)


def _single_lane(services: BatchServices, job: Job, held: LeaseKeeper, note: Note) -> Circuit:
    found = services.registry.open(job.circuit_id)
    if found is not None:
        return found
    built, _ = services.registry.ensure(
        BuildSpec.from_json(job.request["circuit"]), on_progress=note, held=held
    )
    return built


def _in_range(
    services: BatchServices, batch: Batch, manifest: CircuitManifest
) -> tuple[list[int], dict[int, dict[str, Any]]]:
    """Numbers of the accepted items, and the problems of the others."""
    good: list[int] = []
    failed: dict[int, dict[str, Any]] = {}
    items = queued_items(services.store, batch.id)
    for item, inputs in load_inputs(services.store, services.artifacts, batch.id, items):
        try:
            for encoding in manifest.inputs:
                encoding.quantise(inputs[encoding.tensor.name])
            good.append(item.number)
        except InputOutOfRange as error:
            failed[item.number] = problem_of_item(error, batch.request)
    return good, failed


def _plan_packs(
    services: BatchServices,
    batch: Batch,
    circuit: Circuit,
    count: int,
    held: LeaseKeeper,
    note: Note,
) -> tuple[PackPlan, dict[int, str], dict[str, Any]]:
    """The chosen circuits, all built, and the plan that gives the reasons."""
    prove_s, why = _predictions(services, batch, circuit, note)
    wanted = batch.request.get("lanes")
    lane_counts = {int(wanted)} if wanted else {1, *prove_s}
    reasons: dict[int, str] = {}
    while True:
        ready = lane_counts & ready_lanes(services, circuit).keys()
        try:
            pack_plan = plan_packs(
                count, prove_s.get, ready, lane_counts, batches=_batches(services, batch)
            )
        except ValueError:
            raise ModelTooLarge(
                reasons.get(wanted or 0)
                or why
                or f"{wanted} lanes need more memory than is allowed",
                advice="Ask for fewer lanes, or leave their number to the planner.",
            ) from None
        made, failed = _build(services, circuit, [n for n, _ in pack_plan.packs], held, note)
        if failed is None:
            break
        lane_counts.discard(failed[0])
        reasons[failed[0]] = failed[1].detail
    if all(lanes == 1 for lanes, _ in pack_plan.packs):
        why = why or _NOT_CHEAPER
    plan = pack_plan.to_json() | {
        "items": count,
        "unbatched_reason": why,
        "circuits": {str(n): made[n] for n in sorted(made)},
        "abandoned": [{"lanes": n, "why": text} for n, text in sorted(reasons.items())],
    }
    return pack_plan, made, plan


def _batches(services: BatchServices, batch: Batch) -> int:
    """Batches over which new keys must pay off. A batch with a deadline counts itself only."""
    return 1 if batch.expires_at is not None else services.settings.batches_expected


def _predictions(
    services: BatchServices, batch: Batch, circuit: Circuit, note: Note
) -> tuple[dict[int, float], str | None]:
    """Seconds of a proof by lanes, and the reason if inputs cannot share a proof."""
    single = services.registry.single_lane(circuit)
    one = float(single.plan["choice"]["predicted"]["prove_s"])
    if batch.request.get("isolate"):
        return {1: one}, "one proof per input was requested"
    note("estimating batched proofs")
    wanted = batch.request.get("lanes")
    lanes = {*LANE_COUNTS, int(wanted)} if wanted else set(LANE_COUNTS)
    known = shared_costs(services, single, lanes - {1})
    if known.why is not None:
        return {1: one}, known.why
    return {1: one, **known.prove_s}, None


def _build(
    services: BatchServices, circuit: Circuit, lanes: Sequence[int], held: LeaseKeeper, note: Note
) -> tuple[dict[int, str], tuple[int, ZkmlError] | None]:
    """The circuits' ids by lanes, or the first that could not be built and why."""
    made: dict[int, str] = {}
    for n in lanes:
        if n == 1:
            made[n] = circuit.manifest.circuit_id
            continue
        try:
            batched = services.registry.ensure_batched(
                circuit, n, on_progress=note, should_stop=held.should_stop
            )
        except ZkmlError as error:
            if isinstance(error, Canceled) or error.fault is Fault.BUSY:
                raise
            _log.warning("lanes_abandoned", lanes=n, code=error.code, detail=error.detail)
            return made, (n, error)
        made[n] = batched.manifest.circuit_id
    return made, None


def ready_lanes(services: BatchServices, circuit: Circuit) -> dict[int, str]:
    """The ids by lanes of all circuits with keys, including the single-lane ``circuit``."""
    single, model_id = circuit.manifest.circuit_id, circuit.manifest.model_sha256
    found = {1: single}
    for record in services.store.circuits(_MOST_LISTED, model_id=model_id).items:
        lanes = int(record.manifest.get("lanes", 1))
        if lanes > 1 and record.id == batched_circuit_id(single, lanes):
            found[lanes] = record.id
    return found


def split_packs(
    services: BatchServices, batch: Batch, numbers: Sequence[int], on_inexact: str | None = None
) -> list[Pack]:
    """Two halves of a pack that could not be proved, in circuits with existing keys.
    ``on_inexact`` overrides the batch's option."""
    assert batch.circuit_id is not None
    circuit = services.registry.open(batch.circuit_id)
    assert circuit is not None
    ready = ready_lanes(services, circuit)
    seconds = {n: planned_s(services, i) for n, i in ready.items()}
    middle = (len(numbers) + 1) // 2
    packs = []
    for half in filter(None, (numbers[:middle], numbers[middle:])):
        pack_plan = plan_packs(len(half), seconds.get, ready, ready)
        packs += _packs(batch, half, pack_plan.sizes(len(half)), ready, on_inexact)
    return packs


def planned_s(services: BatchServices, circuit_id: str) -> float:
    """The predicted seconds of a circuit's proof, from its plan. The measured time of its one trial
    proof depends too much on the machine's load."""
    files = services.store.circuit(circuit_id).manifest["files"]
    plan = json.loads(services.artifacts.get(files["plan"]))
    return float(plan["choice"]["predicted"]["prove_s"])


def _packs(
    batch: Batch,
    numbers: Sequence[int],
    sizes: Iterable[tuple[int, int]],
    circuits: dict[int, str],
    on_inexact: str | None = None,
) -> list[Pack]:
    packs, at = [], 0
    for lanes, items in sizes:
        packs.append(
            Pack(
                id=secrets.token_hex(16),
                circuit_id=circuits[lanes],
                request={
                    "batch": batch.id,
                    "profile": batch.request["profile"],
                    "context": batch.request["context"],
                    "on_inexact": on_inexact or batch.request.get("on_inexact"),
                    "lanes": lanes,
                    "items": items,
                },
                numbers=tuple(numbers[at : at + items]),
            )
        )
        at += items
    return packs
