"""A circuit of many lanes, made out of a circuit of one lane.

Nothing of its arithmetic is decided anew: a graph of the same numbers with a batch dimension, in
the form that is cheapest for so many. So its accuracy is the narrow circuit's, provided that each
lane computes the very same field elements; that is tried before it may serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from circuits.batching.committed import CommittedForecast, committed_forecast, wide_recipe
from circuits.batching.errors import CannotBatch
from circuits.batching.felts import join, split
from circuits.batching.forecast import DRAFT_LANES, BatchCandidate, Forecast, choose_shape, forecast
from circuits.batching.lowering import WideForm, integer_forms
from circuits.calibration.samples import Sample, corner_samples, draw
from circuits.compiler.build import BuiltCircuit
from circuits.compiler.identity import wide_circuit_id
from circuits.compiler.recipe import Recipe, Recompiled
from circuits.cost.model import CostModel, Prediction
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import (
    CircuitFiles,
    LayoutStats,
    Limits,
    ProofResult,
    RunArgs,
    ShouldStop,
    Simulated,
)
from circuits.errors import CircuitNotFaithful, EngineError, ModelTooLarge
from circuits.format.commitments import Commitments
from circuits.format.digests import canonical_json, sha256, sha256_file
from circuits.format.field import Felts, to_felt
from circuits.format.hidden import Hidden, Salt, filled, hides
from circuits.format.hints import MOST_TABLED_LOGROWS, Hints
from circuits.format.manifest import (
    AppliedPass,
    CircuitManifest,
    Role,
    SrsRef,
    model_outputs,
    residues_of,
)
from circuits.format.profile import Visibility
from circuits.format.tensors import InputEncoding, Signature
from circuits.plan.variants import binds
from circuits.srs.files import Policy, SrsFolder
from circuits.srs.verify_part import extract

_WIDEN, _ANEW = "circuits.batching.check:widen_checked", "circuits.rebuild:recompiled_graph"
_INSIDE = "circuits.batching.committed:inside"
_PASS = AppliedPass(name="widen", version=2)
#: Inputs that the engine's arithmetic is compared on, besides the corners of the accepted range.
_COMPARED = 8
#: With committed hints these inputs, so many times smaller, too: few may reach the table's ends.
_NEARER = (0.5, 0.25, 0.0)


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """A circuit of one lane as stored: its manifest, model, graph, settings, plan, and the graph
    that computes its hints, where it has any."""

    manifest: CircuitManifest
    model: bytes
    graph: bytes
    settings: str
    plan: dict[str, Any]
    hints: bytes | None = None

    @cached_property
    def args(self) -> RunArgs:
        """The engine settings that it was built with."""
        args = dict(self.plan["choice"]["args"])
        return RunArgs(**args | {"lookup_range": tuple(args["lookup_range"])})

    @cached_property
    def bits(self) -> int:
        """Bits that its decompositions must hold, headroom left out."""
        held = self.args.decomp_legs * math.log2(self.args.decomp_base)
        return max(1, round(held - float(self.plan["choice"]["headroom_bits"])))

    @property
    def context_bits(self) -> int:
        """Bits that decompositions must hold for the context's sake, where it is range-checked."""
        checked = not self.args.ignore_range_check_inputs_outputs
        return self.manifest.context.bits + 1 if checked else 0


@dataclass(frozen=True, kw_only=True)
class _Wide:
    """A graph of many lanes in the size that was chosen for it: what a manifest says of it, the
    ``bits`` that its decompositions must hold, and ``given``, what computes its hints."""

    label: str
    graph: bytes
    priced: LayoutStats
    predicted: Prediction
    lowering: dict[str, Any] | None
    passes: tuple[AppliedPass, ...]
    bits: int
    given: bytes | None
    hints: Hints | None = None
    hidden: Hidden | None = None
    commitments: Commitments | None = None


