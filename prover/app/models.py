"""Models: stored once, inspected in child processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circuits.calibration.samples import default_ranges, draw, read_calibration
from circuits.cost.layers import cost_report
from circuits.errors import ModelTooLarge
from circuits.format.digests import sha256, sha256_file
from circuits.format.npz import MAGIC
from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from prover.app.parts import INSPECT_LIMITS, Parts
from prover.errors import ModelNotFound
from prover.records.job import ModelRecord

_INSPECT = "circuits.compiler.inspect:inspect_json"
_BIND = "circuits.frontend.binding:bound_model"
_UNPACK = "circuits.frontend.external:unpacked"


def _is_archive(model: bytes | Path) -> bool:
    if not isinstance(model, Path):
        return model[: len(MAGIC)] == MAGIC
    with model.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class Models(Parts):
    """Models by id. Methods may raise a ``ZkmlError``."""

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
            model = self.engine.sandbox.call(_UNPACK, data, most, limits=INSPECT_LIMITS)
            size = self._size_of(model)
        if shapes:
            data = model.read_bytes() if isinstance(model, Path) else model
            model = self.engine.sandbox.call(_BIND, data, dict(shapes), limits=INSPECT_LIMITS)
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

    def has_model(self, model: bytes) -> bool:
        """Whether this tenant has stored these bytes, which then were inspected."""
        return self._find_model(sha256(model)) is not None

    def inspect_bytes(self, data: bytes, *, allow_refused: bool = False) -> dict[str, Any]:
        """Inspects a model in a child process: ``circuits.compiler.inspect.ModelSummary`` as
        JSON."""
        summary: dict[str, Any] = self.engine.sandbox.compute(
            _INSPECT, data, allow_refused, limits=INSPECT_LIMITS
        )
        return summary

    def model_costs(self, model_id: str) -> dict[str, Any]:
        """Each layer's cost (``circuits.cost.layers.CostReport`` as
        JSON). The process caches it."""

        def count() -> dict[str, Any]:
            data = self.artifacts.get(self.store.model(model_id).id)
            return cost_report(self.engine.sandbox, data, INSPECT_LIMITS).to_json()

        return self._costs.get((self.store.tenant, model_id), count)

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
        builder = self.registry.builder()
        return builder.estimate(self.artifacts.get(model_id), samples, profile).to_json()

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
