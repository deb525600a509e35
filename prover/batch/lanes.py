"""One proof of several inputs, with a statement and a signature for each lane."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.batching.felts import join
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, ProofResult, ShouldStop
from circuits.format.commitments import CHALLENGES, Lanes, Subject, halved
from circuits.format.digests import canonical_json
from circuits.format.field import Felts, from_felt
from circuits.format.manifest import CircuitManifest
from circuits.srs.verify_part import extract
from prover.batch.services import BatchServices
from prover.errors import StatementRefused
from prover.jobs.circuit_registry import Circuit
from prover.jobs.inputs import encode
from prover.jobs.provenance import owner_claim, software_versions
from prover.jobs.reference import Answer, measured_error, reference_answers
from prover.memo import Memo
from prover.statement.bundle import Bundle
from prover.statement.commitment import SALT_BYTES, input_json
from prover.statement.context import Context
from prover.statement.envelope import sign_bundle
from prover.statement.predicate import MeasuredError
from prover.statement.statement import build_statement
from prover.verify.bundle import check_statement
from prover.verify.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One input of a proof. ``number`` is the owner's number of it, ``salt`` opens the commitment
    to an input that is private."""

    number: int
    inputs: dict[str, NDArray[Any]]
    context: Context
    felts: list[Felts]
    salt: bytes | None

    @classmethod
    def of(
        cls,
        manifest: CircuitManifest,
        number: int,
        inputs: dict[str, NDArray[Any]],
        context: Context,
    ) -> Lane:
        """Raises ``InputOutOfRange`` for a value that the circuit does not accept."""
        felts = encode(manifest, inputs, context)
        shows_input = manifest.profile.visibility.shows_input
        salt = None if shows_input else secrets.token_bytes(SALT_BYTES)
        return cls(number=number, inputs=inputs, context=context, felts=felts, salt=salt)


@dataclass(frozen=True, kw_only=True)
class Stated:
    """The result of one lane: its signed bundle, and its owner's result with the measured error.

    ``salt`` opens the commitment to an input that is private, and makes its ``identity`` where one
    names it.
    """

    bundle: Bundle
    outputs: dict[str, Any]
    error: MeasuredError
    salt: bytes | None
    identity: str | None


#: Makes a proof or reuses a kept one: ``prover.jobs.kept_proofs.prove_once`` of a job.
ProvesOnce = Callable[[Callable[[], ProofResult]], ProofResult]


def prove_lanes(
    services: BatchServices,
    circuit: Circuit,
    lanes: Sequence[Lane],
    limits: Limits,
    *,
    on_stage: Callable[[str], None],
    should_stop: ShouldStop,
    prove: ProvesOnce = lambda make: make(),
) -> SharedProof:
    """A proof of these inputs, at most one per lane, made by ``prove``. Raises the engine's
    errors."""
    manifest = circuit.manifest
    rows = _filled(manifest, lanes)
    with ThreadPoolExecutor(1, thread_name_prefix="reference") as pool:
        # Runs onnxruntime on the same inputs during the proof.
        engine = services.engine.until(should_stop)
        inputs = [lane.inputs for lane in lanes]
        reference = pool.submit(
            reference_answers,
            engine,
            services.artifacts,
            manifest,
            inputs,
            services.settings.engine_limits,
        )
        proof = prove(
            lambda: services.engine.prove(
                circuit.files,
                join(rows),
                limits,
                on_stage=on_stage,
                should_stop=should_stop,
                input_salt=lanes[0].salt,
            )
        )
        answers = reference.result()
    return SharedProof(services, engine, circuit, rows, proof, answers)


def _filled(manifest: CircuitManifest, lanes: Sequence[Lane]) -> list[list[Felts]]:
    """Each lane's felts; free lanes repeat the last input with an unused context."""
    rows = [lane.felts for lane in lanes]
    unused = rows[-1]
    if manifest.context.limbs:
        unused = [*unused[:-1], manifest.context.encode(0)]
    return rows + [unused] * (manifest.lanes - len(rows))


