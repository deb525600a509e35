"""Coalescing: jobs that arrive one by one share a proof if they use the same circuit.

A worker that claims a job waits for the rest of the window (``ZKML_COALESCE_MS``), claims the other
jobs that wait for the same circuit, and proves all of them in a batched circuit. Each job keeps its
own row, lease and fencing token, and gets its own bundle.

Only jobs without earlier attempts share a proof. After a failure of a pack, or the death of its
worker, each of its jobs is proved alone, so no job can fail its neighbours twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from circuits.batching.errors import CannotBatch
from circuits.compiler.identity import batched_circuit_id
from circuits.errors import Canceled, Fault, InputOutOfRange, ZkmlError
from circuits.format.digests import digest_json
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile, Target, Visibility
from prover import tracing
from prover.admission import proof_limits
from prover.batch.lanes import Lane, SharedProof, prove_lanes
from prover.batch.packing import LANE_COUNTS, plan_packs
from prover.batch.planning import planned_s, ready_lanes
from prover.batch.services import BatchServices
from prover.errors import JobNotFound, LeaseLost
from prover.jobs.circuit_registry import Circuit
from prover.jobs.forgetting import forget_input
from prover.jobs.inputs import load_input
from prover.jobs.lease import LeaseKeeper, holding
from prover.jobs.progress import PROGRESS
from prover.logs import get_logger
from prover.records.batch_errors import problem_of_item
from prover.records.job import Job, JobKind, JobState, Stage
from prover.statement.bundle import write_bundle
from prover.statement.context import Context
from prover.statement.exactness import error_json
from prover.store import Store

#: The most jobs that share one proof: their worker keeps a lease for each.
MOST = 64
_WIDE = tuple(lanes for lanes in LANE_COUNTS if 1 < lanes <= MOST)
_LOOK_S = 0.02
_log = get_logger(__name__)

#: Proves a claimed job alone.
Single = Callable[[Job, LeaseKeeper], None]


def may_share(job: Job) -> bool:
    """Whether a job may share a proof with others.

    Not if the request asked for a separate proof; not for a contract, which knows one verifying
    key; not with hashed inputs, whose hash would cover all lanes, nor with those that an identity
    names; and not after an earlier attempt,
    which this job may have caused to fail.
    """
    profile = Profile.from_json(job.request["profile"])
    context = job.request.get("context") or {}
    return (
        job.kind is JobKind.PROOF
        and job.attempt <= 1
        and not job.request.get("isolate")
        and profile.visibility is not Visibility.HASHED_INPUT
        and not profile.visibility.names_input
        and profile.target is not Target.EVM
        and context.get("consumer") is None
    )


@dataclass(kw_only=True)
class _Member:
    """A job of a pack, under its lease. ``ended``: its end has been written."""

    job: Job
    held: LeaseKeeper
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Coalescing:
    """Proves jobs of one circuit together. ``owner`` and ``stopping`` are the worker's."""

    services: BatchServices
    single: Single
    owner: str
    stopping: Callable[[], bool]

    def run(self, job: Job, held: LeaseKeeper) -> None:
        """Works on a claimed job, with others if that is cheaper, and writes its end.

        Errors of jobs are not raised.
        """
        circuit = self.services.registry.open(job.circuit_id)
        if circuit is None:
            self.single(job, held)  # it builds the circuit
            return
        ready = ready_lanes(self.services, circuit)
        if len(ready) == 1 and self._refused(circuit):
            self.single(job, held)
            return
        others = self._others(job, held)
        self._request_batched(job, circuit, 1 + len(others), ready)
        lanes = self._lanes(1 + len(others), ready)
        if lanes == 1 or held.should_stop():
            self.single(job, held)
            return
        with self._taken(others[: lanes - 1]) as joined:
            if not joined:
                self.single(job, held)
                return
            members = [_Member(job=job, held=held), *joined]
            batched = self.services.registry.open(ready[lanes])
            assert batched is not None
            _Pack(self.services, self.single, self.stopping, batched, members).run()

    # --- who, and in which circuit ------------------------------------------------------------

    def _others(self, job: Job, held: LeaseKeeper) -> list[Job]:
        """Jobs that wait for the same circuit, oldest first. Returns at the end of the window, or
        once there are as many as fit."""
        window = self.services.settings.coalesce_ms / 1000
        until = job.created_at.timestamp() + window
        while True:
            waiting = self.services.store.waiting_proofs(job.circuit_id, limit=MOST - 1)
            found = [other for other in waiting if may_share(other)]
            left = until - datetime.now(UTC).timestamp()
            if left <= 0 or len(found) == MOST - 1 or held.should_stop():
                return found
            time.sleep(min(_LOOK_S, left))

    def _lanes(self, count: int, ready: dict[int, str]) -> int:
        """Lanes of the first pack in the cheapest plan for ``count`` jobs; the next free worker
        takes the others."""
        seconds = {lanes: planned_s(self.services, name) for lanes, name in ready.items()}
        pack_plan = plan_packs(count, seconds.get, ready, ready)
        return pack_plan.sizes(count)[0][0]

    def _request_batched(
        self, job: Job, circuit: Circuit, count: int, ready: dict[int, str]
    ) -> None:
        """Requests the batched circuit that ``count`` jobs would fill, once and as a separate job,
        so that no proof waits for it. Not if a circuit with more lanes exists or is being built,
        since the number of waiting jobs fluctuates."""
        wanted = min(lanes for lanes in LANE_COUNTS if lanes >= count)
        if count == 1 or wanted <= max(ready):
            return
        builds = self._builds(circuit)
        if any(lanes >= wanted and job_id.problem is None for lanes, job_id in builds.items()):
            return
        if wanted in builds:
            return  # it could not be built
        single = circuit.manifest.circuit_id
        batched = batched_circuit_id(single, wanted)
        request = {
            "profile": circuit.manifest.profile.to_json(),
            "lanes": {"of": single, "count": wanted},
        }
        job_id = _build_job_id(self.services.store, batched)
        self.services.store.create_job(
            JobKind.CIRCUIT, job.model_id, batched, request, None, id=job_id
        )
        self.services.announce([job_id])

    def _builds(self, circuit: Circuit) -> dict[int, Job]:
        """The jobs that build, have built or could not build batched circuits, by lanes."""
        found = {}
        for lanes in _WIDE:
            with suppress(JobNotFound):
                batched = batched_circuit_id(circuit.manifest.circuit_id, lanes)
                found[lanes] = self.services.store.job(_build_job_id(self.services.store, batched))
        return found

    def _refused(self, circuit: Circuit) -> bool:
        """Whether the inputs of this model are known not to share a proof; then a job need not
        wait for others."""
        problems = [job_id.problem for job_id in self._builds(circuit).values()]
        return any(p is not None and p["code"] == CannotBatch.code for p in problems)

    @contextmanager
    def _taken(self, others: Sequence[Job]) -> Iterator[list[_Member]]:
        """Claims the jobs that no other worker has claimed meanwhile."""
        services, ttl = self.services, self.services.settings.lease_s
        with ExitStack() as stack:
            members = []
            for other in others:
                lease = services.store.claim(other.id, self.owner, ttl)
                if lease is None:
                    continue
                held = stack.enter_context(
                    holding(
                        services.store,
                        lease,
                        ttl,
                        notifications=services.notifications,
                        stopping=self.stopping,
                    )
                )
                job = services.store.job(other.id)
                # Another worker may have had it between the read and the claim.
                if may_share(job):
                    members.append(_Member(job=job, held=held))
                else:
                    _give_back(services, job, held)
            yield members


