"""Checks (31) to (34): the proof, its settings, its reference string and its key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuits.engine.proof_json import EzklProof
from circuits.format.digests import sha256
from circuits.format.field import digits_end
from circuits.format.hidden import hides
from circuits.format.manifest import Role
from circuits.format.profile import Soundness
from circuits.srs import verify_part
from prover.statement.commitment import parse_input_json
from prover.verify.checks.engine_parts import engine_parts
from prover.verify.checks.evidence import (
    Evidence,
    Rebuilt,
    refuse,
    skip,
    warn,
)
from prover.verify.checks.ezkl_settings import PUBLIC, EzklSettings

#: Differences allowed between onnxruntime's outputs on two machines: as shares of the element, of
#: the output's typical element (or of its width, if that is less), and of the circuit's own error,
#: which is mostly far larger.
_OF_ELEMENT, _OF_TYPICAL, _OF_ERROR = 1e-4, 1e-6, 1e-2
#: How many times the tolerance an output may be off for its width on random inputs, which is
#: another than on the samples that its circuit was planned with.
_FAR = 4
#: Visibilities that put values among the instances.
_TENSORS = frozenset(Role) - {Role.INPUT_HASH, Role.WEIGHTS_HASH}


# (31)
def proof(e: Evidence) -> str:
    e.proof.value  # noqa: B018 - only a readable proof goes to the engine
    parts = engine_parts(e.bundle.value)
    if not e.memo("verified", lambda: e.engine.verify(*parts, e.limits), *parts):
        refuse(f"{e.engine.name} {e.engine.version} does not accept the proof")
    return f"accepted by {e.engine.name} {e.engine.version}"


# (32)
def settings_agree(e: Evidence) -> str:
    manifest = e.manifest.value
    settings = EzklSettings.parse(e.bundle.value.settings)
    visibility = manifest.profile.visibility
    public = [s for s in manifest.layout if s.role in _TENSORS]
    facts: dict[str, tuple[object, object]] = {
        "version": (settings.version, manifest.engine_version),
        "logrows": (settings.logrows, manifest.srs.logrows),
        "input visibility": (settings.input_visibility, manifest.profile.engine_input),
        "weight visibility": (settings.param_visibility, visibility.engine_params),
        "output visibility": (settings.output_visibility, PUBLIC),
        "instances": (settings.sizes, [s.count for s in public]),
        "hashes": (settings.hashes, len(manifest.layout) - len(public)),
        "cells of Freivalds products": (settings.freivalds_cells, 0),
    }
    weights = manifest.hidden.weights if manifest.hidden else None
    if (claim := manifest.commitments) is not None:
        if not manifest.profile.may_commit:
            refuse("the circuit has committed hints, which its profile cannot bind")
        facts["committed elements"] = (settings.committed, claim.sizes)
        facts["range checks and other arguments"] = (settings.other_lookups, 0)
        facts["tables"] = (sorted(settings.tables, key=str), sorted(claim.tables, key=str))
    end = digits_end(settings.decomp_base, settings.decomp_legs)
    if manifest.profile != manifest.own_profile:
        refuse("the manifest's profile and commitments disagree")
    if manifest.profile.soundness is Soundness.CONSERVATIVE:
        facts["range checks left out"] = (settings.ignore_range_checks, False)
    if weights is not None:
        facts["largest weight accepted"] = (end - 1, weights)
        # The engine range-checks constants only where it does not check inputs and outputs.
        facts["range checks of weights"] = (settings.ignore_range_checks, True)
    if (salt := manifest.salt) is not None:
        inputs = len(manifest.inputs) + (manifest.context.limbs > 0) + salt.tables
        facts["graph inputs"] = (len(settings.input_scales), inputs)
        facts["salted tables"] = (len(settings.tables), salt.tables)
        facts["look-ups without salt"] = (settings.other_lookups, 0)
        if not hides(salt, settings.lookup_range, settings.logrows, settings.inner_columns):
            refuse("there is too little salt to hide the contents of the circuit's tables")
    digits = (
        settings.decomp_base,
        settings.decomp_legs,
        settings.lookup_range,
        settings.logrows,
    )
    if manifest.hints is not None and not manifest.hints.bind(*digits):
        refuse("digits or tables are too wide to bind the circuit's hints")
    for name, (found, wanted) in facts.items():
        if found != wanted:
            refuse(f"{name}: the settings have {found!r}, the manifest {wanted!r}")
    scales = [i.scale for i in manifest.inputs]
    if claim is not None:  # one tensor has all of the model's inputs, as integers
        scales = [0] * len(settings.input_scales)
    _scales("input", settings.input_scales, scales)
    last = len(settings.output_scales) - (manifest.residues > 0)  # residues come behind
    outputs = settings.output_scales[last - len(manifest.outputs) : last]
    _scales("output", outputs, [o.scale for o in manifest.outputs])
    if visibility.engine_params != "fixed" and weights is None:
        warn(
            "the circuit, of an older compiler, accepts any field elements as weights, so any"
            " output can be proved"
        )
    return f"k = {settings.logrows}, visibilities, soundness, scales and instance counts agree"


def _scales(what: str, found: Sequence[int], wanted: Sequence[int]) -> None:
    """A graph lowered to integers has scale 0 in the engine. The manifest's scale then comes from
    the lowering, and only a rebuild can check it."""
    for scale, encoding in zip(found, wanted, strict=False):
        if scale not in (0, encoding):
            refuse(f"{what} scale: the settings have {scale}, the manifest {encoding}")
    if len(found) < len(wanted):
        refuse(f"the settings have {len(found)} {what} scales, the manifest {len(wanted)}")


# (33)
def srs_pinned(e: Evidence) -> str:
    part = e.bundle.value.srs_part
    verify_part.check(part)
    ceremony = verify_part.ceremony(part)
    origin = e.predicate.srs.origin
    public = ceremony is verify_part.Ceremony.PUBLIC
    if origin == "public-ceremony" and not public:
        refuse("labelled public ceremony, but its s·G2 is another")
    if origin == "insecure-development" and public:
        refuse("labelled insecure-development, but its s·G2 is the public ceremony's")
    return f"{origin}: {'equal to the pinned constants' if public else 'not the pinned constants'}"


# (34)
def rebuild(e: Evidence) -> str:
    if e.rebuild is None:
        skip("not requested: that the key belongs to the model depends on the signature")
    model = e.bundle.value.model if e.model is None else e.model
    if model is None:
        refuse("a rebuild needs the ONNX model, given or in the bundle")
    if sha256(model) != e.predicate.model.sha256:
        refuse("the given model is not the one that the statement names")
    manifest = e.manifest.value
    made = e.rebuild(model, manifest, e.bundle.value.settings, manifest.srs)
    if made.vk != e.bundle.value.vk:
        refuse(f"the model's verifying key is another one, {sha256(made.vk)}")
    if made.srs_part != e.bundle.value.srs_part:
        refuse("the proof was checked under another reference string than the key was rebuilt over")
    _no_byte_appended(e)
    _as_exact_as_stated(e, made)
    if manifest.weights_identity is not None:
        warn(
            "the same key, rebuilt: but it is the architecture's, and that the identity's weights"
            " are the model's depends on the signature"
        )
    if manifest.commitments is not None:
        return (
            "the verifying key, rebuilt from the model and the recipe's steps, is the same bytes;"
            " the accuracy of these steps was checked on random inputs only"
        )
    return "the verifying key, rebuilt from the model, is the same bytes"


def _as_exact_as_stated(e: Evidence, made: Rebuilt) -> None:
    """Runs the model where the input is known: its output may not be further from the proved one
    than the statement says, nor have another largest element unless the statement says so. (The
    issuer chooses a recipe's steps.) An output that is far off for its own width is a warning."""
    document, shows = e.bundle.value.input, e.manifest.value.profile.visibility.shows_input
    inputs = e.inputs
    if inputs is None and shows and document is not None:
        inputs = parse_input_json(document, e.manifest.value.inputs)
    if inputs is None or made.answer is None:
        return
    stated = e.predicate.accuracy.this_input
    others, far = [], []
    for output, (answer, width) in zip(e.predicate.outputs, made.answer(inputs), strict=True):
        wanted = np.asarray(answer, dtype=np.float64)
        proved = np.asarray(output.values, dtype=np.float64).reshape(wanted.shape)
        if not wanted.size:
            continue
        if not np.all(np.isfinite(wanted)):
            refuse(f"onnxruntime's {output.name!r} for this input holds what is no number")
        # Most elements may be masked with a large number, which says nothing of the others.
        typical = min(float(np.median(np.abs(wanted))), width)
        noise = _OF_ELEMENT * np.abs(wanted) + _OF_TYPICAL * typical
        off = np.abs(wanted - proved)
        if not np.all(off <= (1 + _OF_ERROR) * stated.max_absolute + noise):
            refuse(
                f"onnxruntime's {output.name!r} for this input is {off.max():.3g} away; the"
                f" statement says {stated.max_absolute:.3g}"
            )
        if off.max() > _FAR * e.manifest.value.profile.max_error * width:
            far.append(f"{output.name!r} is {100 * off.max() / width:.3g} % of its range off")
        if wanted.ndim and wanted.shape[-1] > 1:
            chosen = np.take_along_axis(wanted + noise, proved.argmax(-1)[..., None], -1)[..., 0]
            if not np.all(chosen >= (wanted - noise).max(-1)):
                others.append(output.name)
    if others and stated.same_top1:
        refuse(
            f"the largest element of {others[0]!r} is not onnxruntime's; the statement says it is"
        )
    if others and e.manifest.value.profile.agreement > 0:
        warn(f"the largest element of {others[0]!r} is not the model's, as the statement says")
    if far:
        warn(f"{far[0]}, measured by the model's own answers to random inputs")


def _no_byte_appended(e: Evidence) -> None:
    """The engine ignores bytes after a proof, and so far only the manifest states its length."""
    bundle, proof = e.bundle.value, e.proof.value
    shorter = EzklProof(instances=proof.instances, proof=proof.proof[:-1]).to_bytes()
    if e.engine.verify(shorter, bundle.settings, bundle.vk, bundle.srs_part, e.limits):
        refuse("a shorter proof is accepted too: the proof has appended bytes")
