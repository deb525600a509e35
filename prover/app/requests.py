"""Creating jobs from requests, and canceling them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from circuits.errors import ProfileContradiction
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from prover.app.parts import CachedCircuit, Parts
from prover.jobs.build_spec import BuildSpec
from prover.jobs.forgetting import forget_input
from prover.jobs.inputs import parse_input, store_input
from prover.logs import request_in_context
from prover.records.batch_errors import CircuitForBatches
from prover.records.idempotency import content_of
from prover.records.job import Job, JobKind, JobOptions, ModelRecord
from prover.statement.commitment import SALT_BYTES
from prover.statement.context import Context
from prover.tracing import carrier

NO_OPTIONS = JobOptions()


class Requests(Parts):
    """Creates and cancels jobs. Methods may raise a ``ZkmlError``."""

    def request_circuit(
        self,
        model_id: str,
        profile: Profile,
        calibration: bytes | None,
        options: JobOptions = NO_OPTIONS,
    ) -> Job:
        """A job that builds a circuit; it succeeds at once if the circuit exists."""
        model = self.store.model(model_id)
        self._check_quota(options)
        if calibration is not None:
            spec = self.registry.calibrated_spec(model, profile, calibration)
            self.store.add_stored(len(calibration))
        else:
            spec = self.registry.spec_for_inputs(model, profile, None)
        return self.store.create_job(
            JobKind.CIRCUIT,
            model.id,
            spec.id,
            {
                "profile": profile.to_json(),
                "circuit": spec.to_json(),
                **options.to_request(),
                **carrier(),
                **request_in_context(),
            },
            None,
            metadata=options.metadata,
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
        options: JobOptions = NO_OPTIONS,
    ) -> Job:
        """A job that proves one input; the input is checked now.

        A circuit's id selects that circuit, and an input outside its range is refused here. A
        model's id selects the newest circuit of that model and profile that accepts the input,
        else the job builds one first.
        """
        if circuit_id is not None:
            asked = self._cached_circuits.get(
                (self.store.tenant, circuit_id), lambda: self._cached_circuit(circuit_id)
            )
            model_id, manifest = asked.model_id, asked.manifest
            inputs, unused = parse_input(payload, asked.signature)
            if manifest.lanes != 1:
                raise CircuitForBatches(circuit=circuit_id, lanes=manifest.lanes)
            for encoding in manifest.inputs:
                encoding.quantise(inputs[encoding.tensor.name])
        else:
            assert model_id is not None
            model = self.store.model(model_id)
            inputs, unused = parse_input(payload, Signature.from_json(model.signature))
            return self.prove_inputs(
                model, inputs, profile, context, None, unused=unused, options=options
            )
        return self._enqueue(
            model_id, manifest.profile, circuit_id, inputs, context, unused, options
        )

    def prove_inputs(
        self,
        model: ModelRecord,
        inputs: Mapping[str, NDArray[Any]],
        profile: Profile,
        context: dict[str, Any] | None,
        calibration: bytes | None,
        *,
        unused: Sequence[str] = (),
        options: JobOptions = NO_OPTIONS,
    ) -> Job:
        """As ``request_proof`` with a model's id, for checked inputs. ``calibration``, if given,
        decides the circuit. ``unused``: ignored input names, for the job's row."""
        circuit: str | BuildSpec
        if calibration is not None:
            circuit = self.registry.calibrated_spec(model, profile, calibration)
        elif (found := self.registry.find_accepting(model.id, profile, inputs)) is not None:
            circuit = found.id
        else:
            circuit = self.registry.spec_for_inputs(model, profile, inputs)
        return self._enqueue(model.id, profile, circuit, inputs, context, unused, options)

    def _cached_circuit(self, circuit_id: str) -> CachedCircuit:
        with self.store.snapshot():
            record = self.store.circuit(circuit_id)
            model = self.store.model(record.model_id)
        return CachedCircuit(
            model_id=model.id,
            signature=Signature.from_json(model.signature),
            manifest=CircuitManifest.from_json(record.manifest),
        )

    def _enqueue(
        self,
        model_id: str,
        profile: Profile,
        circuit: str | BuildSpec,
        inputs: Mapping[str, NDArray[Any]],
        context: dict[str, Any] | None,
        unused: Sequence[str],
        options: JobOptions,
    ) -> Job:
        """``circuit``: the id of an existing one, or a build spec."""
        job_id = options.id or secrets.token_hex(16)
        Context.from_request(job_id, context)  # refused here rather than in a worker
        request: dict[str, Any] = {
            "profile": profile.to_json(),
            "context": context,
            **options.to_request(),
            **carrier(),
            **request_in_context(),
        }
        if unused:
            request["unused_inputs"] = list(unused)
        if profile.visibility.names_input:  # one for all attempts: a proof is kept
            request.setdefault("input_salt", secrets.token_hex(SALT_BYTES))
        elif options.input_salt is not None:
            raise ProfileContradiction(
                "a salt is given for the identity of an input, and the profile names none",
                advice="Ask for the visibility committed-input, or leave out the salt.",
            )
        circuit_id = circuit if isinstance(circuit, str) else circuit.id
        if not isinstance(circuit, str):
            request["circuit"] = circuit.to_json()
        content = None
        if options.deduplicate or profile.visibility.shows_input:
            content = content_of(
                circuit_id, context, inputs, isolate=options.isolate, salt=options.input_salt
            )
        self._check_quota(options, content)
        key = self.artifacts.new_private_key()
        self.artifacts.put_private(key, store_input(inputs))
        job: Job | None = None
        try:
            job = self.store.create_job(
                JobKind.PROOF,
                model_id,
                circuit_id,
                request,
                key,
                id=job_id,
                deadline=options.deadline,
                urgency=options.urgency,
                content=content,
                deduplicate=options.deduplicate,
                metadata=options.metadata,
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