@dataclass(frozen=True)
class _Pack:
    """Jobs that share one proof."""

    services: BatchServices
    single: Single
    stopping: Callable[[], bool]
    circuit: Circuit
    members: list[_Member]
    _timings: dict[str, float] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Ends each member's job, or requeues it to be proved alone."""
        manifest = self.circuit.manifest
        _log.info("coalesced", jobs=len(self.members), lanes=manifest.lanes)
        lanes = self._encoded(manifest)
        try:
            if len(lanes) > 1:
                made = prove_lanes(
                    self.services,
                    self.circuit,
                    [lane for _, lane in lanes],
                    proof_limits(self.services.settings, self.members[0].job),
                    on_stage=lambda name: self._begin(Stage(name)),
                    should_stop=self._should_stop,
                )
                self._state_all(made, lanes)
        except Canceled:
            pass  # no member is left, or this worker stops
        except ZkmlError as error:
            _log.warning("pack_failed", code=error.code, jobs=len(self.members))
        except Exception:  # a defect here must not fail jobs that would succeed alone
            _log.exception("pack_defect", jobs=len(self.members))
        finally:
            self._leave()

    def _encoded(self, manifest: CircuitManifest) -> list[tuple[_Member, Lane]]:
        """Each member's lane; a member whose input cannot be encoded fails alone."""
        lanes = []
        for number, member in enumerate(self.members):
            job = member.job
            assert job.input_key is not None
            try:
                inputs = load_input(self.services.artifacts.get_private(job.input_key))
                context = Context.from_request(job.id, job.request.get("context"))
                lanes.append((member, Lane.of(manifest, number, inputs, context)))
            except InputOutOfRange as error:
                self._fail(member, error)
            except ZkmlError as error:
                _log.warning("left_out_of_pack", job=job.id, code=error.code)
        return lanes

    def _begin(self, stage: Stage) -> None:
        tracing.stage(stage.value)
        for member in self._open():
            self._write(
                member,
                lambda m: self.services.store.set_stage(
                    m.held.lease, stage, PROGRESS[stage], self._timings
                ),
            )

    def _should_stop(self) -> bool:
        """Whether the engine must stop: this worker stops, or no job is left. A canceled member
        ends at once; its lane is proved with the others and discarded. Called from every thread
        that waits for a child process."""
        if self.stopping():
            return True
        with self._looking:
            for member in self._open():
                if member.held.should_stop():
                    self._settle(member)
        return not self._open()

    def _state_all(self, made: SharedProof, lanes: Sequence[tuple[_Member, Lane]]) -> None:
        self._timings.update(made.proof.seconds)
        self._begin(Stage.VERIFY)
        for index, (member, lane) in enumerate(lanes):
            if member.ended:
                continue
            started = time.monotonic()
            try:
                stated = made.state(index, lane, self._timings)
            except ZkmlError as error:
                if error.fault is not Fault.INPUT:
                    raise
                self._fail(member, error)
                continue
            put = self.services.artifacts.put
            result = {
                "receipt": put(stated.bundle.receipt),
                "proof": put(stated.bundle.proof),
                "bundle": put(write_bundle(stated.bundle)),
                "outputs": stated.outputs,
                "error": error_json(stated.error, self.circuit.manifest.profile),
                "input_salt": stated.salt.hex() if stated.salt else None,
                "circuit": self.circuit.manifest.circuit_id,
                "lane": {"index": index, "count": self.circuit.manifest.lanes},
                "shared_by": len(lanes),
            }
            timings = self._timings | {Stage.VERIFY.value: time.monotonic() - started}
            self._succeed(member, result, timings, made.proof.peak_rss_bytes)

    # --- how a member ends ----------------------------------------------------------------------

    def _open(self) -> list[_Member]:
        return [member for member in self.members if not member.ended]

    def _write(self, member: _Member, change: Callable[[_Member], object]) -> None:
        """Writes under a member's lease; does nothing once the lease is lost."""
        try:
            change(member)
        except LeaseLost:
            _log.warning("lease_lost", job=member.job.id)
            member.ended = True
        self.services.notifications.publish(member.job.id)

    def _succeed(
        self,
        member: _Member,
        result: dict[str, Any],
        timings: dict[str, float],
        peak_rss: int | None,
    ) -> None:
        self._write(
            member, lambda m: self.services.store.succeed(m.held.lease, result, timings, peak_rss)
        )
        self._over(member)

    def _fail(self, member: _Member, error: ZkmlError) -> None:
        problem = problem_of_item(error, member.job.request)
        self._write(
            member, lambda m: self.services.store.fail(m.held.lease, problem, self._timings)
        )
        self._over(member)

    def _settle(self, member: _Member) -> None:
        settled = member.held.settle()
        member.ended = True
        if settled is not None and settled.state.terminal:
            forget_input(self.services.artifacts, member.job)
        elif settled is not None and settled.state is JobState.QUEUED:
            self.services.announce([settled.id])
        self.services.notifications.publish(member.job.id)

    def _over(self, member: _Member) -> None:
        if not member.ended:
            member.ended = True
            forget_input(self.services.artifacts, member.job)

    def _leave(self) -> None:
        """Leaves unfinished jobs to be proved alone: the first job here, the others by the workers
        that claim them."""
        lead = self.members[0]
        for member in self._open():
            if member.held.should_stop():
                self._settle(member)
            elif member is not lead:
                member.ended = True
                _give_back(self.services, member.job, member.held)
        if not lead.ended:
            lead.ended = True
            self.single(lead.job, lead.held)


def _build_job_id(store: Store, batched: str) -> str:
    """The id of the tenant's job that builds a batched circuit. It is deterministic, so a failed
    build is not repeated."""
    named = {"lanes": batched, "tenant": store.tenant}
    return digest_json(named).removeprefix("sha256:")[:32]


def _give_back(services: BatchServices, job: Job, held: LeaseKeeper) -> None:
    """Requeues a job."""
    try:
        services.store.requeue(held.lease)
    except LeaseLost:
        return
    services.announce([job.id])
    services.notifications.publish(job.id)