def list_of_lanes(
    manifest: CircuitManifest, rows: Sequence[Sequence[Felts]], proof: ProofResult
) -> bytes | None:
    """What the verifier of one lane needs to know of all lanes, with committed hints. ``rows`` are
    each lane's input and context."""
    claim = manifest.commitments
    if claim is None or claim.lanes == 1:
        return None
    shown = claim.evaluated is not None
    subjects = [
        Subject(context=from_felt(context), inputs=[x] if shown else None) for x, (context,) in rows
    ]
    challenges = halved(proof.instances[: len(CHALLENGES)])
    return Lanes.of(subjects, claim.evaluated, challenges).to_bytes()


class SharedProof:
    """A proof of several lanes, from which each lane's statement is made, verified and signed."""

    def __init__(
        self,
        services: BatchServices,
        engine: EzklEngine,
        circuit: Circuit,
        rows: list[list[Felts]],
        proof: ProofResult,
        answers: Sequence[Answer],
    ) -> None:
        self._services, self._engine = services, engine
        self._circuit, self._answers = circuit, answers
        self._memo = Memo()
        self._issued_at = datetime.now(UTC)
        self._software = software_versions()
        self._signer = services.keys().signer()
        self._owner = owner_claim(services.store, circuit.manifest.model_sha256)
        files = circuit.files
        self.proof = proof
        #: The common parts of all lanes' bundles.
        self.shared = Bundle(
            lanes=list_of_lanes(circuit.manifest, rows, proof),
            proof=proof.proof_json,
            settings=files.settings.read_bytes(),
            vk=files.vk.read_bytes(),
            srs_part=extract(files.srs),
            manifest=canonical_json(circuit.manifest.to_json()),
            plan=circuit.plan.read_bytes(),
            weights=circuit.weights,
            identity=proof.identity,
            input_identity=proof.input_identity,
        )

    def state(self, index: int, lane: Lane, timings: Mapping[str, float]) -> Stated:
        """The statement about lane ``index``, signed after it passed verification.

        Raises ``StatementRefused`` if it did not pass, ``NoAnswer`` if onnxruntime's output for
        this input is not finite.
        """
        manifest = self._circuit.manifest
        shows_input, salt = manifest.profile.visibility.shows_input, lane.salt
        error = measured_error(manifest, self.proof, *self._answers[index], lane=index)
        statement = build_statement(
            manifest,
            context=lane.context,
            inputs=lane.inputs,
            proof=self.proof,
            srs_part=self.shared.srs_part,
            measured_error=error,
            timings={name: round(s, 6) for name, s in timings.items()},
            peak_rss=self.proof.peak_rss_bytes,
            verifier_domain=self._services.settings.verifier_domain,
            worker=platform.node() or "unknown",
            software=self._software,
            input_salt=salt,
            issued_at=self._issued_at,
            lane=index,
            owner=self._owner,
            memo=self._memo,
        )
        document = input_json(manifest.inputs, lane.inputs) if shows_input else None
        unsigned = replace(self.shared, input=document)
        report = check_statement(
            statement,
            unsigned,
            engine=self._engine,
            limits=self._services.settings.engine_limits,
            policy=Policy(minimum_soundness=manifest.profile.soundness),
            inputs=lane.inputs,
            input_salt=salt,
            memo=self._memo,
        )
        if not report.ok:
            failed = report.failures[0]
            raise StatementRefused(
                f"verification failed for lane {index}: {failed.name}: {failed.detail}"
            )
        return Stated(
            bundle=sign_bundle(statement, unsigned, self._signer),
            outputs={
                o.name: np.array(o.values).reshape(o.shape).tolist()
                for o in statement.predicate.outputs
            },
            error=error,
            salt=salt,
            identity=statement.predicate.input.identity,
        )
