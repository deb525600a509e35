"""From an uploaded model to a circuit that may serve: rewrite, plan, freeze, set up, try out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from circuits.calibration.accuracy import compare
from circuits.calibration.samples import Sample, Samples, accepted_ranges
from circuits.compiler.identity import circuit_id
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import CircuitFiles, Limits, OnStage, ProofResult, ShouldStop
from circuits.errors import CircuitNotFaithful, EngineError, ModelTooLarge
from circuits.evm.errors import SolcMissing
from circuits.evm.solc import Solc
from circuits.format.digests import sha256, sha256_file
from circuits.format.field import to_felt
from circuits.format.hidden import Hidden
from circuits.format.manifest import CircuitManifest, Role, SrsRef, instance_layout
from circuits.format.profile import Argument, Profile, Target, Visibility
from circuits.format.tensors import ContextEncoding
from circuits.lower.graphs import FloatGraph, IntegerTask
from circuits.plan.effort import Effort
from circuits.plan.estimate import Estimate, estimate, graph_size
from circuits.plan.plan import Plan
from circuits.plan.planner import context_encoding, plan_circuit
from circuits.srs.files import Policy, SrsFile, SrsFolder
from circuits.srs.verify_part import extract

_COMPILE = "circuits.compiler.process:float_graph"


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
    context: ContextEncoding,
    visibility: Visibility,
    limits: Limits,
) -> FloatGraph:
    """The model after the float passes, made in a child: its bytes come from outside."""
    expose = not visibility.shows_input
    graph: FloatGraph = engine.sandbox.call(
        _COMPILE, model, list(samples.plan), context.limbs, expose, limits=limits
    )
    return graph


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
        graph = compile_float(
            self.engine,
            model,
            samples,
            context_encoding(profile),
            profile.visibility,
            self.limits,
        )
        return plan_circuit(
            self.engine,
            graph,
            samples,
            profile,
            self.limits,
            effort=self.effort,
            srs=lambda k: self.srs.ensure(k, self.policy, self._generate).path,
            cost_model=self.cost_model,
            solc=solc,
            on_progress=on_progress,
            before_plain=lambda: self._refuse_hopeless(graph, samples, profile),
        )

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
        context = context_encoding(profile)
        graph = compile_float(self.engine, model, samples, context, profile.visibility, self.limits)
        return self._estimate(graph, samples, profile)

    def _refuse_hopeless(self, graph: FloatGraph, samples: Samples, profile: Profile) -> None:
        """Raises ``ModelTooLarge`` with an estimate, before hours go into planning what cannot be
        proved here. Small graphs are not worth an estimate."""
        size = graph_size(self.engine, graph, self._task(graph, samples, profile), self.limits)
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
        context = context_encoding(profile)
        task = self._task(graph, samples, profile)
        costs = self.cost_model or CostModel.shipped()
        return estimate(self.engine, graph, task, profile, context, self.limits, costs)

    def _task(self, graph: FloatGraph, samples: Samples, profile: Profile) -> IntegerTask:
        return IntegerTask(
            accepted=accepted_ranges(graph.signature, samples.ranges, profile.range_margin),
            limbs=context_encoding(profile).limbs,
            visibility=profile.visibility,
            hints=profile.shows_hidden_layers,
            salt=profile.salts_tables,
            checked=profile.checks_ranges,
            plan=samples.plan,
            held_out=samples.held_out,
            max_error=profile.max_error,
            agreement=profile.agreement if samples.calibrated else 0.0,
        )

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
        shape = plan.choice.shape
        say("reference string")
        srs = self.srs.ensure(shape.args.logrows, self.policy, self._generate)
        files = self._set_up(plan, srs, out, on_progress)
        say("trial proof")
        trial = self._try(plan, files)
        return self._describe(model, plan, srs, files, samples, trial)

    def _generate(self, path: Path, logrows: int) -> None:
        self.engine.generate_srs(path, logrows, self.limits)

    def _set_up(
        self, plan: Plan, srs: SrsFile, out: Path, on_stage: OnStage | None
    ) -> CircuitFiles:
        shape = plan.choice.shape
        graph, settings = shape.variant.onnx, shape.priced.settings
        known = self.known_setup(sha256(graph), sha256(settings.encode()), srs.sha256)
        if known is None:
            self.engine.setup(graph, settings, srs.path, out, self.limits, on_stage=on_stage)
        else:  # one of another model: its weights are in none of this
            (out / "settings.json").write_text(settings)
            for name, path in known.items():
                shutil.copyfile(path, out / name)
        return CircuitFiles(
            compiled=out / "compiled",
            settings=out / "settings.json",
            pk=out / "pk",
            vk=out / "vk",
            srs=srs.path,
            hints=plan.choice.shape.variant.write_hints(out),
            salt=plan.choice.shape.variant.salt,
            commitments=plan.choice.shape.variant.commitments,
        )

    def _try(self, plan: Plan, files: CircuitFiles) -> ProofResult:
        """Proves and verifies one held-out sample: no circuit serves that has not done so."""
        variant = plan.choice.shape.variant
        sample = plan.trial
        inputs = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in variant.inputs]
        if variant.context.limbs:
            inputs.append(variant.context.encode(0))
        result = self.engine.prove(files, inputs, self.limits)
        proved = self.engine.verify(
            result.proof_json,
            files.settings.read_bytes(),
            files.vk.read_bytes(),
            extract(files.srs),
            self.limits,
        )
        if not proved:
            raise EngineError("the trial proof of the new circuit does not verify")
        self._compare(plan, result, sample)
        return result

    def _compare(self, plan: Plan, result: ProofResult, sample: Sample) -> None:
        variant = plan.choice.shape.variant
        layout = instance_layout(
            plan.profile.visibility,
            variant.inputs,
            variant.context,
            variant.outputs,
            hints=variant.claim,
            hidden=variant.hidden,
            commitments=variant.commitments,
        )
        for segment in (s for s in layout if s.role is Role.RESIDUE):
            found = result.instances[segment.offset : segment.offset + segment.count]
            if {*found} != {to_felt(0)}:
                raise CircuitNotFaithful("the trial proof leaves a residue")
        segments = [s for s in layout if s.role is Role.OUTPUT]
        outputs = [
            encoding.decode(result.instances[s.offset : s.offset + s.count])
            for encoding, s in zip(variant.outputs, segments, strict=True)
        ]
        reference = self.engine.sandbox.call(
            "circuits.calibration.reference:run_reference",
            plan.reference,
            [sample],
            limits=self.limits,
        )
        spread = max(float(np.ptp(r)) for r in reference[0]) or 1.0
        measured = compare(reference, [outputs])
        # One sample's range is narrower than that of many, so this bound is a loose one: it is
        # here to catch a circuit that computes something else, not to measure again.
        if measured.max_error > max(0.25, 10 * plan.profile.max_error) and spread > 1e-6:
            raise CircuitNotFaithful(
                f"the trial proof's output is {measured.max_error:.0%} of its range away from"
                " onnxruntime"
            )

    def _describe(
        self,
        model: bytes,
        plan: Plan,
        srs: SrsFile,
        files: CircuitFiles,
        samples: Samples,
        trial: ProofResult,
    ) -> BuiltCircuit:
        variant = plan.choice.shape.variant
        out = files.compiled.parent
        (out / "model.onnx").write_bytes(model)
        (out / "rewritten.onnx").write_bytes(variant.onnx)
        (out / "plan.json").write_bytes(plan.canonical())
        paths = {
            "model": out / "model.onnx",
            "rewritten": out / "rewritten.onnx",
            "compiled": files.compiled,
            "settings": files.settings,
            "vk": files.vk,
            "pk": files.pk,
            "plan": out / "plan.json",
            "srs": srs.path,
        }
        if plan.reference != model:
            (out / "reference.onnx").write_bytes(plan.reference)
            paths["reference"] = out / "reference.onnx"
        if files.hints is not None:
            paths["hints"] = files.hints
        if plan.near_graph is not None:
            (out / "near.onnx").write_bytes(plan.near_graph)
            paths["near"] = out / "near.onnx"
        model_sha256 = sha256(model)
        manifest = CircuitManifest(
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
            context=variant.context,
            outputs=variant.outputs,
            proof_bytes=len(trial.proof),
            accuracy=plan.accuracy,
            lowering=variant.recipe,
            hints=variant.claim,
            hidden=_hidden(plan),
            commitments=variant.commitments,
            measured={
                "prove_s": round(trial.seconds["prove"], 4),
                "peak_rss_bytes": trial.peak_rss_bytes,
                "output_ranges": list(plan.output_ranges),
            }
            | (plan.choice.contract.to_json() if plan.choice.contract else {}),
        )
        return BuiltCircuit(manifest=manifest, files=paths)


def _hidden(plan: Plan) -> Hidden | None:
    """What the circuit enforces of values that its proofs do not show."""
    if plan.profile.visibility.shows_weights:
        return plan.choice.shape.variant.hidden
    return Hidden(weights=plan.choice.shape.args.weights_bound)
