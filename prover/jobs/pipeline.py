"""One job from claim to end: circuit, witness, proof, verification, signature, bundle.

The pipeline runs jobs; ``App`` creates and finds them. A job has ``succeeded`` only after the
pipeline has verified proof and statement.
"""

from __future__ import annotations

import functools
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import ProofResult
from circuits.engine.session import redacted
from circuits.errors import (
    Canceled,
    EngineError,
    EngineKilled,
    ModelTooLarge,
    StorageFull,
    ZkmlError,
)
from circuits.format.digests import canonical_json
from circuits.format.field import Felts
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Visibility
from circuits.srs.verify_part import extract
from prover.admission import proof_limits
from prover.artifacts import Artifacts
from prover.errors import (
    LeaseLost,
    StatementRefused,
    StoreUnavailable,
)
from prover.jobs.build_spec import BuildSpec
from prover.jobs.circuit_registry import Circuit, CircuitRegistry
from prover.jobs.forgetting import forget_input
from prover.jobs.inputs import encode, load_input
from prover.jobs.kept_proofs import prove_once
from prover.jobs.lease import LeaseKeeper
from prover.jobs.notifications import Notifications
from prover.jobs.progress import Progress
from prover.jobs.provenance import owner_claim, software_versions
from prover.jobs.reference import Answer, measured_error, reference_answers
from prover.jobs.retries import as_zkml_error, is_transient, pause_s
from prover.logs import get_logger
from prover.records.job import Job, JobKind, Stage
from prover.settings import Settings
from prover.statement.bundle import Bundle, write_bundle
from prover.statement.commitment import SALT_BYTES, input_json
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.statement.exactness import error_json
from prover.statement.keys import KeyRing
from prover.statement.predicate import MeasuredError
from prover.statement.statement import Statement, build_statement
from prover.store import Store
from prover.verify.bundle import check_statement
from prover.verify.policy import Policy

_log = get_logger(__name__)

