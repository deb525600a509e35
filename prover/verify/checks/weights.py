"""Checks (38) to (40): weights that are not in the circuit are those of the claim, and an input
that is not shown is the one that its identity names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuits.format.commitments import Commitments, Weights, place_in, value_of
from circuits.format.digests import sha256
from circuits.format.manifest import CircuitManifest, Role
from circuits.srs import verify_part
from circuits.srs.identity import Comparison
from circuits.srs.input_identity import Evaluated
from prover.statement.statement import named_in
from prover.verify.checks.evidence import Evidence, refuse, skip, warn
from prover.verify.checks.ezkl_settings import EzklSettings
from prover.verify.checks.instances import binding_of, challenges_of, segment

if TYPE_CHECKING:
    from circuits.committed.shown import NetworkFacts

#: Of private weights: far more than a prover has time for, and few enough for a verifier.
_MOST_COLUMNS = 64


# (38)
def weights(e: Evidence) -> str:
    manifest, data = e.manifest.value, e.bundle.value.weights
    claim = manifest.commitments
    if claim is None or claim.weights is not Weights.SHOWN:
        if data is not None:
            refuse("the bundle carries weights, but its profile does not show them")
        skip("no weights are shown")
    if data is None:
        refuse("the bundle lacks the weights, which are not in the circuit")
    digest = e.memo("sha256", lambda: sha256(data), data)
    if not digest == claim.network_sha256 == manifest.files.get("hints"):
        refuse("the bundle's weights do not match the manifest")
    facts = e.engine.network_facts(data, challenges_of(e), e.limits)
    _fits(facts, claim, manifest, EzklSettings.parse(e.bundle.value.settings))
    if segment(e, Role.WEIGHTS_EVALUATION, "weights") != [facts.evaluation]:
        refuse("the proof is about other weights than the bundle's")
    detail = f"{facts.folded} elements folded from the weights are the proof's; {_of_model(e)}"
    derived = e.derive is not None and (e.model or e.bundle.value.model) is not None
    if derived and e.rebuild is None:
        # The graph has constants (steps, pieces of functions) that do not follow from the weights.
        warn(f"{detail}; only a rebuild (34) shows that the key is this graph's")
    return detail


# (39)
def identity(e: Evidence) -> str:
    claim, argument = e.manifest.value.commitments, e.bundle.value.identity
    if claim is None or claim.private is None or argument is None:
        skip("the weights are not private")
    binding, (committed,) = binding_of(e)
    verify_part.check(binding.srs_part)
    logrows = e.manifest.value.srs.logrows
    comparison = Comparison.of(binding, committed, logrows)
    if len(comparison.points) > _MOST_COLUMNS:
        refuse(f"private weights take {len(comparison.points)} columns")
    fault = e.engine.identity_fault(comparison, argument, binding.srs_part, e.limits)
    if fault is not None:
        refuse(fault)
    named = e.predicate.circuit.weights_identity
    return f"{len(comparison.points)} commitment(s) are to the weights of identity {named}"


# (40)
def input_identity(e: Evidence) -> str:
    manifest, argument = e.manifest.value, e.bundle.value.input_identity
    claim = manifest.commitments
    if claim is None or claim.blinding is None or argument is None:
        skip("no identity names the input")
    part = e.bundle.value.srs_part
    verify_part.check(part)
    named = named_in(manifest, argument, part)
    if named != e.predicate.input.identity:
        refuse(f"the argument is about the input of identity {named}")
    place = place_in(challenges_of(e))
    (shown,) = segment(e, Role.EVALUATION, manifest.inputs[0].tensor.name)
    count = sum(i.tensor.size for i in manifest.inputs)
    known = Evaluated(elements=count, place=place, value=value_of(claim, place, shown))
    fault = e.engine.input_fault(known, argument, part, e.limits)
    if fault is not None:
        refuse(fault)
    return f"what the circuit evaluates of its {count} elements is the input of identity {named}"


def _of_model(e: Evidence) -> str:
    model = e.bundle.value.model if e.model is None else e.model
    if model is None or e.derive is None:
        return "that they are the model's depends on the signature, or on a rebuild"
    if sha256(model) != e.predicate.model.sha256:
        refuse("the given model is not the one that the statement names")
    e.derive(model, e.manifest.value)
    return "the weights derived from the model are the same"


def _fits(
    facts: NetworkFacts, claim: Commitments, manifest: CircuitManifest, settings: EzklSettings
) -> None:
    """Checks that the network fits this manifest and these settings and exceeds no bound."""
    from circuits.committed.arithmetic import LARGEST_SUM

    if not facts.canonical:
        refuse("the weights are not in canonical form")
    if facts.largest_sum >= LARGEST_SUM:
        refuse("a sum of these weights could exceed the circuit's bounds")
    found: dict[str, tuple[object, object]] = {
        "weights": (facts.weights, claim.weights),
        "visible input": (facts.shown, manifest.profile.visibility.shows_input),
        "lanes": (facts.lanes, claim.lanes),
        "committed elements": (facts.elements, claim.elements),
        "folded elements": (facts.folded, claim.folded),
        "inputs": (facts.inputs, tuple(i.tensor.size for i in manifest.inputs)),
        "outputs": (facts.outputs, tuple(o.tensor.size for o in manifest.outputs)),
        "input scales": (facts.input_scales, tuple(i.scale for i in manifest.inputs)),
        "output scales": (facts.output_scales, tuple(o.scale for o in manifest.outputs)),
        "logrows": (facts.logrows, manifest.srs.logrows),
        "table": (facts.table, settings.lookup_range),
        "function": (facts.function, claim.function),
        "largest outputs": (facts.largest_outputs, claim.output_bounds),
    }
    for name, (has, wanted) in found.items():
        if has != wanted:
            refuse(f"{name}: the network has {has!r}, manifest and settings {wanted!r}")
    for given, (low, high) in zip(manifest.inputs, facts.input_bounds, strict=True):
        ends = given.lower * 2.0**given.scale, given.upper * 2.0**given.scale
        if not (low <= ends[0] and ends[1] <= high):
            refuse(f"the range of input {given.tensor.name!r} exceeds what these weights allow")
