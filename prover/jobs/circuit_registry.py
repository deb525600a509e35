"""The registry of circuits: builds each once, stores its files as artifacts, finds it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from circuits.calibration.samples import (
    Samples,
    covering_ranges,
    default_ranges,
    draw,
    read_calibration,
)
from circuits.compiler.identity import batched_circuit_id, circuit_id
from circuits.cost.model import CostModel, machine_fingerprint
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, ShouldStop
from circuits.errors import EngineError, InputOutOfRange, ModelError, NoPlan
from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Profile
from circuits.format.tensors import Signature
from circuits.srs.files import Policy, SrsFolder
from prover.admission import Place
from prover.artifacts import Artifacts
from prover.errors import CircuitNotFound
from prover.jobs.build_spec import BuildSpec
from prover.jobs.build_turn import load, one_build_at_a_time
from prover.jobs.lease import LeaseKeeper
from prover.logs import get_logger
from prover.records.job import CircuitRecord, ModelRecord
from prover.settings import Settings
from prover.store import Store

if TYPE_CHECKING:
    from circuits.batching.batched_circuit import BatchedBuilder, SingleLane
    from circuits.compiler.build import Builder, BuiltCircuit

#: Builds of smaller models need no more memory than is usual: their need is not predicted.
_LARGE_MODEL = 100_000
#: How many of the newest circuits are searched for one with the same graph.
_RECENT = 100
#: A circuit is reused if its declared range is at most so many times wider than the input needs.
#: Accuracy is a share of the output's range, so it degrades as the range grows.
_MUCH_WIDER = 16
_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """A built circuit: its manifest, and its files on local disk."""

    manifest: CircuitManifest
    files: CircuitFiles
    plan: Path

    @property
    def weights(self) -> bytes | None:
        """The network that its bundles carry if the weights are not in the circuit."""
        if self.files.hints is None or not self.manifest.profile.shows_network:
            return None
        return self.files.hints.read_bytes()


class CircuitRegistry:
    """Circuits by id, backed by the store and the artifacts."""

    def __init__(
        self, settings: Settings, store: Store, artifacts: Artifacts, engine: EzklEngine
    ) -> None:
        self._settings = settings
        self._store = store
        self._artifacts = artifacts
        self._engine = engine
        self._policy = Policy(settings.srs_policy)

    # --- build specs -------------------------------------------------------------------------

    def calibrated_spec(
        self, model: ModelRecord, profile: Profile, calibration: bytes
    ) -> BuildSpec:
        """A build spec with the user's samples; raises ``CalibrationError``."""
        samples = read_calibration(calibration, Signature.from_json(model.signature))
        digest = self._artifacts.put(calibration)
        return self._spec(model, profile, samples, digest)

    def spec_for_inputs(
        self, model: ModelRecord, profile: Profile, inputs: Mapping[str, NDArray[Any]] | None
    ) -> BuildSpec:
        """A build spec without samples, for ranges that cover ``inputs``, or default ranges."""
        signature = Signature.from_json(model.signature)
        ranges = covering_ranges(inputs, signature.inputs) if inputs else default_ranges(signature)
        return self._spec(model, profile, draw(signature, ranges), None)

    def spec_for_ranges(
        self, model: ModelRecord, profile: Profile, ranges: Mapping[str, tuple[float, float]]
    ) -> BuildSpec:
        """A build spec without samples, for declared ranges, or default ranges."""
        signature = Signature.from_json(model.signature)
        wanted = default_ranges(signature) | dict(ranges)
        return self._spec(model, profile, draw(signature, wanted), None)

    def _spec(
        self, model: ModelRecord, profile: Profile, samples: Samples, calibration: str | None
    ) -> BuildSpec:
        return BuildSpec(
            id=circuit_id(model.id, profile, samples.digest, self._policy, self._engine.label),
            model_id=model.id,
            profile=profile,
            calibration=calibration,
            ranges={} if calibration else samples.ranges,
        )

    # --- finding -----------------------------------------------------------------------------

    def find_accepting(
        self, model_id: str, profile: Profile, inputs: Mapping[str, NDArray[Any]]
    ) -> CircuitRecord | None:
        """The newest circuit of this model and profile that fits the input.

        Its accepted range covers the input. A declared (not calibrated) range must not be so much
        wider that a circuit for this input would be far more accurate.
        """
        wanted = profile.to_json()
        for record in self._store.circuits(model_id=model_id, limit=100).items:
            if record.profile == wanted and self._fits(record, inputs):
                return record
        return None

    def find_covering(
        self, model_id: str, profile: Profile, ranges: Mapping[str, tuple[float, float]]
    ) -> CircuitRecord | None:
        """As ``find_accepting``, for inputs with known ranges."""
        wanted = profile.to_json()
        for record in self._store.circuits(model_id=model_id, limit=100).items:
            manifest = CircuitManifest.from_json(record.manifest)
            if (
                record.profile == wanted
                and all(
                    e.lower <= ranges[e.tensor.name][0] and ranges[e.tensor.name][1] <= e.upper
                    for e in manifest.inputs
                )
                and self._serves(manifest, ranges)
            ):
                return record
        return None

    def _fits(self, record: CircuitRecord, inputs: Mapping[str, NDArray[Any]]) -> bool:
        manifest = CircuitManifest.from_json(record.manifest)
        own = covering_ranges(inputs, [e.tensor for e in manifest.inputs])
        return _accepts(manifest, inputs) and self._serves(manifest, own)

    def _serves(self, manifest: CircuitManifest, own: Mapping[str, tuple[float, float]]) -> bool:
        """Whether a circuit that accepts inputs of these ranges is also accurate for them."""
        if manifest.lanes != 1 or manifest.hints is not None:
            return False
        if self._policy is Policy.CEREMONY and not manifest.srs.secure:
            return False
        if manifest.accuracy.calibrated:
            return True
        margin = 1 + 2 * manifest.profile.range_margin
        return all(
            e.upper - e.lower
            <= _MUCH_WIDER * margin * (own[e.tensor.name][1] - own[e.tensor.name][0])
            for e in manifest.inputs
        )

    def open(self, circuit_id: str) -> Circuit | None:
        """A built circuit, its files fetched to local disk; None if there is none. Raises
        ``CircuitNotFound`` for one with public hints, which makes no more proofs."""
        record = self._store.find_circuit(circuit_id)
        if record is None:
            return None
        manifest = CircuitManifest.from_json(record.manifest)
        if manifest.hints is not None or not manifest.profile.visibility.shows_weights:
            raise CircuitNotFound(
                f"circuit {circuit_id} has public hints, or weights that no identity names: its"
                " receipts are verified, and no more are made",
                advice="Order a circuit of the same model again, with --weights private to hide"
                " weights.",
            )
        paths: dict[str, Path] = {
            name: self._artifacts.local_path(manifest.files[name])
            for name in ("compiled", "settings", "pk", "vk", "srs", "plan", "hints")
            if name in manifest.files
        }
        return Circuit(
            manifest=manifest,
            files=CircuitFiles.of(paths, manifest.salt, manifest.commitments),
            plan=paths["plan"],
        )

    # --- building ----------------------------------------------------------------------------

    def builder(self) -> Builder:
        """The compiler, loaded on first use: most processes never build."""
        from circuits.compiler.build import Builder
        from circuits.plan.effort import Effort

        return Builder(
            engine=self._engine,
            srs=SrsFolder(self._settings.srs_dir),
            policy=self._policy,
            limits=self._settings.engine_limits,
            effort=Effort(self._settings.plan_effort),
            cost_model=machine_costs(self._settings),
            solc=self._settings.solc,
            known_setup=self._known_setup,
        )

    def _known_setup(self, graph: str, settings: str, srs: str) -> dict[str, Path] | None:
        """The keys of a circuit with the same graph: with shown weights, that of another model of
        the same architecture."""
        for record in self._store.circuits(limit=_RECENT).items:
            manifest = CircuitManifest.from_json(record.manifest)
            made_of = manifest.rewritten_sha256, manifest.files["settings"], manifest.srs.sha256
            engine = f"{manifest.engine} {manifest.engine_version}"
            if made_of == (graph, settings, srs) and engine == self._engine.label:
                names = ("compiled", "vk", "pk")
                return {name: self._artifacts.local_path(manifest.files[name]) for name in names}
        return None

    def ensure(
        self,
        spec: BuildSpec,
        *,
        on_progress: Callable[[str], None] | None = None,
        held: LeaseKeeper | None = None,
    ) -> tuple[Circuit, bool]:
        """The circuit of a build spec, built now if it does not exist; and whether it was built.

        One process of a machine builds a circuit while the others wait. Two machines may build the
        same circuit at once; the first to be recorded is used. ``held``: the job that needs it.
        Raises ``Canceled`` when that job must stop, or the host has no room for the build.
        """
        should_stop = None if held is None else held.should_stop
        if (found := self.open(spec.id)) is not None:
            return found, False
        with one_build_at_a_time(self._settings.home, spec.id, should_stop) as scratch:
            if (found := self.open(spec.id)) is not None:
                return found, False
            if held is not None and (needs := self._predicted_bytes(spec, should_stop)):
                held.admit(needs, Place.of(self._settings, held.lease.owner))
            self._build(spec, scratch, on_progress, should_stop)
        built = self.open(spec.id)
        assert built is not None
        return built, True

    def _predicted_bytes(self, spec: BuildSpec, should_stop: ShouldStop | None) -> int | None:
        """The predicted memory of a build; None for the default (``ZKML_COMPILE_MEMORY_MB``), or if
        it is unknown."""
        model = self._store.model(spec.model_id)
        small = model.summary.get("multiplications", 0) < _LARGE_MODEL
        if small or not self._settings.memory_budget_mb:
            return None
        load("circuits.compiler.build", should_stop)
        builder = self.builder()
        builder = builder if should_stop is None else builder.until(should_stop)
        data, samples = self._artifacts.get(spec.model_id), self._samples(spec, model)
        try:
            found = builder.estimate(data, samples, spec.profile).predicted.peak_bytes
        except (ModelError, NoPlan, EngineError) as error:  # the build itself will say so
            _log.info("build_not_predicted", circuit=spec.id, code=error.code)
            return None
        return max(found, self._settings.compile_memory_mb << 20)

    def _build(
        self,
        spec: BuildSpec,
        scratch: Path,
        on_progress: Callable[[str], None] | None,
        should_stop: ShouldStop | None,
    ) -> None:
        model = self._store.model(spec.model_id)
        load("circuits.compiler.build", should_stop)
        built = self.builder().build(
            self._artifacts.get(spec.model_id),
            self._samples(spec, model),
            spec.profile,
            scratch,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        self._publish(spec.id, spec.model_id, spec.profile, built)

    # --- batched circuits --------------------------------------------------------------------

    def single_lane(self, circuit: Circuit) -> SingleLane:
        """A single-lane circuit, as input for building batched ones."""
        from circuits.batching.batched_circuit import SingleLane

        manifest = circuit.manifest
        return SingleLane(
            manifest=manifest,
            model=self._artifacts.get(manifest.model_sha256),
            graph=self._artifacts.get(manifest.files["rewritten"]),
            hints=circuit.files.hints.read_bytes() if circuit.files.hints else None,
            settings=circuit.files.settings.read_text(),
            plan=json.loads(circuit.plan.read_bytes()),
        )

    def batched_builder(self) -> BatchedBuilder:
        """The builder of batched circuits, loaded on first use."""
        from circuits.batching.batched_circuit import BatchedBuilder

        return BatchedBuilder(
            engine=self._engine,
            srs=SrsFolder(self._settings.srs_dir),
            policy=self._policy,
            limits=self._settings.engine_limits,
            cost_model=machine_costs(self._settings),
        )

    def ensure_batched(
        self,
        circuit: Circuit,
        lanes: int,
        *,
        on_progress: Callable[[str], None] | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Circuit:
        """The batched circuit of ``lanes`` lanes for a single-lane one, built now if needed.

        Raises ``CannotBatch``, ``ModelTooLarge`` and the errors of building a circuit.
        """
        wanted = batched_circuit_id(circuit.manifest.circuit_id, lanes)
        if (found := self.open(wanted)) is not None:
            return found
        with one_build_at_a_time(self._settings.home, wanted, should_stop) as scratch:
            if (found := self.open(wanted)) is not None:
                return found
            model_id = circuit.manifest.model_sha256
            load("circuits.batching.batched_circuit", should_stop)
            built = self.batched_builder().build(
                self.single_lane(circuit),
                lanes,
                scratch,
                on_progress=on_progress,
                should_stop=should_stop,
            )
            self._publish(wanted, model_id, built.manifest.profile, built)
        made = self.open(wanted)
        assert made is not None
        return made

    def _publish(self, wanted: str, model_id: str, profile: Profile, built: BuiltCircuit) -> None:
        """Stores a circuit's files and its record, which makes it available as ``wanted``."""
        for path in built.files.values():
            self._artifacts.put_file(path)
        self._store.add_circuit(
            CircuitRecord(
                id=wanted,
                model_id=model_id,
                profile=profile.to_json(),
                manifest=built.manifest.to_json(),
                created_at=datetime.now(UTC),
            )
        )

    def _samples(self, spec: BuildSpec, model: ModelRecord) -> Samples:
        signature = Signature.from_json(model.signature)
        if spec.calibration is not None:
            return read_calibration(self._artifacts.get(spec.calibration), signature)
        return draw(signature, spec.ranges)


def machine_costs(settings: Settings) -> CostModel | None:
    """This machine's own cost model, if there is one; otherwise the package's is used."""
    try:
        model = CostModel.from_json(json.loads(settings.cost_model_path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return model if model.source == machine_fingerprint() else None


def _accepts(manifest: CircuitManifest, inputs: Mapping[str, NDArray[Any]]) -> bool:
    try:
        for encoding in manifest.inputs:
            encoding.quantise(inputs[encoding.tensor.name])
    except InputOutOfRange:
        return False
    return True
