"""A circuit of many lanes, made out of a circuit of one lane.

Nothing of its arithmetic is decided again: it is of the same numbers, in a size of its own. So its
accuracy is the single-lane circuit's, provided that each lane computes the very same field
elements; that is tried before it may serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from circuits.batching.committed import (
    batched_graph,
    batched_recipe,
    committed_growths,
    counts_by_size,
    inside,
)
from circuits.batching.errors import CannotBatch
from circuits.batching.felts import join, split
from circuits.batching.lane_costs import (
    DRAFT_LANES,
    Growth,
    LaneCosts,
    choose_layout,
    growths,
    too_many,
)
from circuits.batching.vectorize import VECTORIZED, vectorize
from circuits.calibration.samples import Sample, corner_samples, draw
from circuits.compiler.build import BuiltCircuit, keep, trial_proof, tried
from circuits.compiler.identity import batched_circuit_id
from circuits.compiler.recipe import Recipe
from circuits.cost.model import CostModel, Prediction
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import (
    LayoutStats,
    Limits,
    ProofResult,
    RunArgs,
    ShouldStop,
    Simulated,
    set_up_files,
)
from circuits.errors import CircuitNotFaithful
from circuits.format.commitments import Weights
from circuits.format.digests import canonical_json, sha256, sha256_file
from circuits.format.field import Felts, to_felt
from circuits.format.hidden import Salt, filled, hides
from circuits.format.manifest import (
    CircuitManifest,
    Role,
    SrsRef,
)
from circuits.format.profile import Visibility
from circuits.format.tensors import InputEncoding, Signature
from circuits.srs.files import Policy, SrsFolder

#: Inputs that the engine's arithmetic is compared on, besides the corners of the accepted range.
_COMPARED = 8
#: With committed hints these inputs, so many times smaller, too: few may reach the table's ends.
_NEARER = (0.5, 0.25, 0.0)


@dataclass(frozen=True, kw_only=True)
class SingleLane:
    """A circuit of one lane as stored: its manifest, model, graph, settings, plan, and the network
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
class _Batched:
    """A graph of many lanes in the size that was chosen for it, and what a manifest says of it but
    for its files; ``network`` computes its hints, where it has any."""

    graph: bytes
    layout: LayoutStats
    predicted: Prediction
    manifest: CircuitManifest
    network: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class BatchedBuilder:
    """Makes batched circuits with one engine over one folder of SRS files."""

    engine: EzklEngine
    srs: SrsFolder
    policy: Policy
    limits: Limits
    cost_model: CostModel | None = None

    def lane_costs(self, single: SingleLane) -> LaneCosts:
        """What circuits of two lanes and more will cost. Raises ``CannotBatch``, with the reason,
        for a model whose inputs cannot share a circuit."""
        manifest = single.manifest
        if manifest.profile.visibility is Visibility.HASHED_INPUT:
            raise CannotBatch(
                "with hashed inputs one hash would cover the inputs of all lanes, and nobody could"
                " check a lane without the others"
            )
        if manifest.profile.weights is Weights.PRIVATE:
            raise CannotBatch("private weights are proved for one input at a time")
        if manifest.profile.visibility.names_input:
            raise CannotBatch("an input that an identity names has a proof to itself")
        return LaneCosts(
            growths=self._computed(single)
            if manifest.commitments is None
            else self._hinted(single),
            costs=self.cost_model or CostModel.bundled(),
            target=manifest.profile.target,
            limits=self.limits,
        )

    def _computed(self, single: SingleLane) -> tuple[Growth, ...]:
        graphs = {n: self._vectorized(single, n) for n in DRAFT_LANES}
        bits = max(single.bits, single.context_bits)
        return growths(self.engine, graphs, single.args, bits, self.limits)

    def _hinted(self, single: SingleLane) -> tuple[Growth, ...]:
        recipe, least = Recipe.of(single.manifest), single.args.logrows
        samples = self._samples(single)
        counts = self.engine.sandbox.run(
            self.limits, counts_by_size, single.model, samples, recipe, least
        )
        if isinstance(counts, str):
            raise CannotBatch(counts)
        return committed_growths(counts, single.args)

    def build(
        self,
        single: SingleLane,
        lanes: int,
        out: Path,
        *,
        on_progress: Callable[[str], None] | None = None,
        should_stop: ShouldStop | None = None,
    ) -> BuiltCircuit:
        """Sets up the circuit of ``lanes`` lanes in the folder ``out`` and tries it.

        Raises ``CannotBatch``, ``ModelTooLarge``, ``CircuitNotFaithful`` when a lane computes
        something else than the single-lane circuit, and the engine's errors.
        """
        if should_stop is not None:
            engine = self.engine.until(should_stop)
            return replace(self, engine=engine)._build(single, lanes, out, on_progress)
        return self._build(single, lanes, out, on_progress)

    def _build(
        self, single: SingleLane, lanes: int, out: Path, on_progress: Callable[[str], None] | None
    ) -> BuiltCircuit:
        say = on_progress or (lambda _: None)
        say(f"{lanes} lanes: shape")
        made = self._vectorize if single.manifest.commitments is None else self._commit_lanes
        batched = made(single, lanes)
        say(f"{lanes} lanes: comparison")
        rows = self._rows(single)
        self._compare(single, batched, lanes, rows)
        say(f"{lanes} lanes: reference string")
        srs = self.srs.ensure(batched.layout.args.logrows, self.policy, self._generate)
        say(f"{lanes} lanes: keys")
        self.engine.setup(batched.graph, batched.layout.settings, srs.path, out, self.limits)
        contents = {
            "model": single.model,
            "rewritten": batched.graph,
            "plan": _plan_json(single, batched, lanes),
            "hints": batched.network,
        }
        paths = set_up_files(out, srs.path) | keep(out, contents)
        manifest = replace(
            batched.manifest,
            circuit_id=batched_circuit_id(single.manifest.circuit_id, lanes),
            rewritten_sha256=sha256(batched.graph),
            srs=SrsRef(logrows=srs.logrows, sha256=srs.sha256, origin=srs.origin.value),
            files=single.manifest.files | {n: sha256_file(path) for n, path in paths.items()},
        )
        say(f"{lanes} lanes: trial proof")
        trial = self._try(single, manifest, paths, rows)
        ranges = single.manifest.measured.get("output_ranges")
        # Errors are shares of them, whatever the lanes.
        return tried(manifest, paths, trial, {} if ranges is None else {"output_ranges": ranges})

    def _vectorize(self, single: SingleLane, lanes: int) -> _Batched:
        """A circuit that computes its results: the graph of one lane with a batch dimension."""
        manifest, graph = single.manifest, self._vectorized(single, lanes)
        layout, predicted = choose_layout(self.engine, graph, self.lane_costs(single), lanes)
        hidden = manifest.hidden
        if hidden is not None and (salt := hidden.salt(lanes)) is not None:
            layout = self._salted(graph, layout, salt)
        passes = (*manifest.passes, VECTORIZED)
        made = replace(manifest, lanes=lanes, hidden=hidden, passes=passes)
        return _Batched(graph=graph, layout=layout, predicted=predicted, manifest=made)

    def _commit_lanes(self, single: SingleLane, lanes: int) -> _Batched:
        """A circuit with committed hints: its integers, written for so many lanes."""
        best = self.lane_costs(single).best(lanes)
        if best is None:
            raise too_many((), self.limits)
        sized, predicted = best
        recipe = batched_recipe(Recipe.of(single.manifest), sized.args, lanes)
        samples = self._samples(single)
        made = self.engine.sandbox.run(self.limits, batched_graph, single.model, samples, recipe)
        (layout,) = self.engine.measure_layout(made.onnx, [sized.args], self.limits)
        if not isinstance(layout, LayoutStats):
            raise layout
        return _Batched(
            graph=made.onnx,
            layout=layout,
            predicted=predicted,
            manifest=replace(
                single.manifest,
                lanes=lanes,
                lowering=recipe.lowering,
                passes=made.passes,
                commitments=made.commitments,
            ),
            network=made.network,
        )

    def _salted(self, graph: bytes, layout: LayoutStats, salt: Salt) -> LayoutStats:
        """The shape with tables as long as their columns: the more entries, the less salt does."""
        args = layout.args
        args = replace(args, lookup_range=filled(args.lookup_range, args.logrows))
        if not hides(salt, args.lookup_range, args.logrows, args.num_inner_cols):
            raise CannotBatch("in so many columns salt would not hide what tables hold")
        (settled,) = self.engine.measure_layout(graph, [args], self.limits)
        if not isinstance(settled, LayoutStats):
            raise settled
        return settled

    def _generate(self, path: Path, logrows: int) -> None:
        self.engine.generate_srs(path, logrows, self.limits)

    def _vectorized(self, single: SingleLane, lanes: int) -> bytes:
        return self.engine.sandbox.run(self.limits, vectorize, single.graph, lanes)

    def _samples(self, single: SingleLane) -> list[Sample]:
        """Inputs from all over the accepted range; what they are matters little here, because
        lanes are compared with the single-lane circuit and not with the model."""
        inputs = single.manifest.inputs
        signature = Signature(inputs=tuple(i.tensor for i in inputs), outputs=())
        ranges = {i.tensor.name: (i.lower, i.upper) for i in inputs}
        return list(draw(signature, ranges).plan[:_COMPARED])

    def _rows(self, single: SingleLane) -> list[list[Felts]]:
        """SingleLane engine inputs to compare on, each with a context of its own."""
        manifest = single.manifest
        rows = []
        samples = [*self._samples(single), *corner_samples(manifest.inputs)]
        if manifest.commitments is not None:
            samples += [_nearer(manifest.inputs, s, by) for s in samples for by in _NEARER]
        for number, sample in enumerate(samples):
            row = [[to_felt(n) for n in e.quantise(sample[e.tensor.name])] for e in manifest.inputs]
            if manifest.context.limbs:
                row.append(manifest.context.encode(number))
            rows.append(row)
        if manifest.commitments is None:
            return rows
        # Of other inputs values may have no entry in the table, as those of a single lane may not.
        assert single.hints is not None
        own = [row[: len(manifest.inputs)] for row in rows]
        held = self.engine.sandbox.run(self.limits, inside, single.hints, own)
        if not held:
            raise CannotBatch("no input that was drawn has all its values in the table")
        return [rows[n] for n in held]

    def _compare(
        self,
        single: SingleLane,
        batched: _Batched,
        lanes: int,
        rows: list[list[Felts]],
    ) -> None:
        """Runs packs through the batched circuit's arithmetic: each lane must give the elements
        that the single-lane circuit gives."""
        offsets = [(at, _full_pack(rows, lanes, at)) for at in range(0, len(rows), lanes)]
        packs = [join(pack) for _, pack in offsets]
        settings = batched.layout.settings
        found = self._outputs(batched.manifest, batched.graph, settings, packs, batched.network)
        expected = self._expected(single, rows)
        for (at, _), outputs in zip(offsets, found, strict=True):
            for lane, got in enumerate(split(outputs, lanes)):
                if got != expected[(at + lane) % len(rows)]:
                    raise CircuitNotFaithful(
                        f"with {lanes} lanes, lane {lane} computes something else than the circuit"
                        " of one lane",
                        lanes=lanes,
                        lane=lane,
                    )

    def _expected(self, single: SingleLane, rows: list[list[Felts]]) -> list[list[Felts]]:
        """What the circuit of one lane answers."""
        return self._outputs(single.manifest, single.graph, single.settings, rows, single.hints)

    def _outputs(
        self,
        manifest: CircuitManifest,
        graph: bytes,
        settings: str,
        inputs: Sequence[list[Felts]],
        network: bytes | None,
    ) -> list[list[Felts]]:
        """The model's outputs, as elements."""
        outputs = []
        for result in self.engine.simulate(graph, settings, inputs, self.limits, network):
            if not isinstance(result, Simulated):
                raise result
            outputs.append(manifest.model_outputs(result.outputs))
        return outputs

    def _try(
        self,
        single: SingleLane,
        manifest: CircuitManifest,
        paths: dict[str, Path],
        rows: list[list[Felts]],
    ) -> ProofResult:
        """Proves and verifies one full pack, and looks for each lane's output in its place."""
        pack = _full_pack(rows, manifest.lanes, 0)
        proof = trial_proof(self.engine, manifest, paths, join(pack), self.limits)
        expected = self._expected(single, rows)
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