#: Jobs share a proof if it takes at most this share of the time of single proofs.
_WORTH_WAITING = 0.8
#: For how long, and how often, writing a job's end is retried without a database.
_WRITE_S, _WRITE_PAUSE_S = 60.0, 0.5


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Runs claimed jobs; stateless."""

    settings: Settings
    store: Store
    artifacts: Artifacts
    notifications: Notifications
    engine: EzklEngine
    registry: CircuitRegistry
    keys: KeyRing

    def run(
        self, job: Job, held: LeaseKeeper, on_progress: Callable[[str], None] | None = None
    ) -> None:
        """Works on a job under its lease and writes its end.

        Errors of the job are not raised, only errors that prevent writing its end.
        """
        work = Progress(job, held, self.store, self.notifications, on_progress)
        try:
            if job.kind is JobKind.CIRCUIT:
                result = self._make_circuit(job, work)
            else:
                result = self._make_proof(job, work)
            _persist(
                held,
                lambda: self.store.succeed(held.lease, result, work.timings, work.peak_rss_bytes),
            )
            forget_input(self.artifacts, job)
        except LeaseLost:
            _log.warning("lease_lost", job=job.id)
        except Canceled:
            self._stopped(job, held)
        except (EngineError, EngineKilled) as error:
            # Who stops a service often kills the engine with it: that is no failure of the job.
            if held.should_stop():
                self._stopped(job, held)
            else:
                self._failed(job, held, error, work)
        except ZkmlError as error:
            self._failed(job, held, error, work)
        except Exception as error:  # an internal error must not leave a job running forever
            _log.exception("pipeline_defect", job=job.id)
            self._failed(job, held, as_zkml_error(error), work)
        finally:
            self.notifications.publish(job.id)

    def _stopped(self, job: Job, held: LeaseKeeper) -> None:
        settled = held.settle()
        if settled is not None and settled.state.terminal:
            forget_input(self.artifacts, job)

    def _failed(self, job: Job, held: LeaseKeeper, error: ZkmlError, work: Progress) -> None:
        """Ends the job with a problem, or requeues it after a transient error."""
        if not Visibility(job.request["profile"]["visibility"]).shows_input:
            error = redacted(error)  # not only the job's owner can read its row
        problem = error.problem()
        again_s = pause_s(job.attempt, self.settings.retry_s) if is_transient(error) else None
        _log.warning("attempt_failed", code=error.code, detail=error.detail, again_s=again_s)

        def write() -> Job:
            if again_s is not None:
                return self.store.requeue(held.lease, problem, after_s=again_s)
            return self.store.fail(held.lease, problem, work.timings, work.peak_rss_bytes)

        try:
            if _persist(held, write).state.terminal:
                forget_input(self.artifacts, job)
        except LeaseLost:
            _log.warning("lease_lost")

    # --- circuits ----------------------------------------------------------------------------

    def _make_circuit(self, job: Job, work: Progress) -> dict[str, Any]:
        if "lanes" in job.request:
            return self._make_batched(job, work)
        circuit, built = self._circuit(job, work)
        return {"circuit": circuit.manifest.circuit_id, "built": built}

    def _make_batched(self, job: Job, work: Progress) -> dict[str, Any]:
        """Builds a batched circuit if its proof is predicted to be much cheaper than single ones.

        Raises ``CannotBatch``, ``SharingCostsMore`` and ``ModelTooLarge`` otherwise.
        """
        from circuits.batching.errors import SharingCostsMore

        count = int(job.request["lanes"]["count"])
        single = self.registry.open(job.request["lanes"]["of"])
        assert single is not None, "jobs that use the single-lane circuit request it"
        with work.stage(Stage.COMPILE):
            work.note("estimating batched proofs")
            own = self.registry.single_lane(single)
            predicted = self.registry.batched_builder().lane_costs(own).at(count)
            if predicted is None:
                raise ModelTooLarge(f"{count} lanes need more memory than is allowed")
            alone = count * float(own.plan["choice"]["predicted"]["prove_s"])
            if predicted.prove_s > _WORTH_WAITING * alone:
                raise SharingCostsMore(
                    f"a proof of {count} inputs is predicted to take {predicted.prove_s:.2f} s,"
                    f" one for each of them {alone:.2f} s"
                )
            batched = self.registry.ensure_batched(
                single, count, on_progress=work.note, should_stop=work.held.should_stop
            )
        return {"circuit": batched.manifest.circuit_id, "built": True}

    def _circuit(self, job: Job, work: Progress) -> tuple[Circuit, bool]:
        """The job's circuit and whether it was built. Only building is a stage."""
        found = self.registry.open(job.circuit_id)
        if found is not None:
            return found, False
        with work.stage(Stage.COMPILE):
            return self.registry.ensure(
                BuildSpec.from_json(job.request["circuit"]), on_progress=work.note, held=work.held
            )

    # --- proofs ------------------------------------------------------------------------------

    def _make_proof(self, job: Job, work: Progress) -> dict[str, Any]:
        circuit, _ = self._circuit(job, work)
        manifest = circuit.manifest
        engine = self.engine.until(work.held.should_stop)
        assert job.input_key is not None
        inputs = load_input(self.artifacts.get_private(job.input_key))
        context = Context.from_request(job.id, job.request.get("context"))
        felts = encode(manifest, inputs, context)
        salt = _salt(job, manifest)
        with self._reference(manifest, inputs) as reference:
            proof = self._prove(circuit, felts, salt, work, reference)
            error = measured_error(manifest, proof, *reference().result())
        with work.stage(Stage.VERIFY):
            statement, unsigned = self._state(circuit, context, inputs, proof, error, salt, work)
            report = check_statement(
                statement,
                unsigned,
                engine=engine,
                limits=self.settings.engine_limits,
                policy=Policy(minimum_soundness=manifest.profile.soundness),
                inputs=inputs,
                input_salt=salt,
            )
            if not report.ok:
                failed = report.failures[0]
                raise StatementRefused(
                    f"verification of the new proof failed: {failed.name}: {failed.detail}"
                )
        with work.stage(Stage.SIGN):
            bundle = sign_bundle(statement, unsigned, self.keys.signer())
            return {
                "receipt": self.artifacts.put(bundle.receipt),
                "proof": self.artifacts.put(proof.proof_json),
                "bundle": self.artifacts.put(write_bundle(bundle)),
                "outputs": {
                    o.name: np.array(o.values).reshape(o.shape).tolist()
                    for o in statement.predicate.outputs
                },
                "error": error_json(error, manifest.profile),
                "input_salt": salt.hex() if salt else None,
                **_named(statement),
            }

    def _prove(
        self,
        circuit: Circuit,
        felts: list[Felts],
        salt: bytes | None,
        work: Progress,
        reference: Callable[[], Future[Answer]],
    ) -> ProofResult:
        def begin(stage: str) -> None:
            reference()  # not before: the proof does not wait for the reference's child
            work.begin(Stage(stage))

        proof = prove_once(
            self.store,
            self.artifacts,
            work.job,
            work.held.lease,
            lambda: self.engine.prove(
                circuit.files,
                felts,
                proof_limits(self.settings, work.job),
                on_stage=begin,
                should_stop=work.held.should_stop,
                input_salt=salt,
            ),
            circuit=circuit.manifest.circuit_id,
        )
        work.timings |= proof.seconds
        work.peak_rss_bytes = proof.peak_rss_bytes
        return proof

    @contextmanager
    def _reference(
        self, manifest: CircuitManifest, inputs: dict[str, NDArray[Any]]
    ) -> Iterator[Callable[[], Future[Answer]]]:
        """Runs onnxruntime on the same input, from the first call of what it yields, while the
        block makes the proof. Stops it if the proof fails, so that a canceled job need not wait."""
        over = threading.Event()

        def run() -> Answer:
            engine, limits = self.engine.until(over.is_set), self.settings.engine_limits
            return reference_answers(engine, self.artifacts, manifest, [inputs], limits)[0]

        with ThreadPoolExecutor(1, thread_name_prefix="reference") as pool:
            try:
                yield functools.cache(lambda: pool.submit(run))
            finally:
                over.set()

    def _state(
        self,
        circuit: Circuit,
        context: Context,
        inputs: dict[str, NDArray[Any]],
        proof: ProofResult,
        error: MeasuredError,
        salt: bytes | None,
        work: Progress,
    ) -> tuple[Statement, Bundle]:
        """The statement about a proof, and the unsigned bundle for it."""
        manifest, files = circuit.manifest, circuit.files
        srs_part = extract(files.srs)
        statement = build_statement(
            manifest,
            context=context,
            inputs=inputs,
            proof=proof,
            srs_part=srs_part,
            measured_error=error,
            timings={name: round(s, 6) for name, s in work.timings.items()},
            peak_rss=proof.peak_rss_bytes,
            verifier_domain=self.settings.verifier_domain,
            worker=platform.node() or "unknown",
            software=software_versions(),
            input_salt=salt,
            owner=owner_claim(self.store, manifest.model_sha256),
        )
        unsigned = Bundle(
            proof=proof.proof_json,
            settings=files.settings.read_bytes(),
            vk=files.vk.read_bytes(),
            srs_part=srs_part,
            manifest=canonical_json(manifest.to_json()),
            plan=circuit.plan.read_bytes(),
            weights=circuit.weights,
            identity=proof.identity,
            input_identity=proof.input_identity,
            input=input_json(manifest.inputs, inputs)
            if manifest.profile.visibility.shows_input
            else None,
        )
        return statement, unsigned


def _salt(job: Job, manifest: CircuitManifest) -> bytes | None:
    """What opens the commitment to an input that is not shown: that of its identity, which each
    attempt has to have, or a new one."""
    if manifest.profile.visibility.shows_input:
        return None
    given: str | None = job.request.get("input_salt")
    return bytes.fromhex(given) if given else secrets.token_bytes(SALT_BYTES)


def _named(statement: Statement) -> dict[str, str]:
    """The identity of the input, where one names it, for the job's result."""
    identity = statement.predicate.input.identity
    return {} if identity is None else {"input_identity": identity}


def _persist(held: LeaseKeeper, write: Callable[[], Job]) -> Job:
    """Writes the end of a job. Retries while the database is unavailable, so that minutes of work
    are not lost."""
    until = time.monotonic() + _WRITE_S
    while True:
        try:
            return write()
        except (StoreUnavailable, StorageFull):
            if held.lost or time.monotonic() >= until:
                raise
            time.sleep(_WRITE_PAUSE_S)
