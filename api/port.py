"""What the API asks of the application behind it. ``prover.app.App`` is the real one.

Every method is synchronous and thread-safe, and may raise a ``ZkmlError``. None of them makes a
proof: long work is a job, written to the store before the method returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from circuits.profile import Profile
from prover.artifacts import Artifacts
from prover.batch.service import BatchService
from prover.events import Nudges
from prover.jobs import Job, JobOptions, ModelRecord
from prover.settings import Settings
from prover.store import Store


class AppLike(Protocol):
    """The application's surface that routes use."""

    @property
    def settings(self) -> Settings: ...

    @property
    def store(self) -> Store: ...

    @property
    def artifacts(self) -> Artifacts: ...

    @property
    def nudges(self) -> Nudges: ...

    @property
    def batches(self) -> BatchService: ...

    def for_tenant(self, tenant: str) -> AppLike:
        """The same application as another tenant sees it."""
        ...

    def add_model(
        self,
        model: bytes | Path,
        name: str,
        *,
        metadata: dict[str, str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> tuple[ModelRecord, bool]:
        """Inspects a model in a child process and keeps it; the answer says whether it is new."""
        ...

    def model_costs(self, model_id: str) -> dict[str, Any]:
        """What each layer costs (``circuits.layers.CostReport`` in JSON); remembered."""
        ...

    def request_circuit(
        self,
        model_id: str,
        profile: Profile,
        calibration: bytes | None,
        options: JobOptions = ...,
        *,
        metadata: dict[str, str] | None = None,
    ) -> Job:
        """A job that builds a circuit; one that has succeeded already when it is built."""
        ...

    def estimate(
        self, model_id: str, profile: Profile, calibration: bytes | None
    ) -> dict[str, Any]:
        """What a circuit would cost, before any work."""
        ...

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
        options: JobOptions = ...,
    ) -> Job:
        """A job that proves one input, checked against the model's signature now."""
        ...

    def circuit_job(self, circuit_id: str) -> Job | None:
        """The latest job of kind circuit that builds this circuit, if there was any."""
        ...

    def request_cancel(self, job_id: str) -> Job:
        """Ends a queued job, or asks a running one to end."""
        ...

    def expire_due(self, job_id: str | None = None) -> None:
        """Ends jobs (all, or the one) whose deadline has passed and that nobody works on."""
        ...

    def receipt(self, job: Job) -> bytes: ...

    def proof(self, job: Job) -> bytes: ...

    def bundle(self, job: Job) -> bytes: ...

    def verify(self, bundle: bytes, policy: dict[str, Any] | None) -> dict[str, Any]:
        """The numbered checklist: ``ok``, ``checks``, ``statement``."""
        ...

    def verify_parts(
        self, proof: bytes, settings: bytes, vk: bytes, srs_part: bytes | None
    ) -> dict[str, Any]:
        """The checklist of a bare EZKL proof."""
        ...

    def capabilities(self) -> dict[str, Any]:
        """Operators, passes, engine and SRS files (``prover.app.App.capabilities``)."""
        ...

    def key_set(self) -> bytes:
        """The public keys that sign receipts, as a JSON document."""
        ...

    def health(self) -> dict[str, Any]:
        """Whether the database, the artifact store and the queue answer."""
        ...
