"""A statement in words, and as a short summary for reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from circuits.format.commitments import Weights
from circuits.format.profile import Visibility
from prover.statement.predicate import OutputTensor, Predicate
from prover.statement.statement import Statement

_SHOWN = 8  # values of an output that a sentence lists

_INPUT = {
    Visibility.PUBLIC: "the public input of digest {input}",
    Visibility.PRIVATE_INPUT: "an input that stays private",
    Visibility.COMMITTED_INPUT: "the input of identity {identity}, which stays private",
    Visibility.HASHED_INPUT: "an input that stays private, whose Poseidon hash is shown",
    Visibility.HASHED_WEIGHTS: "the public input of digest {input}",
    Visibility.PRIVATE_WEIGHTS: "the public input of digest {input}",
}
_WEIGHTS = {
    Visibility.HASHED_WEIGHTS: " with weights whose Poseidon hash is shown",
    Visibility.PRIVATE_WEIGHTS: " with some weights, which the proof does not tie to that model",
}


def printable(text: str) -> str:
    """Untrusted text, safe to print on one line of a terminal.

    Escapes control characters, line ends and bidirectional marks: a name in a receipt must not be
    able to print "VERIFIED" on its own line.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def summary(statement: Statement) -> dict[str, Any]:
    """The statement's main fields, as JSON."""
    p = statement.predicate
    return {
        "receipt": p.receipt.id,
        "issued_at": p.issued_at,
        "issuer": p.issuer.domain,
        "model_sha256": p.model.sha256,
        "circuit": p.circuit.id,
        "vk_sha256": p.circuit.vk_sha256,
        **({"weights_identity": identity} if (identity := p.circuit.weights_identity) else {}),
        "engine": f"{p.proof_system.engine} {p.proof_system.version}",
        **({"lane": p.lane.model_dump(mode="json")} if p.lane else {}),
        "profile": {
            "visibility": p.profile.visibility.value,
            "soundness": p.profile.soundness.value,
        },
        "srs": {"origin": p.srs.origin, "logrows": p.srs.logrows},
        "input": p.input.commitment.model_dump(mode="json"),
        **({"input_identity": named} if (named := p.input.identity) else {}),
        "outputs": [
            {"name": o.name, "shape": o.shape, "values": list(o.values)} for o in p.outputs
        ],
        "context": p.context.model_dump(mode="json"),
        "measured_error": p.accuracy.this_input.model_dump(mode="json"),
    }


def in_words(statement: Statement) -> tuple[str, ...]:
    """A receipt's claim in sentences, which hold only as far as the checks passed."""
    p = statement.predicate
    said = [
        f"Model {_short(p.model.sha256)}, compiled to circuit"
        f" {printable(_short(p.circuit.id))} by"
        f" {printable(p.proof_system.engine)} {printable(p.proof_system.version)},"
        f" on {_input(p)}"
        f"{_weights(p)} gives:"
    ]
    said += [f"  {_output(o)}" for o in p.outputs]
    if p.lane is not None:
        said.append(
            f"The proof is shared by {p.lane.count} inputs; this statement is about lane"
            f" {p.lane.index} of it (counted from 0)."
        )
    if p.owner is not None:
        licence = f", under a licence of {len(p.owner.licence)} characters" * bool(p.owner.licence)
        said.append(f"{p.owner.signer} signed for the model as its owner{licence}.")
    said.append(error_in_words(p))
    said.append(_context(p))
    said.append(
        f"Issued by {p.issuer.domain!r} at {p.issued_at}, over the reference string"
        f" {_short(p.srs.sha256)} ({p.srs.origin})."
    )
    return tuple(said)


def _input(p: Predicate) -> str:
    digest, identity = _short(p.input.commitment.sha256), _short(p.input.identity or "")
    return _INPUT[p.profile.visibility].format(input=digest, identity=identity)


def _weights(p: Predicate) -> str:
    if p.profile.weights is Weights.SHOWN:
        return " with weights that come with the proof"
    if p.circuit.weights_identity is not None:
        return f" with private weights of identity {_short(p.circuit.weights_identity)}"
    return _WEIGHTS.get(p.profile.visibility, "")


def _output(output: OutputTensor) -> str:
    values = ", ".join(f"{v:.6g}" for v in output.values[:_SHOWN])
    more = len(output.values) - _SHOWN
    return f"{printable(output.name)} = [{values}{f', … {more} more' if more > 0 else ''}]"


def error_in_words(p: Predicate) -> str:
    """The error of the proved output."""
    error = p.accuracy.this_input
    share = ""
    if error.max_relative is not None:
        share = f", {100 * error.max_relative:.3g} % of the output's range"
    near = ""
    if error.near_thresholds:
        near = (
            f" {error.near_thresholds} of the values that the model compares are within one step of"
            " their threshold, where the circuit may decide differently."
        )
    other = "" if error.same_top1 is not False else " Its largest element is not the model's."
    return (
        f"Against {printable(error.reference)} on the original model, this output is off by at most"
        f" {error.max_absolute:.3g}{share}.{other}{near}"
    )


def _context(p: Predicate) -> str:
    c = p.context
    if c.limbs == 0:
        return f"Made in job {printable(c.job_id)}; the proof is not bound to a context."
    parts = [f"job {printable(c.job_id)}"]
    if c.nonce is not None:
        parts.append(f"nonce {c.nonce!r}")
    if c.chain_id is not None:
        parts.append(f"chain {c.chain_id}")
    if c.consumer is not None:
        parts.append(f"consumer {printable(c.consumer)}")
    if c.expires_at is not None:
        parts.append(f"valid until {_time(c.expires_at)}")
    return f"The proof is bound to {', '.join(parts)}; it is invalid in any other context."


def _time(seconds: int) -> str:
    """The time as text; an untrusted statement may contain one beyond the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:16]