@dataclass(frozen=True, kw_only=True)
class WideBuilder:
    """Makes wide circuits with one engine over one folder of SRS files."""

    engine: EzklEngine
    srs: SrsFolder
    policy: Policy
    limits: Limits
    cost_model: CostModel | None = None

    def forecast(self, narrow: Narrow) -> Forecast | CommittedForecast:
        """What circuits of two lanes and more will cost. Raises ``CannotBatch``, with the reason,
        for a model whose inputs cannot share a circuit."""
        if narrow.manifest.commitments is not None:
            return self._committed_forecast(narrow)
        return self._forecast(narrow, self._forms(narrow))

    def build(
        self,
        narrow: Narrow,
        lanes: int,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
        should_stop: ShouldStop | None = None,
    ) -> BuiltCircuit:
        """Sets up the circuit of ``lanes`` lanes in the folder ``out`` and tries it.

        Raises ``CannotBatch``, ``ModelTooLarge``, ``CircuitNotFaithful`` when a lane computes
        something else than the narrow circuit, and the engine's errors.
        """
        if should_stop is not None:
            engine = self.engine.until(should_stop)
            return replace(self, engine=engine)._build(narrow, lanes, out, on_progress)
        return self._build(narrow, lanes, out, on_progress)

    def _build(
        self, narrow: Narrow, lanes: int, out: Path, on_progress: Callable[[str], None] | None
    ) -> BuiltCircuit:
        say = on_progress or (lambda _: None)
        say(f"{lanes} lanes: shape")
        made = self._committed if narrow.manifest.commitments is not None else self._computed
        wide = made(narrow, lanes)
        say(f"{lanes} lanes: comparison")
        rows = self._rows(narrow)
        self._compare(narrow, wide, lanes, rows)
        say(f"{lanes} lanes: reference string")
        srs = self.srs.ensure(wide.priced.args.logrows, self.policy, self._generate)
        say(f"{lanes} lanes: keys")
        self.engine.setup(wide.graph, wide.priced.settings, srs.path, out, self.limits)
        (out / "model.onnx").write_bytes(narrow.model)
        (out / "rewritten.onnx").write_bytes(wide.graph)
        (out / "plan.json").write_bytes(_plan_json(narrow, wide, lanes))
        paths = {
            "model": out / "model.onnx",
            "rewritten": out / "rewritten.onnx",
            "compiled": out / "compiled",
            "settings": out / "settings.json",
            "vk": out / "vk",
            "pk": out / "pk",
            "plan": out / "plan.json",
            "srs": srs.path,
        }
        given = {}
        if wide.given is not None:
            given["hints"] = out / "hints.onnx"
            given["hints"].write_bytes(wide.given)
        kept = {n: digest for n, digest in narrow.manifest.files.items() if n != "hints"}
        paths |= given
        manifest = replace(
            narrow.manifest,
            circuit_id=wide_circuit_id(narrow.manifest.circuit_id, lanes),
            rewritten_sha256=sha256(wide.graph),
            lowering=wide.lowering,
            hints=wide.hints,
            hidden=_hidden(narrow, wide),
            commitments=wide.commitments,
            passes=wide.passes,
            srs=SrsRef(logrows=srs.logrows, sha256=srs.sha256, origin=srs.origin.value),
            files=kept | {n: sha256_file(path) for n, path in paths.items()},
            lanes=lanes,
        )
        say(f"{lanes} lanes: trial proof")
        trial = self._try(narrow, manifest, paths, rows)
        measured = {
            "prove_s": round(trial.seconds["prove"], 4),
            "peak_rss_bytes": trial.peak_rss_bytes,
        }
        if (ranges := narrow.manifest.measured.get("output_ranges")) is not None:
            measured["output_ranges"] = ranges  # errors are shares of them, whatever the lanes
        return BuiltCircuit(
            manifest=replace(manifest, proof_bytes=len(trial.proof), measured=measured),
            files=paths,
        )

    def _computed(self, narrow: Narrow, lanes: int) -> _Wide:
        """The graph of many lanes, and its size, of a circuit that computes its results."""
        forms = self._forms(narrow)
        foretold = self._forecast(narrow, forms)
        number = foretold.draft_for(lanes)
        form = forms[number]
        graph = self._widened(narrow, form, lanes)
        priced, predicted = choose_shape(self.engine, graph, foretold, number, lanes)
        if form.given is not None and not binds(form.given.claim, priced.args):
            raise CannotBatch("in so many rows nothing would bind the results that it is given")
        if form.hidden is not None and (salt := form.hidden.salt(lanes)) is not None:
            priced = self._salted(graph, priced, salt)
        return _Wide(
            label=form.label,
            graph=graph,
            priced=priced,
            predicted=predicted,
            lowering=form.lowering,
            passes=(*form.passes, _PASS),
            bits=max(form.bits, narrow.context_bits),
            given=None if form.given is None else form.given.graph,
            hints=None if form.given is None else form.given.claim,
            hidden=form.hidden,
        )

    def _committed(self, narrow: Narrow, lanes: int) -> _Wide:
        """The same of a circuit with committed hints."""
        recipe = Recipe.of(narrow.manifest)
        sizes = self._committed_forecast(narrow).sizes(lanes)
        if not sizes:
            raise ModelTooLarge("this many lanes need more memory than is allowed")
        sized, predicted = sizes[0]
        wide = wide_recipe(recipe, sized.args.logrows, sized.args.num_inner_cols, lanes)
        samples = self._samples(narrow)
        anew: Recompiled = self.engine.sandbox.call(
            _ANEW, narrow.model, samples, wide, limits=self.limits
        )
        (priced,) = self.engine.measure_layout(anew.onnx, [sized.args], self.limits)
        if not isinstance(priced, LayoutStats):
            raise priced
        return _Wide(
            label=f"{narrow.plan['choice']['variant']}, {lanes} lanes",
            graph=anew.onnx,
            priced=priced,
            predicted=predicted,
            lowering=wide.lowering,
            passes=anew.passes,
            bits=1,
            given=anew.network,
            commitments=anew.commitments,
        )

    def _committed_forecast(self, narrow: Narrow) -> CommittedForecast:
        return committed_forecast(
            self.engine.sandbox,
            narrow.model,
            self._samples(narrow),
            Recipe.of(narrow.manifest),
            narrow.args,
            self.limits,
            self._costs,
            narrow.manifest.profile.target,
        )

    def _salted(self, graph: bytes, priced: LayoutStats, salt: Salt) -> LayoutStats:
        """The shape with tables as long as their columns: the more entries, the less salt does."""
        args = priced.args
        args = replace(args, lookup_range=filled(args.lookup_range, args.logrows))
        if not hides(salt, args.lookup_range, args.logrows, args.num_inner_cols):
            raise CannotBatch("in so many columns salt would not hide what tables hold")
        (settled,) = self.engine.measure_layout(graph, [args], self.limits)
        if not isinstance(settled, LayoutStats):
            raise settled
        return settled

    @property
    def _costs(self) -> CostModel:
        return self.cost_model or CostModel.shipped()

    def _generate(self, path: Path, logrows: int) -> None:
        self.engine.generate_srs(path, logrows, self.limits)

    def _forms(self, narrow: Narrow) -> list[WideForm]:
        """The graphs of one lane that may be widened. Raises ``CannotBatch``."""
        if narrow.manifest.profile.visibility is Visibility.HASHED_INPUT:
            raise CannotBatch(
                "with hashed inputs one hash would cover the inputs of all lanes, and nobody could"
                " check a lane without the others"
            )
        if narrow.manifest.lowering is not None:
            return integer_forms(
                self.engine.sandbox,
                narrow.model,
                self._samples(narrow),
                Recipe.of(narrow.manifest),
                self.limits,
                hints=narrow.manifest.hints is not None,
            )
        return [
            WideForm(
                label=str(narrow.plan["choice"]["variant"]),
                graph=narrow.graph,
                lowering=None,
                passes=narrow.manifest.passes,
                bits=narrow.bits,
                lookup_range=narrow.args.lookup_range,
                hidden=narrow.manifest.hidden,
            )
        ]

    def _forecast(self, narrow: Narrow, forms: Sequence[WideForm]) -> Forecast:
        drafts = [
            BatchCandidate(
                graphs={n: self._widened(narrow, f, n) for n in DRAFT_LANES},
                args=f.args(narrow.args),
                bits=max(f.bits, narrow.context_bits),
                **_limits(f),
            )
            for f in forms
        ]
        target = narrow.manifest.profile.target
        return forecast(self.engine, drafts, self.limits, self._costs, target)

    def _widened(self, narrow: Narrow, form: WideForm, lanes: int) -> bytes:
        samples = [self._in_graph_units(narrow, s) for s in self._samples(narrow)]
        graph: bytes = self.engine.sandbox.call(
            _WIDEN, form.graph, lanes, samples, form.sums_biases, limits=self.limits
        )
        return graph

    def _samples(self, narrow: Narrow) -> list[Sample]:
        """Inputs from all over the accepted range; what they are matters little here, because
        lanes are compared with the narrow circuit and not with the model."""
        inputs = narrow.manifest.inputs
        signature = Signature(inputs=tuple(i.tensor for i in inputs), outputs=())
        ranges = {i.tensor.name: (i.lower, i.upper) for i in inputs}
        return list(draw(signature, ranges).plan[:_COMPARED])

    def _in_graph_units(self, narrow: Narrow, sample: Sample) -> Sample:
        """The sample as the graph's own numbers: integers where the graph is one of integers."""
        made: dict[str, Any] = {}
        for encoding in narrow.manifest.inputs:
            values = np.asarray(sample[encoding.tensor.name])
            if narrow.args.input_scale != encoding.scale:
                whole = np.array(encoding.quantise(values), dtype=np.float64)
                values = np.ldexp(whole, -narrow.args.input_scale).reshape(values.shape)
                values = values.astype(encoding.tensor.dtype)
            made[encoding.tensor.name] = values
        return made

    def _rows(self, narrow: Narrow) -> list[list[Felts]]:
        """Narrow engine inputs to compare on, each with a context of its own."""
        manifest = narrow.manifest
        rows = []
        samples = [*self._samples(narrow), *corner_samples(manifest.inputs)]
        if manifest.commitments is not None:
            samples += [_nearer(manifest.inputs, s, by) for s in samples for by in _NEARER]
        for number, sample in enumerate(samples):
            row = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in manifest.inputs]
            if manifest.context.limbs:
                row.append(manifest.context.encode(number))
            rows.append(row)
        if manifest.commitments is None:
            return rows
        # Of other inputs values may have no entry in the table, as single inputs' may not.
        held = self.engine.sandbox.call(
            _INSIDE, narrow.hints, [row[: len(manifest.inputs)] for row in rows], limits=self.limits
        )
        if not held:
            raise CannotBatch("no input that was drawn has all its values in the table")
        return [rows[n] for n in held]

    def _compare(
        self,
        narrow: Narrow,
        wide: _Wide,
        lanes: int,
        rows: list[list[Felts]],
    ) -> None:
        """Runs packs through the wide circuit's arithmetic: each lane must give the elements that
        the narrow circuit gives."""
        offsets = [(at, _full_pack(rows, lanes, at)) for at in range(0, len(rows), lanes)]
        packs = [join(pack) for _, pack in offsets]
        residues = residues_of(wide.hints, wide.hidden, wide.commitments)
        found = self._outputs(narrow, wide.graph, wide.priced.settings, packs, wide.given, residues)
        expected = self._expected(narrow, rows)
        for (at, _), outputs in zip(offsets, found, strict=True):
            for lane, got in enumerate(split(outputs, lanes)):
                if got != expected[(at + lane) % len(rows)]:
                    raise CircuitNotFaithful(
                        f"with {lanes} lanes, lane {lane} computes something else than the circuit"
                        " of one lane",
                        lanes=lanes,
                        lane=lane,
                    )

    def _expected(self, narrow: Narrow, rows: list[list[Felts]]) -> list[list[Felts]]:
        """What the circuit of one lane answers."""
        manifest = narrow.manifest
        return self._outputs(
            narrow, narrow.graph, narrow.settings, rows, narrow.hints, manifest.residues
        )

    def _outputs(
        self,
        narrow: Narrow,
        graph: bytes,
        settings: str,
        inputs: Sequence[list[Felts]],
        hints: bytes | None,
        residues: int,
    ) -> list[list[Felts]]:
        """The model's outputs, as elements."""
        outputs, count = [], len(narrow.manifest.outputs)
        for result in self.engine.simulate(graph, settings, inputs, self.limits, hints):
            if not isinstance(result, Simulated):
                raise result
            outputs.append(model_outputs(result.outputs, count, residues))
        return outputs

    def _try(
        self,
        narrow: Narrow,
        manifest: CircuitManifest,
        paths: dict[str, Path],
        rows: list[list[Felts]],
    ) -> ProofResult:
        """Proves and verifies one full pack, and looks for each lane's output in its place."""
        pack = _full_pack(rows, manifest.lanes, 0)
        files = CircuitFiles(
            compiled=paths["compiled"],
            settings=paths["settings"],
            pk=paths["pk"],
            vk=paths["vk"],
            srs=paths["srs"],
            hints=paths.get("hints"),
            salt=manifest.salt,
            commitments=manifest.commitments,
        )
        proof = self.engine.prove(files, join(pack), self.limits)
        proved = self.engine.verify(
            proof.proof_json,
            files.settings.read_bytes(),
            files.vk.read_bytes(),
            extract(files.srs),
            self.limits,
        )
        if not proved:
            raise EngineError("the trial proof of the new circuit does not verify")
        expected = self._expected(narrow, rows)
        zero = to_felt(0)
        for segment in (s for s in manifest.layout if s.role is Role.RESIDUE):
            if {*proof.instances[segment.offset : segment.offset + segment.count]} != {zero}:
                raise CircuitNotFaithful("the trial proof leaves a residue")
        for lane in range(manifest.lanes):
            segments = [s for s in manifest.lane_layout(lane) if s.role is Role.OUTPUT]
            found = [proof.instances[s.offset : s.offset + s.count] for s in segments]
            if found != expected[lane % len(rows)]:
                raise CircuitNotFaithful(
                    f"lane {lane} of the trial proof shows another output than the circuit of one"
                    " lane gives",
                    lane=lane,
                )
        return proof


