"""One pack: a proof of as many inputs as its circuit has lanes, and a receipt for each of them."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.digests import canonical_json
from circuits.engine.port import Felts, ProofResult
from circuits.errors import Fault, InputOutOfRange, ZkmlError
from circuits.lanes.felts import join
from circuits.manifest import CircuitManifest
from circuits.srs.verify_part import extract
from prover.batch.chunks import Inputs, load_inputs, queued_items
from prover.batch.errors import problem_of_item
from prover.batch.records import Item
from prover.batch.workshop import Workshop
from prover.bundle import Bundle
from prover.commitment import SALT_BYTES, input_json
from prover.context import Context
from prover.errors import StatementRefused
from prover.jobs import Job, Stage
from prover.lease import Held
from prover.library import Circuit
from prover.once import Once
from prover.pipeline import encode, measured_error, software_versions
from prover.receipt import seal
from prover.statement import build_statement
from prover.verify import check_statement

_REFERENCE = "circuits.plan.reference:run_reference"


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """One input on its way through a proof."""

    item: Item
    inputs: Inputs
    context: Context
    felts: list[Felts]


@dataclass(kw_only=True)
class PackOutcome:
    """What came of a pack: ``proved`` gives lane and result by number, ``failed`` problems."""

    proved: dict[int, tuple[int, dict[str, Any]]]
    failed: dict[int, dict[str, Any]]
    result: dict[str, Any]
    timings: dict[str, float]
    peak_rss_bytes: int | None = None


def prove_pack(shop: Workshop, job: Job, held: Held) -> PackOutcome:
    """Proves the items of a pack that are still to be proved, verifies each statement, signs.

    Writes artifacts only: whoever calls settles the pack. Raises the engine's errors, and
    ``StatementRefused`` when our own verification refuses what was made.
    """
    circuit = shop.library.open(job.circuit_id)
    assert circuit is not None, "a pack is queued after its circuit is built"
    outcome = PackOutcome(proved={}, failed={}, result={}, timings={})
    lanes = _lanes(shop, job, circuit.manifest, outcome)
    if not lanes:
        return outcome
    manifest = circuit.manifest
    with ThreadPoolExecutor(1, thread_name_prefix="reference") as pool:
        # onnxruntime on these very inputs, while the proof is made.
        reference = pool.submit(_reference, shop, manifest, [lane.inputs for lane in lanes])
        proof = shop.engine.prove(
            circuit.files,
            join(_filled(manifest, lanes)),
            shop.settings.engine_limits,
            on_stage=lambda name: shop.store.set_stage(held.lease, Stage(name)),
            should_stop=held.should_stop,
        )
        outcome.timings |= proof.seconds
        outcome.peak_rss_bytes = proof.peak_rss_bytes
        answers = reference.result()
    shop.store.set_stage(held.lease, Stage.VERIFY, 0.9, outcome.timings)
    started = time.monotonic()
    _Receipts(shop, circuit, proof, outcome, job.request).write(lanes, answers)
    outcome.timings["receipts"] = time.monotonic() - started
    return outcome


def _lanes(
    shop: Workshop, job: Job, manifest: CircuitManifest, outcome: PackOutcome
) -> list[_Lane]:
    lanes: list[_Lane] = []
    batch_id = job.request["batch"]
    items = queued_items(shop.store, batch_id, pack_id=job.id)
    for item, inputs in load_inputs(shop.store, shop.artifacts, batch_id, items):
        context = Context.from_request(f"{batch_id}.{item.number}", job.request["context"])
        try:
            felts = encode(manifest, inputs, context)
        except InputOutOfRange as error:
            outcome.failed[item.number] = problem_of_item(error, job.request)
            continue
        lanes.append(_Lane(item=item, inputs=inputs, context=context, felts=felts))
    return lanes


def _filled(manifest: CircuitManifest, lanes: Sequence[_Lane]) -> list[list[Felts]]:
    """Each lane's felts; free lanes repeat the last input, under a context that is nobody's."""
    rows = [lane.felts for lane in lanes]
    nobody = rows[-1]
    if manifest.context.limbs:
        nobody = [*nobody[:-1], manifest.context.encode(0)]
    return rows + [nobody] * (manifest.lanes - len(rows))


def _reference(
    shop: Workshop, manifest: CircuitManifest, inputs: list[Inputs]
) -> list[list[NDArray[Any]]]:
    model = shop.artifacts.get(manifest.reference_sha256)
    answers: list[list[NDArray[Any]]] = shop.engine.sandbox.call(
        _REFERENCE, model, inputs, limits=shop.settings.engine_limits
    )
    return answers


class _Receipts:
    """Statements about the lanes of one proof: built, verified, signed, stored."""

    def __init__(
        self,
        shop: Workshop,
        circuit: Circuit,
        proof: ProofResult,
        outcome: PackOutcome,
        request: dict[str, Any],
    ) -> None:
        self._shop, self._circuit, self._proof, self._outcome = shop, circuit, proof, outcome
        self._request = request
        self._once = Once()
        self._issued_at = datetime.now(UTC)
        self._software = software_versions()
        self._signer = shop.keys().signer()
        files = circuit.files
        self._shared = Bundle(
            proof=proof.proof_json,
            settings=files.settings.read_bytes(),
            vk=files.vk.read_bytes(),
            srs_part=extract(files.srs),
            manifest=canonical_json(circuit.manifest.to_json()),
            plan=circuit.plan.read_bytes(),
        )

    def write(self, lanes: Sequence[_Lane], answers: Sequence[list[NDArray[Any]]]) -> None:
        put, shared = self._shop.artifacts.put, self._shared
        self._outcome.result = {
            "files": {
                "proof": put(shared.proof),
                "settings": put(shared.settings),
                "vk": put(shared.vk),
                "srs_part": put(shared.srs_part),
                "manifest": put(shared.manifest),
                "plan": put(shared.plan),
            }
        }
        for number, (lane, answer) in enumerate(zip(lanes, answers, strict=True)):
            try:
                self._outcome.proved[lane.item.number] = (number, self._one(number, lane, answer))
            except ZkmlError as error:
                if error.fault is not Fault.INPUT:
                    raise
                problem = problem_of_item(error, self._request)  # its neighbours have their proof
                self._outcome.failed[lane.item.number] = problem

    def _one(self, number: int, lane: _Lane, answer: list[NDArray[Any]]) -> dict[str, Any]:
        shop, manifest = self._shop, self._circuit.manifest
        shows_input = manifest.profile.visibility.shows_input
        salt = None if shows_input else secrets.token_bytes(SALT_BYTES)
        statement = build_statement(
            manifest,
            context=lane.context,
            inputs=lane.inputs,
            proof=self._proof,
            srs_part=self._shared.srs_part,
            measured_error=measured_error(manifest, self._proof, answer, number),
            timings={name: round(s, 6) for name, s in self._outcome.timings.items()},
            peak_rss=self._proof.peak_rss_bytes,
            verifier_domain=shop.settings.verifier_domain,
            worker=platform.node() or "unknown",
            software=self._software,
            input_salt=salt,
            issued_at=self._issued_at,
            lane=number,
            once=self._once,
        )
        document = input_json(manifest.inputs, lane.inputs) if shows_input else None
        unsigned = _with_input(self._shared, document)
        report = check_statement(
            statement,
            unsigned,
            engine=shop.engine,
            inputs=lane.inputs,
            input_salt=salt,
            once=self._once,
        )
        if not report.ok:
            failed = report.failures[0]
            raise StatementRefused(
                f"our own verification refused lane {number}: {failed.name}: {failed.detail}"
            )
        bundle = seal(statement, unsigned, self._signer)
        put = shop.artifacts.put
        return {
            "receipt": put(bundle.receipt),
            "signer": put(bundle.signer),
            "input": put(document) if document is not None else None,
            "input_salt": salt.hex() if salt else None,
            "outputs": {
                o.name: np.array(o.values).reshape(o.shape).tolist()
                for o in statement.predicate.outputs
            },
        }


def _with_input(shared: Bundle, document: bytes | None) -> Bundle:
    """The bundle of one lane: the very same objects for what lanes share."""
    return Bundle(
        proof=shared.proof,
        settings=shared.settings,
        vk=shared.vk,
        srs_part=shared.srs_part,
        manifest=shared.manifest,
        plan=shared.plan,
        input=document,
    )
