"""The composition root: one object that holds the parts and offers what users ask for.

The API, the workers and the command line use it and know none of its parts. It loads neither the
engine nor the compiler: child processes and late imports do.
"""

from __future__ import annotations

import copy
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from circuits.calibration.samples import default_ranges, draw, read_calibration
from circuits.cost.layers import cost_report
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import ModelTooLarge, ZkmlError
from circuits.format.digests import sha256, sha256_file
from circuits.format.manifest import CircuitManifest
from circuits.format.npz import MAGIC
from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from circuits.srs.files import MAX_LOGROWS, SrsFolder
from circuits.srs.files import Policy as SrsPolicy
from prover.admission import Place, Sizing
from prover.artifacts import Artifacts
from prover.batch.coalescing import Coalescing, may_share
from prover.batch.service import BatchService
from prover.batch.workshop import Announce, BatchServices
from prover.errors import JobNotDone, ModelNotFound, ResultRemoved
from prover.jobs.bus import open_notifications
from prover.jobs.circuit_registry import BuildSpec, CircuitRegistry
from prover.jobs.forgetting import forget_input
from prover.jobs.housekeeping import keep_house
from prover.jobs.inputs import parse_input, store_input
from prover.jobs.lease import holding
from prover.jobs.notifications import Notifications
from prover.jobs.pipeline import Pipeline
from prover.logs import get_logger, log_context
from prover.records.batch_errors import CircuitForBatches
from prover.records.idempotency import content_of
from prover.records.job import Job, JobKind, JobOptions, JobState, Lease, ModelRecord
from prover.settings import Settings
from prover.statement.context import Context
from prover.statement.keys import KeyRing
from prover.store import Store
from prover.tracing import carrier, job_span
from prover.verify.bare_proof import verify_raw
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy

#: Limits of reading an untrusted model.
_INSPECT_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
_INSPECT = "circuits.compiler.inspect:inspect_json"
_DESCRIBE = "circuits.compiler.capabilities:describe"
_BIND = "circuits.frontend.binding:bound_model"
_UNPACK = "circuits.frontend.external:unpacked"
#: Models whose costs a process caches.
_COSTS_KEPT = 256
NO_OPTIONS = JobOptions()
_OF_BATCHES = (JobKind.BATCH, JobKind.PACK)
_log = get_logger(__name__)


def _is_archive(model: bytes | Path) -> bool:
    if not isinstance(model, Path):
        return model[: len(MAGIC)] == MAGIC
    with model.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _nobody_hears(_: Sequence[str]) -> None:
    pass


