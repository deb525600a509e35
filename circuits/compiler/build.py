"""From an uploaded model to a circuit that may serve: rewrite, plan, freeze, set up, try out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from circuits.calibration.accuracy import compare
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import Samples
from circuits.compiler.identity import circuit_id
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import (
    CircuitFiles,
    Limits,
    OnStage,
    ProofResult,
    ShouldStop,
    set_up_files,
)
from circuits.errors import CircuitNotFaithful, EngineError, ModelTooLarge, ProfileContradiction
from circuits.evm.errors import SolcMissing
from circuits.evm.solc import Solc
from circuits.format.digests import sha256, sha256_file
from circuits.format.field import Felts, to_felt
from circuits.format.manifest import CircuitManifest, Role, SrsRef
from circuits.format.profile import Argument, Profile, Target
from circuits.lower.graphs import FloatGraph, LoweringTask, context_encoding
from circuits.plan.effort import Effort
from circuits.plan.estimate import Estimate, estimate, graph_size
from circuits.plan.graphs import float_graph
from circuits.plan.plan import Plan
from circuits.plan.planner import plan_circuit
from circuits.srs.files import Policy, SrsFile, SrsFolder
from circuits.srs.verify_part import extract

#: Where an earlier set-up left ``compiled``, ``vk`` and ``pk``, by the digests of its graph, its
#: settings and its reference string; None where there was none.
KnownSetup = Callable[[str, str, str], dict[str, Path] | None]

#: Cells, by formula, beyond which a model is estimated before it is planned.
_LARGE = 400_000


@dataclass(frozen=True, kw_only=True)
class BuiltCircuit:
    """A circuit's manifest and where its files lie (``manifest.files`` has their digests)."""

    manifest: CircuitManifest
    files: dict[str, Path]


