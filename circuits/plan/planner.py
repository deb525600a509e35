"""The planner: variants that are exact enough, in every sensible shape, the cheapest one chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from circuits.calibration.accuracy import output_range
from circuits.calibration.reference import run_reference
from circuits.calibration.samples import Sample, Samples, answered
from circuits.cost.model import CostModel
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits, RunArgs
from circuits.errors import EngineError, NoPlan, ProfileContradiction
from circuits.evm.solc import Solc
from circuits.format.manifest import Accuracy
from circuits.format.profile import Profile, Soundness, Target
from circuits.frontend.labels import undecided
from circuits.lower.graphs import FloatGraph, LoweringTask
from circuits.plan.committed import committed, committed_shape, least_shape
from circuits.plan.contract import Contracts
from circuits.plan.effort import Effort, SrsOf, time_shape, worth_timing
from circuits.plan.fixed_point import fixed_point
from circuits.plan.graphs import labels_of, likely_shapes, thresholds
from circuits.plan.integers import integers
from circuits.plan.lowered_candidates import (
    Candidate,
    LoweredCandidate,
    Measurement,
    Rejected,
    Task,
)
from circuits.plan.plan import Plan
from circuits.plan.refusals import no_plan, too_large, too_large_for_chains
from circuits.rewrite.pipeline import TOLERANCE

#: How many times as much as the cheapest candidate one may cost that hides what tables hold, and
#: how many seconds it may take in any case.
_SECRECY_PAYS, _SECRECY_S = 4.0, 2.0
#: How many times as much as a plain circuit a committed one may cost: inputs of a batch share its
#: weights.
_COMMITTED_PAYS = 2.0
_ENOUGH_HEADROOM_BITS = 8
#: A measured cost replaces the predicted choice only below this share of its measured cost.
_CLEARLY = 0.95
#: Kinds of circuit whose contracts are measured at most: they come by proof length, which grows
#: with the contract, so what follows would be larger still.
_CONTRACTS_TRIED = 6
#: Numbers from here on are told by their magnitude.
_COUNTABLE = 10**12


def plan_circuit(
    engine: EzklEngine,
    graph: FloatGraph,
    samples: Samples,
    profile: Profile,
    limits: Limits,
    *,
    effort: Effort = Effort.FAST,
    srs: SrsOf | None = None,
    cost_model: CostModel | None = None,
    solc: Solc | None = None,
    on_progress: Callable[[str], None] | None = None,
    before_plain: Callable[[], None] = lambda: None,
) -> Plan:
    """Chooses a circuit for a model and a profile.

    ``graph`` is the model after the float passes, ``samples`` what accuracy and ranges come
    from; ``srs`` is needed for every effort but ``fast``, and for the target ``evm``, whose
    contracts ``solc`` compiles (without it their size is predicted). ``before_plain`` is called
    where no circuit with committed hints serves, and may raise. Raises ``NoPlan`` when nothing
    meets the profile's accuracy, ``ModelTooLarge`` when nothing fits ``limits.memory_bytes``,
    ``ContractTooLarge`` when no contract is small enough and ``ProfileContradiction``.
    """
    if profile.soundness is Soundness.FREIVALDS:
        raise ProfileContradiction(
            "no circuit has Freivalds products: whoever makes a proof could choose the outputs"
        )
    if profile.must_commit and not profile.may_commit:
        raise ProfileContradiction(
            "committed hints go with public, private and committed inputs, standard soundness and,"
            " where the weights are shown or private or the input is committed to, every target but"
            " evm",
            advice="Leave out --argument, --weights and --input-scale, or --visibility, --soundness"
            " and --target.",
        )
    search = _Search(cost_model or CostModel.bundled(), profile.target)
    task = _task(engine, graph, samples, profile, limits, search, on_progress)
    plain = -math.inf  # what a committed circuit may cost for no other to be looked for
    if profile.may_commit:
        plain = math.inf if profile.must_commit else _plain_cost(task, graph, search)
        plain *= _COMMITTED_PAYS
        if plain > search.costs.predict(least_shape(profile)).of(profile.target):
            search.add_all(task, committed(task))
    if not profile.must_commit and not search.fits_for(plain, limits):
        if not search.ranked:
            before_plain()
        known = len(search.ranked)
        search.add_all(task, integers(task))
        # Integers decide comparisons as the model does; fixed point does not.
        if len(search.ranked) == known or not _compares(graph):
            search.add_all(task, fixed_point(task))
    if not search.ranked:
        raise no_plan(search.rejected, profile, calibrated=samples.calibrated)
    fitting = [r for r in search.ranked if r.predicted.peak_bytes <= limits.memory_bytes]
    if not fitting:
        raise too_large(search.ranked, search.rejected, limits, profile)
    fitting = _secret_first(fitting, profile.target)
    fitting.sort(key=lambda r: _rank(r, profile.target))
    if srs is not None:
        fitting = _time_best(task, fitting, effort, srs)
    contracts = None
    if profile.target is Target.EVM:
        assert srs is not None, "a contract's size takes keys, and keys take an SRS"
        contracts = Contracts(engine, srs, solc, limits)
    choice = _first_that_holds(task, fitting, contracts)
    near = _near_thresholds(task, graph, choice.variant)
    measured = choice.variant.measured
    return Plan(
        choice=choice,
        ranked=(
            choice,
            *(_sized(r, contracts) for r in fitting if r.args != choice.args),
        ),
        rejected=tuple(search.rejected),
        profile=profile,
        effort=effort,
        accuracy=Accuracy(**asdict(measured), calibrated=samples.calibrated),
        reference=graph.reference,
        trial=task.samples.held_out[0],
        near_thresholds=near[0] if near else None,
        near_graph=near[1] if near else None,
        output_ranges=tuple(
            output_range(np.stack([sample[i] for sample in task.reference["held_out"]]))
            for i in range(len(graph.signature.outputs))
        ),
        cost_model=search.costs,
    )


def _plain_cost(task: Task, graph: FloatGraph, search: _Search) -> float:
    """About what a circuit without committed hints costs: whatever it does, where its input is
    hidden, which it hides less well."""
    if not task.profile.visibility.shows_input:
        return math.inf
    likely = task.engine.sandbox.run(task.limits, likely_shapes, graph, task.lowering)
    costs = (search.costs.predict(p).of(task.profile.target) for p in likely)
    return min(costs, default=math.inf)


def _secret_first(found: list[Candidate], target: Target) -> list[Candidate]:
    """Only the salted candidates, where one is not much more expensive than the others: secrecy is
    what the profile asks for, and of the others a guess of the input can be confirmed."""
    salted = [r for r in found if r.variant.salt is not None]
    if not salted:
        return found
    best, least = min(salted, key=lambda r: r.cost(target)), min(r.cost(target) for r in found)
    pays = best.cost(target) <= _SECRECY_PAYS * least or best.predicted.prove_s <= _SECRECY_S
    return salted if pays else found


class _Search:
    """What has been found so far: candidates in their layouts, and what was rejected."""

    def __init__(self, costs: CostModel, target: Target) -> None:
        self.costs, self.target = costs, target
        self.ranked: list[Candidate] = []
        self.rejected: list[Rejected] = []

    def add_all(self, task: Task, path: Iterable[LoweredCandidate | Rejected]) -> None:
        """Adds every candidate of one lowering path."""
        for found in path:
            self.add(task, found)

    def add(self, task: Task, found: LoweredCandidate | Rejected) -> None:
        if isinstance(found, Rejected):
            self.rejected.append(found)
            return
        if found.commitments is not None:
            layout = [committed_shape(task.profile, found)]
        else:
            layout = task.layouts.shapes(
                found.onnx, found.args, found.bound_bits, found.lookup_range, found.salt
            )
        self.ranked += [
            Candidate(variant=found, layout=p, predicted=self.costs.predict(p)) for p in layout
        ]
        if not layout:
            self.rejected.append(
                Rejected(
                    label=found.label,
                    reason=_shapeless(found),
                    measured=found.measured,
                )
            )

    def fits_for(self, cost: float, limits: Limits) -> bool:
        """Whether one of those found fits, and costs no more than this."""
        return any(
            r.cost(self.target) <= cost and r.predicted.peak_bytes <= limits.memory_bytes
            for r in self.ranked
        )

    def dominated(self, task: Task, onnx: bytes, args: RunArgs) -> bool:
        """Whether a graph cannot beat the best found, however small its numbers turn out."""
        if not self.ranked:
            return False
        best = min(r.cost(self.target) for r in self.ranked)
        # A product of two numbers with s fractional bits has 2s of them, and some before the point.
        bits = max(2, args.input_scale + args.param_scale)
        least = [
            self.costs.predict(p).of(self.target) for p in task.layouts.cheapest(onnx, args, bits)
        ]
        return bool(least) and min(least) >= best


def _shapeless(found: LoweredCandidate) -> str:
    """Why the engine has no shape for a variant: numbers too wide, or tables too long."""
    wide = f"its numbers need {found.bound_bits} bits"
    if found.lookup_range is not None:
        low, high = found.lookup_range
        entries = high - low + 1
        told = f"{entries:,}" if entries < _COUNTABLE else f"some 10^{len(str(entries)) - 1}"
        wide += f" and its tables {told} entries"
    return f"{wide}, more than any shape holds"


def _time_best(task: Task, ranked: list[Candidate], effort: Effort, srs: SrsOf) -> list[Candidate]:
    """The same candidates, the best of them timed and ranked by that, the others after them.

    Shapes of equal predicted cost differ in nothing that costs, so only the first of them is
    timed. A choice that is not clearly faster than the predicted one does not replace it, so that
    noise decides as little as can be.
    """
    target = task.profile.target
    firsts = [r for i, r in enumerate(ranked) if not i or r.predicted != ranked[i - 1].predicted]
    costs, proving = [r.cost(target) for r in firsts], [r.predicted.prove_s for r in firsts]
    timed: list[Candidate] = []
    for index in worth_timing(costs, proving, effort):
        candidate = firsts[index]
        sized = _at_own_size(task, candidate)
        if sized is None:
            continue
        task.say(f"timing k = {sized.args.logrows}")
        result = time_shape(task.engine, sized, srs, task.limits)
        if isinstance(result, Measurement):
            timed.append(replace(sized, timed=result))
    if not timed:
        return ranked
    first = timed[0].cost(target)
    timed.sort(key=lambda r: r.cost(target) if r.cost(target) < _CLEARLY * first else first)
    done = [(r.variant.label, r.args) for r in timed]
    rest = [r for r in ranked if (r.variant.label, r.args) not in done]
    return [*timed, *rest]


def _at_own_size(task: Task, draft: Candidate) -> Candidate | None:
    """A candidate measured at its own k, ready to be built; None when it does not fit after all."""
    layout = task.layouts.at_own_size(draft.variant.onnx, draft.layout)
    if layout is None:
        return None
    return replace(draft, layout=layout)


def _first_that_holds(
    task: Task, ranked: Sequence[Candidate], contracts: Contracts | None
) -> Candidate:
    """The best shape in which every sample seen, corners included, runs through, and whose
    contract, where there is to be one, is small enough.

    Widths were found on some of the samples only; what is chosen is tried on all of them.
    """
    for draft in ranked:
        if contracts is not None and _known_too_large(contracts, draft):
            continue
        candidate = draft if draft.timed else _at_own_size(task, draft)
        if candidate is None or not _holds(task, candidate):
            continue
        if contracts is None:
            return candidate
        task.say(f"verifier contract, k = {candidate.args.logrows}")
        size = contracts.measure(candidate)
        if size.deployable:
            return replace(candidate, contract=size)
        if len(contracts.measured) == _CONTRACTS_TRIED:
            break
    if contracts is not None and contracts.measured:
        raise too_large_for_chains(contracts.measured)
    raise NoPlan("in no shape did every calibration sample run through the circuit")


def _holds(task: Task, candidate: Candidate) -> bool:
    variant = candidate.variant
    results = task.engine.simulate(
        variant.onnx, candidate.layout.settings, variant.samples, task.limits, variant.network
    )
    return not any(isinstance(r, EngineError) for r in results)


def _known_too_large(contracts: Contracts, draft: Candidate) -> bool:
    known = contracts.known(draft)
    return known is not None and not known.deployable


def _sized(ranked: Candidate, contracts: Contracts | None) -> Candidate:
    if contracts is None:
        return ranked
    return replace(ranked, contract=contracts.known(ranked))


def _task(
    engine: EzklEngine,
    graph: FloatGraph,
    samples: Samples,
    profile: Profile,
    limits: Limits,
    search: _Search,
    on_progress: Callable[[str], None] | None,
) -> Task:
    def reference(part: Sequence[Sample]) -> Any:
        def ask(some: Sequence[Sample]) -> Any:
            return engine.sandbox.run(limits, run_reference, graph.reference, list(some))

        return answered(part, ask, None if samples.calibrated else samples.ranges)

    signs = engine.sandbox.run(limits, labels_of, graph.reference)
    plan, plan_answers = _decided(reference(samples.plan), signs)
    held_out, held_out_answers = _decided(reference(samples.held_out), signs)
    answered_samples = replace(samples, plan=plan, held_out=held_out)
    return Task(
        engine=engine,
        limits=limits,
        graph=graph,
        lowering=LoweringTask.of(profile, answered_samples, graph.signature),
        samples=answered_samples,
        reference={"plan": plan_answers, "held_out": held_out_answers},
        profile=profile,
        dominated=search.dominated,
        on_progress=on_progress,
    )


def _decided(
    answered: tuple[tuple[Sample, ...], Any], signs: Sequence[tuple[int, int]]
) -> tuple[tuple[Sample, ...], Any]:
    """The samples, with their answers, whose labels are more than the rounding of a score that is
    next to zero: no circuit can be asked for that. All of them where none is."""
    samples, answers = answered
    near = undecided(answers, signs, TOLERANCE)
    kept = [n for n, own in enumerate(near) if not any(tied.any() for tied in own)]
    kept = kept or [*range(len(samples))]
    return tuple(samples[n] for n in kept), [answers[n] for n in kept]


def _compares(graph: FloatGraph) -> bool:
    """Whether the graph may hold a comparison that is no equality."""
    return b"Less" in graph.plain or b"Greater" in graph.plain


def _near_thresholds(
    task: Task, graph: FloatGraph, variant: LoweredCandidate
) -> tuple[dict[str, Any], bytes] | None:
    if not _compares(graph):
        return None
    return task.engine.sandbox.run(
        task.limits,
        thresholds,
        graph,
        [*task.samples.plan, *task.samples.held_out],
        task.lowering.accepted,
        [e.scale for e in variant.inputs],
        variant.recipe,
        task.profile.weights,
    )


def _rank(ranked: Candidate, target: Target) -> tuple[float, ...]:
    """Cost first; among equals the more exact, then the roomier, so equal runs choose alike."""
    args, variant = ranked.args, ranked.variant
    return (
        ranked.predicted.of(target),
        ranked.predicted.prove_s,
        variant.measured.max_error,
        -min(ranked.headroom_bits, _ENOUGH_HEADROOM_BITS),
        ranked.layout.assignments,
        args.logrows,
        args.num_inner_cols,
    )
