"""Results of jobs, verification, and capabilities of this deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from circuits.errors import ZkmlError
from circuits.srs.files import MAX_LOGROWS, SrsFolder
from circuits.srs.files import Policy as SrsPolicy
from prover.app.parts import INSPECT_LIMITS, Parts
from prover.errors import JobNotDone, ResultRemoved
from prover.records.batch_errors import ProofOfBatch
from prover.records.job import Job, JobKind, JobState
from prover.statement.keys import KeyRing
from prover.verify.bare_proof import verify_raw
from prover.verify.bundle import verify_bundle
from prover.verify.policy import Policy

_DESCRIBE = "circuits.compiler.capabilities:describe"


class Results(Parts):
    """Products of jobs, verification, capabilities, health. Methods may raise a ``ZkmlError``."""

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
        made = job.result or {}
        if job.kind is JobKind.PACK:
            if name != "proof":
                raise ProofOfBatch(batch=job.request["batch"])
            made = made.get("files", {})
        if job.state is not JobState.SUCCEEDED or name not in made:
            raise JobNotDone(f"job {job.id} is {job.state.value}: it has no {name}", job=job.id)
        if job.removed_at is not None and name != "receipt":
            raise ResultRemoved(job=job.id, removed_at=job.removed_at.isoformat())
        return self.artifacts.get(made[name])

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
            found: dict[str, Any] = self.engine.sandbox.call(_DESCRIBE, limits=INSPECT_LIMITS)
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