def compile_float(
    engine: EzklEngine,
    model: bytes,
    samples: Samples,
    profile: Profile,
    limits: Limits,
) -> FloatGraph:
    """The model after the float passes, made in a child: its bytes come from outside.

    Raises ``ProfileContradiction`` for a visibility that no more circuits are built for.
    """
    if not profile.visibility.shows_weights:
        raise ProfileContradiction(
            f"no more circuits are built for the visibility {profile.visibility.value}: their"
            " proofs are about some weights, which nothing ties to a model",
            advice="Use --weights private: one identity names the weights in every proof.",
        )
    expose, limbs = not profile.visibility.shows_input, context_encoding(profile).limbs
    return engine.sandbox.run(
        limits, float_graph, model, list(samples.plan), limbs, expose, samples.ranges
    )


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds circuits with one engine over one folder of SRS files."""

    engine: EzklEngine
    srs: SrsFolder
    policy: Policy
    limits: Limits
    effort: Effort = Effort.BALANCED
    cost_model: CostModel | None = None
    solc: Path | None = None  # without it the first on PATH
    known_setup: KnownSetup = lambda *_: None

    def until(self, should_stop: ShouldStop) -> Builder:
        """This builder for work that may be told to stop: whatever it does ends with ``Canceled``
        once ``should_stop`` says so, in the middle of an engine call too."""
        return replace(self, engine=self.engine.until(should_stop))

    def plan(
        self,
        model: bytes,
        samples: Samples,
        profile: Profile,
        on_progress: Callable[[str], None] | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Plan:
        """Rewrites and plans, builds nothing."""
        if should_stop is not None:
            return self.until(should_stop).plan(model, samples, profile, on_progress)
        solc = self._solc() if profile.target is Target.EVM else None
        with self._keeping() as ours:
            graph = compile_float(ours.engine, model, samples, profile, self.limits)
            return plan_circuit(
                ours.engine,
                graph,
                samples,
                profile,
                self.limits,
                effort=self.effort,
                srs=lambda k: self.srs.ensure(k, self.policy, self._generate).path,
                cost_model=self.cost_model,
                solc=solc,
                on_progress=on_progress,
                before_plain=lambda: ours._refuse_infeasible(graph, samples, profile),
            )

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[Builder]:
        """This builder with one child for all that is computed of a model."""
        with self.engine.keeping(self.limits) as engine:
            yield replace(self, engine=engine)

    def _solc(self) -> Solc | None:
        """The compiler for verifier contracts; None when none is named and none is on PATH.

        Raises ``SolcMissing`` when the one that is named will not do.
        """
        if self.solc is not None:
            return Solc.find(self.solc)
        try:
            return Solc.find()
        except SolcMissing:
            return None

    def estimate(self, model: bytes, samples: Samples, profile: Profile) -> Estimate:
        """What a circuit would cost, in about a second: nothing is measured, nothing built."""
        with self._keeping() as ours:
            graph = compile_float(ours.engine, model, samples, profile, self.limits)
            return ours._estimate(graph, samples, profile)

    def _refuse_infeasible(self, graph: FloatGraph, samples: Samples, profile: Profile) -> None:
        """Raises ``ModelTooLarge`` with an estimate, before hours go into planning what cannot be
        proved here. Small graphs are not worth an estimate."""
        size = graph_size(
            self.engine, graph, LoweringTask.of(profile, samples, graph.signature), self.limits
        )
        if size.cells < _LARGE:
            return
        found = self._estimate(graph, samples, replace(profile, argument=Argument.PLAIN))
        seconds = found.predicted.prove_s
        if found.fits and seconds <= self.limits.deadline_s:
            return
        gib = found.predicted.peak_bytes / (1 << 30)
        raise ModelTooLarge(
            f"a proof of this model is estimated at {seconds:.0f} s and {gib:.1f} GiB"
            f" (k = {found.logrows}); the limits are {self.limits.deadline_s:.0f} s and"
            f" {self.limits.memory_bytes / (1 << 30):.1f} GiB",
            advice="Raise ZKML_ENGINE_MEMORY_MB and ZKML_ENGINE_DEADLINE_S on a machine that has"
            " it, or export a smaller model.",
            estimate=found.to_json(),
        )

    def _estimate(self, graph: FloatGraph, samples: Samples, profile: Profile) -> Estimate:
        task = LoweringTask.of(profile, samples, graph.signature)
        costs = self.cost_model or CostModel.bundled()
        return estimate(self.engine, graph, task, profile, self.limits, costs)

    def build(
        self,
        model: bytes,
        samples: Samples,
        profile: Profile,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
        should_stop: ShouldStop | None = None,
    ) -> BuiltCircuit:
        """Plans, sets up keys in the folder ``out`` and tries the circuit on one sample.

        The settings are frozen here and never made again. Raises ``CircuitNotFaithful`` when the
        trial proof's outputs are not those of onnxruntime, besides all that planning raises.
        """
        if should_stop is not None:
            ours = self.until(should_stop)
            return ours.build(model, samples, profile, out, on_progress=on_progress)
        say = on_progress or (lambda _: None)
        plan = self.plan(model, samples, profile, say)
        say("reference string")
        srs = self.srs.ensure(plan.choice.args.logrows, self.policy, self._generate)
        paths = self._set_up(plan, srs, out, on_progress)
        plan = _identified(self.engine, plan, paths, self.limits)
        variant = plan.choice.variant
        contents = {
            "model": model,
            "rewritten": variant.onnx,
            "plan": plan.canonical(),
            "reference": None if plan.reference == model else plan.reference,
            "near": plan.near_graph,
            "hints": variant.network,
        }
        paths |= keep(out, contents)
        manifest = self._described(model, plan, srs, paths, samples)
        say("trial proof")
        sample = plan.trial
        inputs = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in variant.inputs]
        if manifest.context.limbs:
            inputs.append(manifest.context.encode(0))
        trial = trial_proof(self.engine, manifest, paths, inputs, self.limits)
        self._compare(plan, manifest, trial)
        measured = {"output_ranges": list(plan.output_ranges)}
        if plan.choice.contract is not None:
            measured |= plan.choice.contract.to_json()
        return tried(manifest, paths, trial, measured)

    def _generate(self, path: Path, logrows: int) -> None:
        self.engine.generate_srs(path, logrows, self.limits)

    def _set_up(
        self, plan: Plan, srs: SrsFile, out: Path, on_stage: OnStage | None
    ) -> dict[str, Path]:
        shape = plan.choice
        graph, settings = shape.variant.onnx, shape.layout.settings
        known = self.known_setup(sha256(graph), sha256(settings.encode()), srs.sha256)
        if known is None:
            self.engine.setup(graph, settings, srs.path, out, self.limits, on_stage=on_stage)
        else:  # one of another model: its weights are in none of this
            (out / "settings.json").write_text(settings)
            for name, path in known.items():
                shutil.copyfile(path, out / name)
        return set_up_files(out, srs.path)

    def _compare(self, plan: Plan, manifest: CircuitManifest, result: ProofResult) -> None:
        segments = [s for s in manifest.layout if s.role is Role.OUTPUT]
        outputs = [
            encoding.decode(result.instances[s.offset : s.offset + s.count])
            for encoding, s in zip(manifest.outputs, segments, strict=True)
        ]
        reference = self.engine.sandbox.run(
            self.limits, run_reference, plan.reference, [plan.trial]
        )
        spread = max((float(np.ptp(r)) for r in reference[0] if r.size), default=0.0) or 1.0
        measured = compare(reference, [outputs])
        # One sample's range is narrower than that of many, so this bound is a loose one: it is
        # here to catch a circuit that computes something else, not to measure again.
        if measured.max_error > max(0.25, 10 * plan.profile.max_error) and spread > 1e-6:
            raise CircuitNotFaithful(
                f"the trial proof's output is {measured.max_error:.0%} of its range away from"
                " onnxruntime"
            )

    def _described(
        self, model: bytes, plan: Plan, srs: SrsFile, paths: Mapping[str, Path], samples: Samples
    ) -> CircuitManifest:
        """The manifest, before a trial proof."""
        variant = plan.choice.variant
        model_sha256 = sha256(model)
        return CircuitManifest(
            circuit_id=circuit_id(
                model_sha256, plan.profile, samples.digest, self.policy, self.engine.label
            ),
            model_sha256=model_sha256,
            rewritten_sha256=sha256(variant.onnx),
            passes=variant.passes,
            engine=self.engine.name,
            engine_version=self.engine.version,
            profile=plan.profile.chosen(committed=variant.commitments is not None),
            srs=SrsRef(logrows=srs.logrows, sha256=srs.sha256, origin=srs.origin.value),
            files={name: sha256_file(path) for name, path in paths.items()},
            inputs=variant.inputs,
            context=context_encoding(plan.profile),
            outputs=variant.outputs,
            proof_bytes=0,
            accuracy=plan.accuracy,
            lowering=variant.recipe,
            hidden=variant.hidden,
            commitments=variant.commitments,
        )


def _identified(engine: EzklEngine, plan: Plan, paths: Mapping[str, Path], limits: Limits) -> Plan:
    """The plan, its private weights committed to in public, if it has any."""
    variant = plan.choice.variant
    claim, network = variant.commitments, variant.network
    if claim is None or claim.private is None or network is None:
        return plan
    network, identity = engine.commit_weights(network, CircuitFiles.of(paths), limits)
    claim = replace(claim, network_sha256=sha256(network), identity=identity)
    variant = replace(variant, network=network, commitments=claim)
    return replace(plan, choice=replace(plan.choice, variant=variant))


#: How files are named that no set-up makes.
_NAMES = {
    "model": "model.onnx",
    "rewritten": "rewritten.onnx",
    "reference": "reference.onnx",
    "near": "near.onnx",
    "plan": "plan.json",
    "hints": "network",
}


def keep(folder: Path, contents: Mapping[str, bytes | None]) -> dict[str, Path]:
    """Writes a circuit's files, by the names that its manifest has for them; their paths."""
    kept = {name: data for name, data in contents.items() if data is not None}
    paths = {name: folder / _NAMES[name] for name in kept}
    for name, data in kept.items():
        paths[name].write_bytes(data)
    return paths


