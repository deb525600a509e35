"""An application for the API's own tests: real store, artifacts and notifications; no engine.

What stands in for the prover is `work`, which takes a queued job through its stages by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api.__main__ import listen
from api.application import create_app
from circuits.errors import NotOnnx
from circuits.format.profile import Profile
from prover.app import App
from prover.artifacts import Artifacts
from prover.errors import JobNotDone
from prover.records.job import CircuitRecord, Job, JobKind, JobState, Stage
from prover.settings import Settings
from prover.store import Store
from tests.cases.jobs import lay_out

MODEL = b"\x08\x08 a model, as far as these tests look"
SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 2]}],
}


class FakeApp(App):
    """The application over a folder, without an engine: what a child process would find is made
    up, and so are proofs."""

    def __init__(self, home: Path, **settings: Any):
        made = Settings(home=home, **settings)
        made.prepare()
        lay_out(made.database_url)
        store = Store.open(made.database_url)
        super().__init__(made, store, Artifacts.open(made.artifacts_url, made.cache_dir))
        self.broken: Exception | None = None

    def inspect_bytes(self, data: bytes, *, allow_refused: bool = False) -> dict[str, Any]:
        if not data.startswith(MODEL[:2]):
            raise NotOnnx
        return {"signature": SIGNATURE, "parameters": 8}

    def model_costs(self, model_id: str) -> dict[str, Any]:
        self.store.model(model_id)
        layer = {"layer": "y", "op": "MatMul", "fixed_point": 8, "integers": 6}
        return {
            "fixed_point": 20,
            "integers": 11,
            "committed": 9,
            "integer_unsupported": "",
            "layers": [layer],
        }

    def request_proof(self, **asked: Any) -> Job:
        if self.broken:
            raise self.broken
        return super().request_proof(**asked)

    def estimate(
        self, model_id: str, profile: Profile, calibration: bytes | None
    ) -> dict[str, Any]:
        self.store.model(model_id)
        return {
            "argument": "plain",
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
            "cost_model": {"source": "bundled", "error": {"prove_s": 0.1}},
        }

    def _product(self, job: Job, name: str) -> bytes:
        if job.state is not JobState.SUCCEEDED:
            raise JobNotDone
        made = {
            "receipt": b'{"payload": "e30="}',
            "proof": b'{"proof": []}',
            "bundle": b"PK bundle of " + job.id.encode(),
        }
        return made[name]

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

    def health(self) -> dict[str, Any]:
        return {"database": {"ok": True}, "queue": {"ok": self.broken is None, "detail": "redis"}}

    # --- the worker's part -------------------------------------------------------------------

    def work(self, job: Job, problem: dict[str, Any] | None = None) -> None:
        """Takes a job from queued to succeeded (or failed, with `problem`), nudging as it goes."""
        lease = self.store.claim(job.id, "worker", 30)
        assert lease
        self.notifications.publish(job.id)
        if job.kind is JobKind.PROOF:
            for stage in (Stage.WITNESS, Stage.PROVE, Stage.VERIFY, Stage.SIGN):
                self.store.set_stage(lease, stage, 0.5)
                self.notifications.publish(job.id)
        else:
            self.store.set_stage(lease, Stage.COMPILE, 0.5)
            self._add_circuit(job)
        if problem:
            self.store.fail(lease, problem)
        else:
            self.store.succeed(lease, {"outputs": {"y": [[1.0, 2.0]]}}, {"prove": 0.1}, 1 << 20)
        self.notifications.publish(job.id)

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


@contextmanager
def serving(app: App) -> Iterator[str]:
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
        while not server.started:  # no request: it would build every route
            assert thread.is_alive()
            time.sleep(0.005)
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def http_client(url: str) -> httpx.Client:
    """A client of a server without TLS: reading certificates takes longer than most tests."""
    return httpx.Client(base_url=url, timeout=300, verify=False)
