"""An application for the API's own tests: real store, artifacts and nudges; no engine.

What stands in for the prover is `work`, which takes a queued job through its stages by hand.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from api.__main__ import listen
from api.application import create_app
from api.port import AppLike
from circuits.digests import digest_json
from circuits.errors import InputNames, InputShape, InputType, NotOnnx
from circuits.profile import Profile
from prover.artifacts import Artifacts
from prover.errors import JobNotDone
from prover.events import LocalNudges
from prover.jobs import CircuitRecord, Job, JobKind, JobOptions, JobState, ModelRecord, Stage
from prover.keys import KeyRing
from prover.settings import Settings
from prover.store import Store

MODEL = b"\x08\x08 a model, as far as these tests look"
SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 2]}],
}


class FakeApp:
    """`api.port.AppLike` over a folder."""

    def __init__(self, home: Path, **settings: Any):
        self.settings = Settings(home=home, **settings)
        self.settings.prepare()
        self.store = Store.open(self.settings.database_url)
        self.artifacts = Artifacts.open(self.settings.artifacts_url, self.settings.cache_dir)
        self.nudges = LocalNudges()
        self.broken: Exception | None = None

    def close(self) -> None:
        self.store.close()

    def for_tenant(self, tenant: str) -> FakeApp:
        view = copy.copy(self)
        view.store = self.store.for_tenant(tenant)
        return view

    def add_model(
        self,
        model: bytes | Path,
        name: str,
        *,
        metadata: dict[str, str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> tuple[ModelRecord, bool]:
        data = model.read_bytes() if isinstance(model, Path) else model
        if not data.startswith(MODEL[:2]):
            raise NotOnnx
        record = ModelRecord(
            id=self.artifacts.put(data),
            name=name,
            size_bytes=len(data),
            signature=SIGNATURE,
            summary={"parameters": 8},
            created_at=datetime.now(UTC),
            metadata=metadata or {},
        )
        kept = self.store.add_model(record)
        return kept, kept.created_at == record.created_at

    def model_costs(self, model_id: str) -> dict[str, Any]:
        self.store.model(model_id)
        layer = {"layer": "y", "op": "MatMul", "as_exported": 98, "rewritten": 8, "integers": 6}
        return {
            "as_exported": 120,
            "rewritten": 20,
            "integers": 11,
            "integer_unsupported": "",
            "layers": [layer],
        }

    def request_circuit(
        self,
        model_id: str,
        profile: Profile,
        calibration: bytes | None,
        options: JobOptions = JobOptions(),  # noqa: B008 - it is frozen
        *,
        metadata: dict[str, str] | None = None,
    ) -> Job:
        circuit_id = digest_json([model_id, profile.to_json()])
        self.store.model(model_id)
        return self.store.create_job(
            JobKind.CIRCUIT,
            model_id,
            circuit_id,
            {"profile": profile.to_json(), **options.to_request()},
            None,
            id=options.id,
            deadline=options.deadline,
            metadata=metadata,
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
        options: JobOptions = JobOptions(),  # noqa: B008 - it is frozen
    ) -> Job:
        if self.broken:
            raise self.broken
        if model_id is None:
            assert circuit_id is not None
            model_id = self.store.circuit(circuit_id).model_id
        self.store.model(model_id)
        self.store.check_quota()
        _check(payload)
        circuit_id = circuit_id or digest_json([model_id, profile.to_json()])
        return self.store.create_job(
            JobKind.PROOF,
            model_id,
            circuit_id,
            {"profile": profile.to_json(), "context": context, **options.to_request()},
            None,
            metadata=metadata,
            id=options.id,
            deadline=options.deadline,
            content=digest_json([circuit_id, context, payload])[-64:],
            deduplicate=options.deduplicate,
        )

    def expire_due(self, job_id: str | None = None) -> None:
        self.store.expire_due(job_id)

    def estimate(
        self, model_id: str, profile: Profile, calibration: bytes | None
    ) -> dict[str, Any]:
        self.store.model(model_id)
        return {
            "logrows": 9,
            "columns": 2,
            "prove_s": 0.18,
            "setup_s": 0.18,
            "peak_bytes": 70 << 20,
            "pk_bytes": 5_000_000,
            "proof_bytes": 5700,
            "fits": True,
            "advice": "",
            "limit_bytes": 1 << 33,
            "cost_model": {"source": "shipped", "error": {"prove_s": 0.1}},
        }

    def circuit_job(self, circuit_id: str) -> Job | None:
        found = self.store.jobs(1, kind=JobKind.CIRCUIT, circuit_id=circuit_id).items
        return found[0] if found else None

    def request_cancel(self, job_id: str) -> Job:
        job = self.store.request_cancel(job_id)
        self.nudges.publish(job_id)
        return job

    def receipt(self, job: Job) -> bytes:
        return self._of_succeeded(job, b'{"payload": "e30="}')

    def proof(self, job: Job) -> bytes:
        return self._of_succeeded(job, b'{"proof": []}')

    def bundle(self, job: Job) -> bytes:
        return self._of_succeeded(job, b"PK bundle of " + job.id.encode())

    def _of_succeeded(self, job: Job, data: bytes) -> bytes:
        if job.state is not JobState.SUCCEEDED:
            raise JobNotDone
        return data

    def verify(self, bundle: bytes, policy: dict[str, Any] | None) -> dict[str, Any]:
        good = bundle.startswith(b"PK")
        check = {"number": 1, "name": "form", "layer": "schema", "detail": str(policy)}
        return {
            "ok": good,
            "checks": [check | {"status": "pass" if good else "fail"}],
            "statement": {"bytes": len(bundle)},
            "words": [],
            "not_claimed": [],
        }

    def verify_parts(
        self, proof: bytes, settings: bytes, vk: bytes, srs_part: bytes | None
    ) -> dict[str, Any]:
        told = self.verify(proof, {"settings": len(settings), "vk": len(vk)})
        return told | {"statement": None, "words": [f"srs part: {srs_part is not None}"]}

    def capabilities(self) -> dict[str, Any]:
        operator = {"op": "Relu", "engine": "faithful", "reason": "", "instead": ""}
        return {
            "operators": [operator],
            "passes": [{"name": "fold-constants", "version": 1, "purpose": "Fold."}],
            "engine": "ezkl 0",
            "srs_policy": "development",
            "srs": [{"logrows": 9, "origin": "insecure-development", "sha256": "sha256:0"}],
            "max_logrows": 26,
        }

    def key_set(self) -> bytes:
        return KeyRing.open(self.settings.key_path).document()

    def health(self) -> dict[str, Any]:
        return {"database": {"ok": True}, "queue": {"ok": self.broken is None, "detail": "redis"}}

    # --- the worker's part -------------------------------------------------------------------

    def work(self, job: Job, problem: dict[str, Any] | None = None) -> None:
        """Takes a job from queued to succeeded (or failed, with `problem`), nudging as it goes."""
        lease = self.store.claim(job.id, "worker", 30)
        assert lease
        self.nudges.publish(job.id)
        if job.kind is JobKind.PROOF:
            for stage in (Stage.WITNESS, Stage.PROVE, Stage.VERIFY, Stage.SIGN):
                self.store.set_stage(lease, stage, 0.5)
                self.nudges.publish(job.id)
        else:
            self.store.set_stage(lease, Stage.COMPILE, 0.5)
            self._add_circuit(job)
        if problem:
            self.store.fail(lease, problem)
        else:
            self.store.succeed(lease, {"outputs": {"y": [[1.0, 2.0]]}}, {"prove": 0.1}, 1 << 20)
        self.nudges.publish(job.id)

    def _add_circuit(self, job: Job) -> None:
        files = {name: self.artifacts.put(name.encode()) for name in ("settings", "vk", "plan")}
        self.store.add_circuit(
            CircuitRecord(
                id=job.circuit_id,
                model_id=job.model_id,
                profile=job.request["profile"],
                manifest={"circuit_id": job.circuit_id, "files": files},
                created_at=datetime.now(UTC),
            )
        )


def _check(payload: object) -> None:
    assert isinstance(payload, dict)
    if "inputs" in payload and set(payload["inputs"]) != {"x"}:
        raise InputNames(f"the model has x, not {sorted(payload['inputs'])}")
    value = payload["inputs"]["x"] if "inputs" in payload else payload["input_data"]
    try:
        array = np.array(value)
    except ValueError:
        raise InputShape("x is ragged") from None
    if array.dtype.kind not in "if":
        raise InputType("x holds something that is no number")
    if array.size != 3:
        raise InputShape(f"x has {array.size} values, not 3")


@contextmanager
def serving(app: AppLike) -> Iterator[str]:
    """The API over `app` on a real server in a thread: its base URL."""
    config = uvicorn.Config(
        create_app(app, allow_anonymous=True),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        httpx.get(f"{url}/healthz", timeout=300).raise_for_status()
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
