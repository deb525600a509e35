"""Why no circuit could be chosen, in words that say what came nearest and what would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from circuits.calibration.accuracy import FAR_OFF, Measured
from circuits.engine.port import Limits
from circuits.errors import ModelTooLarge, NoPlan
from circuits.evm.contract import MAX_CONTRACT_BYTES
from circuits.evm.errors import ContractTooLarge
from circuits.format.profile import Profile
from circuits.plan.lowered_candidates import Candidate, ContractSize, Rejected

_REASONS = 8


#: What narrows numbers that grow too wide.
_CALIBRATE = "Give calibration data like the inputs you will prove: its range is narrower."
_OWN_RANGES = (
    "Columns of different size share the range of their tensor. Give each an input of its own,"
    " which has its own range (skl2onnx: one entry of initial_types for each column), or scale the"
    " data before the model."
)


def no_plan(rejected: Sequence[Rejected], profile: Profile, *, calibrated: bool) -> NoPlan:
    """Nothing met the accuracy asked for, or nothing could be made at all."""
    narrower = _OWN_RANGES if calibrated else _CALIBRATE
    measured = [r for r in rejected if r.measured is not None]
    if not measured:
        first = rejected[0].reason if rejected else "the engine refused every candidate"
        return NoPlan(
            f"no circuit for this model could be made: {first}",
            advice=narrower
            if "wide a table" in first
            else "Write the operator that is named with simpler ones before export.",
            reasons=sorted({r.reason for r in rejected})[:_REASONS],
        )
    exact = [r for r in measured if r.measured and r.measured.meets(profile)]
    if exact:
        return NoPlan(
            f"{exact[0].label} is exact enough, but {exact[0].reason}",
            advice=narrower,
            reasons=sorted({r.reason for r in exact})[:_REASONS],
        )
    best = min(measured, key=lambda r: r.measured.max_error if r.measured else 1.0)
    assert best.measured is not None
    return NoPlan(
        f"no candidate meets the accuracy asked for (error at most {profile.max_error:.3%} of the"
        f" output's range, same top answer on {profile.agreement:.1%}); the best, {best.label},"
        f" reached {best.measured.max_error:.3%} and {best.measured.agreement:.1%}",
        advice=f"{_allow(best.measured, profile)}."
        if calibrated
        else "Allow a larger error, or give calibration data like the inputs you will prove.",
        best=asdict(best.measured),
    )


def _allow(measured: Measured, profile: Profile) -> str:
    """What such a circuit needs, with a little more: other samples may fare worse."""
    needed = []
    if measured.max_error > profile.max_error:
        allowed = f" {math.ceil(1050 * measured.max_error) / 1000:g}"
        needed.append(
            f"a larger error (--tolerance{allowed if measured.max_error < FAR_OFF else ''})"
        )
    if measured.agreement < profile.agreement:
        share = math.floor(100 * measured.agreement) / 100
        needed.append(
            f"other top answers (--agreement {share:g}, or 0 if the largest entry of an output is"
            " not a decision)"
        )
    return f"Allow {' and '.join(needed)}"


def too_large(
    ranked: Sequence[Candidate],
    rejected: Sequence[Rejected],
    limits: Limits,
    profile: Profile,
) -> ModelTooLarge:
    """Nothing that is exact enough fits the memory allowed."""
    if not ranked:
        return ModelTooLarge("the model needs more than 2^26 rows in every shape tried")
    least = min(ranked, key=lambda r: r.predicted.peak_bytes)
    p, gib = least.predicted, 1 << 30
    advice = "Raise ZKML_ENGINE_MEMORY_MB on a larger machine, or export a smaller model."
    missed = [r.measured for r in rejected if r.measured and not r.measured.meets(profile)]
    near = min(missed, key=lambda measured: measured.max_error, default=None)
    if near is not None and near.max_error < FAR_OFF:
        advice = (
            f"{_allow(near, profile)}: a smaller one is off by {near.max_error:.3%} and has"
            f" {near.agreement:.1%} of the top answers. {advice}"
        )
    return ModelTooLarge(
        f"the smallest circuit that is exact enough (k = {least.args.logrows}) needs about"
        f" {p.peak_bytes / gib:.1f} GiB and {p.prove_s:.0f} s; the limit is"
        f" {limits.memory_bytes / gib:.1f} GiB",
        advice=advice,
        logrows=least.args.logrows,
        predicted=p.to_json(),
        limit_bytes=limits.memory_bytes,
    )


def too_large_for_chains(sizes: Sequence[ContractSize]) -> ContractTooLarge:
    """No candidate's verifier contract is small enough."""
    least = min(sizes, key=lambda s: s.size)
    return ContractTooLarge(
        f"the smallest verifier contract of {len(sizes)} kinds of circuit tried has"
        f" {least.size:,} bytes; a chain takes {MAX_CONTRACT_BYTES:,} at most (EIP-170)",
        contract_bytes=least.size,
        limit_bytes=MAX_CONTRACT_BYTES,
        compiled=least.compiled,
    )