def _nearer(inputs: Sequence[InputEncoding], sample: Sample, by: float) -> Sample:
    """A sample whose values are so much closer to the accepted one that is nearest to zero."""
    made = {}
    for encoding in inputs:
        values = np.asarray(sample[encoding.tensor.name])
        least = min(max(encoding.lower, 0.0), encoding.upper)
        made[encoding.tensor.name] = (least + (values - least) * by).astype(values.dtype)
    return made


def _full_pack(rows: list[list[Felts]], lanes: int, at: int) -> list[list[Felts]]:
    """``lanes`` rows from number ``at`` on, beginning again at the end."""
    return [rows[(at + lane) % len(rows)] for lane in range(lanes)]


def _plan_json(single: SingleLane, batched: _Batched, lanes: int) -> bytes:
    """Why the circuit is as it is: whose arithmetic it has, and the shape chosen for its lanes."""
    layout = batched.layout
    return canonical_json(
        {
            "schema": 1,
            "lanes": lanes,
            "single_lane": single.manifest.circuit_id,
            "profile": single.manifest.profile.to_json(),
            "choice": {
                "variant": f"{single.plan['choice']['variant']}, {lanes} lanes",
                "recipe": batched.manifest.lowering,
                "args": asdict(layout.args),
                "rows": layout.rows,
                "assignments": layout.assignments,
                "predicted": batched.predicted.to_json(),
            },
            "accuracy": asdict(single.manifest.accuracy),
        }
    )