def trial_proof(
    engine: EzklEngine,
    manifest: CircuitManifest,
    paths: Mapping[str, Path],
    inputs: list[Felts],
    limits: Limits,
) -> ProofResult:
    """Proves and verifies: no circuit serves that has not done so. Raises ``CircuitNotFaithful``
    for a residue, and the engine's errors."""
    files = CircuitFiles.of(paths, manifest.salt, manifest.commitments)
    result = engine.prove(files, inputs, limits)
    proved = engine.verify(
        result.proof_json,
        files.settings.read_bytes(),
        files.vk.read_bytes(),
        extract(files.srs),
        limits,
    )
    if not proved:
        raise EngineError("the trial proof of the new circuit does not verify")
    for segment in (s for s in manifest.layout if s.role is Role.RESIDUE):
        if {*result.instances[segment.offset : segment.offset + segment.count]} != {to_felt(0)}:
            raise CircuitNotFaithful("the trial proof leaves a residue")
    return result


def tried(
    manifest: CircuitManifest,
    paths: dict[str, Path],
    trial: ProofResult,
    measured: Mapping[str, Any],
) -> BuiltCircuit:
    """A circuit with what its trial proof measured."""
    own = {"prove_s": round(trial.seconds["prove"], 4), "peak_rss_bytes": trial.peak_rss_bytes}
    manifest = replace(manifest, proof_bytes=len(trial.proof), measured={**own, **measured})
    return BuiltCircuit(manifest=manifest, files=paths)