class App:
    """The application behind every entry point. Thread-safe; methods may raise a ``ZkmlError``."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        artifacts: Artifacts,
        sandbox: Sandbox | None = None,
    ) -> None:
        """``sandbox``: an already started one; ``close`` closes it."""
        self.settings = settings
        self.store = store
        self.artifacts = artifacts
        self.notifications: Notifications = open_notifications(
            settings.redis_url, settings.redis_prefix
        )
        self.engine = EzklEngine(sandbox or Sandbox(nice=settings.engine_nice))
        self.library = CircuitRegistry(settings, store, artifacts, self.engine)
        self._costs: dict[tuple[str | None, str], dict[str, Any]] = {}
        self._costs_lock = threading.Lock()
        self._described: dict[str, Any] = {}
        self._ring: list[KeyRing] = []  # shared by the views of all tenants
        #: Called with the ids of jobs that a job has queued. A worker process sends them to the
        #: queue; other processes find them in the store.
        self.announce: Announce = _nobody_hears

    @classmethod
    def open(cls, settings: Settings, sandbox: Sandbox | None = None) -> App:
        """Opens (and creates, the first time) everything that the settings name, for the tenant
        ``DEFAULT_TENANT``."""
        settings.prepare()
        store = Store.open(
            settings.database_url,
            max_attempts=settings.max_attempts,
            quarantine_after=settings.quarantine_after,
            quota=settings.quota,
            sizing=Sizing.of(settings),
        )
        artifacts = Artifacts.open(
            settings.artifacts_url, settings.cache_dir, settings.cache_max_mb << 20
        )
        return cls(settings, store, artifacts, sandbox)

    def for_tenant(self, tenant: str, key_id: str | None = None) -> Self:
        """The same application for another tenant: it finds and creates only that tenant's data.
        ``key_id``: the API key of the request. Cheap; close only the opened object."""
        if (tenant, key_id) == (self.store.tenant, self.store.key_id):
            return self
        return self._view(tenant, key_id)

    def _view(self, tenant: str, key_id: str | None = None) -> Self:
        """The tenant's view, which counts the bytes it stores."""
        view = copy.copy(self)
        view.store = self.store.for_tenant(tenant, key_id)
        view.artifacts = self.artifacts.counted()
        view.library = CircuitRegistry(self.settings, view.store, view.artifacts, self.engine)
        view.__dict__.pop("batches", None)
        return view

    @property
    def keys(self) -> KeyRing:
        """The keys that sign receipts; created on first use."""
        if not self._ring:
            self._ring.append(KeyRing.open(self.settings.key_path))
        return self._ring[0]

    @cached_property
    def batches(self) -> BatchService:
        """The batch service: many inputs, few proofs."""
        services = BatchServices(
            settings=self.settings,
            store=self.store,
            artifacts=self.artifacts,
            notifications=self.notifications,
            engine=self.engine,
            library=self.library,
            keys=lambda: self.keys,
            announce=lambda ids: self.announce(ids),  # noqa: PLW0108 - it may be set later
        )
        return BatchService(services=services)

    def close(self) -> None:
        """Kills engine children and closes connections."""
        self.engine.sandbox.close()
        self.notifications.close()
        self.store.close()

    # --- models ------------------------------------------------------------------------------

    def add_model(
        self,
        model: bytes | Path,
        name: str,
        *,
        metadata: dict[str, str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> tuple[ModelRecord, bool]:
        """Inspects a model in a child process and stores it; returns whether it is new.

        Of a zip archive the model with its external data inside is stored. With ``shapes`` (full
        shapes by input, or lengths by axis name) the model with these shapes fixed is stored,
        under its own id.

        Raises the ``ModelError`` family for a file that cannot be proved.
        """
        size = self._size_of(model)
        if _is_archive(model):
            data = model.read_bytes() if isinstance(model, Path) else model
            most = self.settings.max_model_bytes
            model = self.engine.sandbox.call(_UNPACK, data, most, limits=_INSPECT_LIMITS)
            size = self._size_of(model)
        if shapes:
            data = model.read_bytes() if isinstance(model, Path) else model
            model = self.engine.sandbox.call(_BIND, data, dict(shapes), limits=_INSPECT_LIMITS)
        model_id = sha256_file(model) if isinstance(model, Path) else sha256(model)
        known = self._find_model(model_id)
        if known is not None:
            return known, False
        self.store.check_room(size)
        # Also inspected if another tenant has it: the response time must not reveal that.
        # The child may not open files, so it gets the bytes. The API inspects few models at a
        # time and holds no other model in memory.
        summary = self.inspect_bytes(model.read_bytes() if isinstance(model, Path) else model)
        if isinstance(model, Path):
            self.artifacts.put_file(model)
        else:
            self.artifacts.put(model)
        self.store.add_stored(size)
        record = ModelRecord(
            id=model_id,
            name=name,
            size_bytes=size,
            signature=summary["signature"],
            summary=summary,
            created_at=datetime.now(UTC),
            metadata=metadata or {},
        )
        return self.store.add_model(record), True

    def inspect_bytes(self, data: bytes, *, allow_refused: bool = False) -> dict[str, Any]:
        """Inspects a model in a child process: ``circuits.compiler.inspect.ModelSummary`` as
        JSON."""
        summary: dict[str, Any] = self.engine.sandbox.call(
            _INSPECT, data, allow_refused, limits=_INSPECT_LIMITS
        )
        return summary

    def model_costs(self, model_id: str) -> dict[str, Any]:
        """Each layer's cost before and after rewriting (``circuits.cost.layers.CostReport`` as
        JSON). The first call takes seconds; then the process caches it."""
        # Cached by tenant: the response time must not reveal other tenants' models.
        key = (self.store.tenant, model_id)
        with self._costs_lock:
            known = self._costs.get(key)
        if known is None:
            data = self.artifacts.get(self.store.model(model_id).id)
            known = cost_report(self.engine, data, _INSPECT_LIMITS).to_json()
            with self._costs_lock:
                while len(self._costs) >= _COSTS_KEPT:
                    self._costs.pop(next(iter(self._costs)))
                self._costs[key] = known
        return known

    def _size_of(self, model: bytes | Path) -> int:
        """In bytes. Raises ``ModelTooLarge``."""
        size = model.stat().st_size if isinstance(model, Path) else len(model)
        if size > self.settings.max_model_bytes:
            raise ModelTooLarge(
                f"the model has {size} bytes, the limit is {self.settings.max_model_bytes}",
                advice="Raise ZKML_MAX_MODEL_BYTES.",
            )
        return size

    def _find_model(self, model_id: str) -> ModelRecord | None:
        try:
            return self.store.own_model(model_id)
        except ModelNotFound:
            return None

    # --- jobs --------------------------------------------------------------------------------

    def request_circuit(
        self,
        model_id: str,
        profile: Profile,
        calibration: bytes | None,
        options: JobOptions = NO_OPTIONS,
        *,
        metadata: dict[str, str] | None = None,
    ) -> Job:
        """A job that builds a circuit; it succeeds at once if the circuit exists."""
        model = self.store.model(model_id)
        self._check_quota(options)
        if calibration is not None:
            order = self.library.order_calibrated(model, profile, calibration)
            self.store.add_stored(len(calibration))
        else:
            order = self.library.build_spec(model, profile, None)
        return self.store.create_job(
            JobKind.CIRCUIT,
            model.id,
            order.id,
            {
                "profile": profile.to_json(),
                "circuit": order.to_json(),
                **options.to_request(),
                **carrier(),
            },
            None,
            metadata=metadata,
            id=options.id,
            deadline=options.deadline,
            urgency=options.urgency,
        )

    def request_proof(
        self,
        *,
        model_id: str | None,
        circuit_id: str | None,
        payload: object,
        profile: Profile,
        context: dict[str, Any] | None,
        isolate: bool = False,
        metadata: dict[str, str] | None = None,
        options: JobOptions = NO_OPTIONS,
    ) -> Job:
        """A job that proves one input; the input is checked now.

        A circuit's id selects that circuit, and an input outside its range is refused here. A
        model's id selects the newest circuit of that model and profile that accepts the input,
        else the job builds one first. ``isolate``: never share a proof with other jobs
        (``prover.batch.coalescing``).
        """
        if circuit_id is not None:
            with self.store.snapshot():
                record = self.store.circuit(circuit_id)
                model = self.store.model(record.model_id)
            inputs, unused = self._read(payload, model)
            manifest = CircuitManifest.from_json(record.manifest)
            if manifest.lanes != 1:
                raise CircuitForBatches(circuit=circuit_id, lanes=manifest.lanes)
            for encoding in manifest.inputs:
                encoding.quantise(inputs[encoding.tensor.name])
        else:
            assert model_id is not None
            model = self.store.model(model_id)
            inputs, unused = self._read(payload, model)
            return self.prove_inputs(
                model,
                inputs,
                profile,
                context,
                None,
                isolate=isolate,
                unused=unused,
                metadata=metadata,
                options=options,
            )
        return self._enqueue(
            model,
            manifest.profile,
            circuit_id,
            None,
            inputs,
            context,
            options,
            isolate,
            unused,
            metadata,
        )

    def prove_inputs(
        self,
        model: ModelRecord,
        inputs: Mapping[str, NDArray[Any]],
        profile: Profile,
        context: dict[str, Any] | None,
        calibration: bytes | None,
        *,
        isolate: bool = False,
        unused: Sequence[str] = (),
        metadata: dict[str, str] | None = None,
        options: JobOptions = NO_OPTIONS,
    ) -> Job:
        """As ``request_proof`` with a model's id, for checked inputs. ``calibration``, if given,
        decides the circuit. ``unused``: ignored input names, for the job's row."""
        if calibration is None:
            found = self.library.find_accepting(model.id, profile, inputs)
            order = None if found else self.library.build_spec(model, profile, inputs)
            found_id = found.id if found else None
        else:
            order, found_id = self.library.order_calibrated(model, profile, calibration), None
        return self._enqueue(
            model, profile, found_id, order, inputs, context, options, isolate, unused, metadata
        )

    def estimate(
        self, model_id: str, profile: Profile, calibration: bytes | None
    ) -> dict[str, Any]:
        """Estimates a circuit's cost (``circuits.plan.estimate``), in about a second for small
        models; builds nothing and creates no job."""
        record = self.store.model(model_id)
        signature = Signature.from_json(record.signature)
        samples = (
            draw(signature, default_ranges(signature))
            if calibration is None
            else read_calibration(calibration, signature)
        )
        builder = self.library.builder()
        return builder.estimate(self.artifacts.get(model_id), samples, profile).to_json()

    def _read(
        self, payload: object, model: ModelRecord
    ) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
        return parse_input(payload, Signature.from_json(model.signature))

    def _enqueue(
        self,
        model: ModelRecord,
        profile: Profile,
        circuit_id: str | None,
        order: BuildSpec | None,
        inputs: Mapping[str, NDArray[Any]],
        context: dict[str, Any] | None,
        options: JobOptions,
        isolate: bool,
        unused: Sequence[str],
        metadata: dict[str, str] | None,
    ) -> Job:
        job_id = options.id or secrets.token_hex(16)
        Context.from_request(job_id, context)  # refused here rather than in a worker
        request: dict[str, Any] = {
            "profile": profile.to_json(),
            "context": context,
            **options.to_request(),
            **carrier(),
        }
        if isolate:
            request["isolate"] = True
        if unused:
            request["unused_inputs"] = list(unused)
        if order is not None:
            request["circuit"] = order.to_json()
            circuit_id = order.id
        assert circuit_id is not None
        content = None
        if options.deduplicate or profile.visibility.shows_input:
            content = content_of(circuit_id, context, inputs, isolate=isolate)
        with self.store.snapshot():
            self._check_quota(options, content)
        key = self.artifacts.new_private_key()
        self.artifacts.put_private(key, store_input(inputs))
        job: Job | None = None
        try:
            job = self.store.create_job(
                JobKind.PROOF,
                model.id,
                circuit_id,
                request,
                key,
                id=job_id,
                deadline=options.deadline,
                urgency=options.urgency,
                content=content,
                deduplicate=options.deduplicate,
                metadata=metadata,
                keyed=options.keyed,
            )
            return job
        finally:
            if job is None or job.input_key != key:  # the job exists already, or there is none
                self.artifacts.delete_private(key)

    def _check_quota(self, options: JobOptions, content: str | None = None) -> None:
        """Checks the tenant's quota for a new job; an existing job needs no more of it."""
        store = self.store
        if options.id is not None and store.find_jobs([options.id]):
            return
        if options.deduplicate and content and store.find_same(JobKind.PROOF, content):
            return
        store.check_quota()

    def run(
        self,
        job_id: str,
        owner: str,
        stopping: Callable[[], bool] = lambda: False,
        *,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Claims a job of any tenant and works on it; returns at once if it is taken or has ended.

        Raises nothing for a failed job: its row has the problem. ``on_progress`` receives the
        compiler's progress messages.
        """
        self.expire_due(job_id)
        lease = self.store.claim(job_id, owner, self.settings.lease_s)
        self._claimed(job_id, lease, stopping, on_progress)

    def run_turn(
        self, job_id: str, owner: str, stopping: Callable[[], bool] = lambda: False
    ) -> str | None:
        """As ``run``, for the next job in order (``Store.claim_turn``). ``job_id`` is the job that
        the message named. Returns the id of the job, None if there was nothing to do."""
        self.expire_due()
        place = Place.of(self.settings, owner)
        lease = self.store.claim_turn(job_id, owner, self.settings.lease_s, place)
        self._claimed(job_id if lease is None else lease.job_id, lease, stopping, None)
        return None if lease is None else lease.job_id

    def waiting(self, owner: str) -> str | None:
        """A job that this worker could take now (``Store.waiting_turn``)."""
        return self.store.every_tenant().waiting_turn(Place.of(self.settings, owner))

    def _claimed(
        self,
        job_id: str,
        lease: Lease | None,
        stopping: Callable[[], bool],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        view = self._view(self.store.every_tenant().job(job_id).tenant)
        if lease is None:
            view._after_lost_claim(job_id)
            return
        try:
            view._run(lease, stopping, on_progress)
        finally:
            view.artifacts.release()
            view.store.add_stored(view.artifacts.stored.take())

    def _run(
        self,
        lease: Lease,
        stopping: Callable[[], bool],
        on_progress: Callable[[str], None] | None,
    ) -> None:
        job_id = lease.job_id
        with (
            log_context(job=job_id),
            holding(
                self.store,
                lease,
                self.settings.lease_s,
                notifications=self.notifications,
                stopping=stopping,
            ) as held,
        ):
            self.notifications.publish(job_id)
            job = self.store.job(job_id)
            with job_span(job):
                if job.kind in _OF_BATCHES:
                    self.batches.run(job, held, on_progress)
                elif self.settings.coalesce_ms and may_share(job):
                    self._coalescing(lease.owner, stopping).run(job, held)
                else:
                    self._pipeline().run(job, held, on_progress)

    def _after_lost_claim(self, job_id: str) -> None:
        """Handles a job that the claim itself ended: its last worker was lost, its cancellation
        was requested, or its deadline has passed."""
        job = self.store.job(job_id)
        if job.state.terminal:
            self._ended_alone(job)

    def expire_due(self, job_id: str | None = None) -> None:
        """Ends overdue jobs of any tenant (all, or the one) that no worker holds, and overdue
        batches."""
        every = self.store.every_tenant()
        for job in every.expire_due(job_id):
            self.for_tenant(job.tenant)._ended_alone(job)
        if job_id is None:
            for batch_id, tenant in every.overdue_batches():
                self.for_tenant(tenant).batches.batch(batch_id)  # reading it ends it

    def keep_house(self) -> None:
        """One round of housekeeping (``prover.jobs.housekeeping``), for all tenants. Ends batches
        whose last worker died before it could."""
        every = self.store.every_tenant()
        for batch_id, tenant in every.open_batches():
            self.for_tenant(tenant).batches.batch(batch_id)
        keep_house(self.settings, every, self.artifacts)

    def _ended_alone(self, job: Job) -> None:
        """Does what a worker would do at the end of a job, for a job that ended without one."""
        forget_input(self.artifacts, job)
        self.notifications.publish(job.id)
        if job.kind in _OF_BATCHES:
            self.batches.lost(job)

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            settings=self.settings,
            store=self.store,
            artifacts=self.artifacts,
            notifications=self.notifications,
            engine=self.engine,
            library=self.library,
            keys=self.keys,
        )

    def _coalescing(self, owner: str, stopping: Callable[[], bool]) -> Coalescing:
        return Coalescing(
            services=self.batches.services,
            single=self._pipeline().run,
            owner=owner,
            stopping=stopping,
        )

    def request_cancel(self, job_id: str) -> Job:
        """Ends a queued job, or asks a running one to end."""
        job = self.store.request_cancel(job_id)
        self.notifications.publish(job_id)
        if job.state.terminal:
            forget_input(self.artifacts, job)
        return job

    def circuit_job(self, circuit_id: str) -> Job | None:
        """The latest job that builds or has built this circuit."""
        found = self.store.jobs(1, circuit_id=circuit_id).items
        return found[0] if found else None

    # --- results -----------------------------------------------------------------------------

    def receipt(self, job: Job) -> bytes:
        """The signed receipt of a succeeded proof job; raises ``JobNotDone`` for another."""
        return self._product(job, "receipt")

    def proof(self, job: Job) -> bytes:
        """The engine's proof file."""
        return self._product(job, "proof")

    def bundle(self, job: Job) -> bytes:
        """The job's bundle, which verifies offline."""
        return self._product(job, "bundle")

    def _product(self, job: Job, name: str) -> bytes:
        if job.state is not JobState.SUCCEEDED or job.result is None or name not in job.result:
            raise JobNotDone(f"job {job.id} is {job.state.value}: it has no {name}", job=job.id)
        if job.removed_at is not None and name != "receipt":
            raise ResultRemoved(job=job.id, removed_at=job.removed_at.isoformat())
        return self.artifacts.get(job.result[name])

    def verify(self, bundle: bytes, policy: dict[str, Any] | None) -> dict[str, Any]:
        """The numbered checks of a bundle, as JSON."""
        wanted = replace(Policy.from_json(policy), own=KeyRing.known(self.settings.key_path))
        return verify_bundle(bundle, policy=wanted, engine=self.engine).to_json()

    def verify_parts(
        self, proof: bytes, settings: bytes, vk: bytes, srs_part: bytes | None
    ) -> dict[str, Any]:
        """The checks of a bare EZKL proof, as JSON; by default with the public ceremony's SRS."""
        report = verify_raw(proof, settings, vk, engine=self.engine, srs_part=srs_part)
        return report.to_json()

    def key_set(self) -> bytes:
        """The published key set, by which verifiers trust this deployment."""
        return self.keys.document()

    def capabilities(self) -> dict[str, Any]:
        """What this deployment can prove: operators, passes, engine, SRS files. The first call
        takes seconds; then the process caches the operators."""
        if not self._described:
            found: dict[str, Any] = self.engine.sandbox.call(_DESCRIBE, limits=_INSPECT_LIMITS)
            self._described.update(found)
        policy = SrsPolicy(self.settings.srs_policy)
        files = SrsFolder(self.settings.srs_dir).files()
        usable = [f.logrows for f in files if policy is not SrsPolicy.CEREMONY or f.is_public]
        return {
            **self._described,
            "engine": self.engine.label,
            "srs_policy": policy.value,
            "srs": [
                {"logrows": f.logrows, "origin": f.origin.value, "sha256": f.sha256} for f in files
            ],
            # In development a missing SRS is generated.
            "max_logrows": (
                max(usable, default=0) if policy is SrsPolicy.CEREMONY else MAX_LOGROWS
            ),
        }

    # --- health ------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """``{part: {"ok": bool, "detail"?: str}}`` for database, artifacts and queue."""
        checks = {
            "database": self.store.ping,
            "artifacts": self.artifacts.ping,
            "queue": self.notifications.ping,
        }
        parts: dict[str, Any] = {}
        for name, check in checks.items():
            try:
                check()
                parts[name] = {"ok": True}
            except ZkmlError as error:
                parts[name] = {"ok": False, "detail": error.detail}
        return parts