def _hidden(narrow: Narrow, wide: _Wide) -> Hidden | None:
    """The narrow circuit's bounds of what is not shown, with those of this form and shape."""
    if narrow.manifest.profile.visibility.shows_weights:
        return wide.hidden
    return Hidden(weights=wide.priced.args.weights_bound)


def _nearer(inputs: Sequence[InputEncoding], sample: Sample, by: float) -> Sample:
    """A sample whose values are so much closer to the accepted one that is nearest to zero."""
    made = {}
    for encoding in inputs:
        values = np.asarray(sample[encoding.tensor.name])
        least = min(max(encoding.lower, 0.0), encoding.upper)
        made[encoding.tensor.name] = (least + (values - least) * by).astype(values.dtype)
    return made


def _limits(form: WideForm) -> dict[str, int]:
    """What a form's hints leave of the shapes that it could have."""
    if form.given is None:
        return {}
    most = {"most_bits": form.given.claim.most_bits}
    return most if form.given.claim.lookup is None else most | {"most_logrows": MOST_TABLED_LOGROWS}


def _full_pack(rows: list[list[Felts]], lanes: int, at: int) -> list[list[Felts]]:
    """``lanes`` rows from number ``at`` on, beginning again at the end."""
    return [rows[(at + lane) % len(rows)] for lane in range(lanes)]


def _plan_json(narrow: Narrow, wide: _Wide, lanes: int) -> bytes:
    """Why the circuit is as it is: whose arithmetic it has, and the shape chosen for its lanes."""
    priced = wide.priced
    held = priced.args.decomp_legs * math.log2(priced.args.decomp_base)
    return canonical_json(
        {
            "schema": 1,
            "lanes": lanes,
            "narrow": narrow.manifest.circuit_id,
            "profile": narrow.manifest.profile.to_json(),
            "choice": {
                "variant": wide.label,
                "recipe": wide.lowering,
                "args": asdict(priced.args),
                "rows": priced.rows,
                "assignments": priced.assignments,
                "predicted": wide.predicted.to_json(),
                "headroom_bits": round(held - wide.bits, 2),
            },
            "accuracy": asdict(narrow.manifest.accuracy),
        }
    )
