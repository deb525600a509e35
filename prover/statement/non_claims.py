"""Non-claims: what a receipt does not claim, listed in each receipt.

A non-claim has a stable id and a wording. Verifiers compare the ids; the wording may change without
invalidating older receipts.
"""

from __future__ import annotations

from circuits.format.manifest import CircuitManifest
from circuits.format.profile import Soundness, Visibility

_ALWAYS = ("model-quality", "input-truth", "exactness", "issuer-word", "proof-system")
_BY_VISIBILITY = {
    Visibility.PUBLIC: "secrecy",
    Visibility.PRIVATE_INPUT: "which-input",
    Visibility.COMMITTED_INPUT: "input-identity",
    Visibility.HASHED_INPUT: "input-secrecy",
    Visibility.HASHED_WEIGHTS: "hashed-weights",
    Visibility.PRIVATE_WEIGHTS: "which-weights",
}
#: Non-claims of tables without salt. (A guess of an unsalted hash can be confirmed anyway.)
_GUESSED = {
    Visibility.PRIVATE_INPUT: ("guessed-input",),
    Visibility.PRIVATE_WEIGHTS: ("guessed-weights",),
}

TEXTS = {
    "model-quality": "That the model is accurate, fair, safe or fit for any purpose.",
    "input-truth": "That the input is true, or was obtained in any particular way.",
    "exactness": "That the circuit equals the model exactly: the proof is of the circuit's own"
    " arithmetic, whose distance from the model was measured on the samples stated, not proved.",
    "issuer-word": "That the time of issue, the costs, the measured errors and the issuer's name"
    " are right: those rest on the signature alone.",
    "proof-system": "That the proof system is free of mistakes: soundness rests on EZKL and Halo2"
    " as released.",
    "secrecy": "Secrecy: anybody can read input and output. A guess of the weights can be"
    " confirmed; where a proof shows weights or hidden layers, nothing has to be guessed.",
    "which-input": "Which input it was: only that the issuer knew one that gives this output. The"
    " service that proved it saw the input.",
    "input-identity": "Whose or which input the identity names: that is the word of whoever"
    " published it, or shown by an owner who opens it. The service that proved it saw the input."
    " Proofs of one identity are about one input, as anybody can see.",
    "input-secrecy": "Secrecy of an input that can be guessed: its hash is unsalted. The service"
    " that proved it saw the input.",
    "guessed-input": "That an input which can be guessed stays hidden: this circuit's tables are"
    " not salted, so anyone with the proof and the model can confirm a guess.",
    "guessed-weights": "That weights which can be guessed stay hidden: anyone with the proof can"
    " confirm a guess.",
    "hashed-weights": "That the hash of the weights is that of the model named, unless the reader"
    " computed it from that model. It is unsalted: weights can be guessed.",
    "which-weights": "Which weights they were: the proof shows that some weights give this output."
    " That they are those of the model named rests on the signature alone.",
    "weights-identity": "That the weights of the identity named are those of the model named: that"
    " rests on the signature, or on an owner who opens the identity.",
    "conservative": "The conservative profile: this circuit leaves range checks of public values to"
    " the verifier.",
    "products": "That the outputs are the model's, against a dishonest prover: in circuits with"
    " Freivalds products the engine does not tie the result of a product to what follows.",
    "reference-string": "Security against the maker of the reference string: it is not the public"
    " ceremony's, so its maker may be able to forge proofs.",
    "lanes": "Secrecy between the inputs that share the proof: its holder can read, of every"
    " lane, the output and the context's digest, and the input where inputs are public (where hints"
    " are committed to, a guess of these two can be confirmed).",
    "context": "For whom the proof was made: the circuit binds no context.",
}


def non_claims(manifest: CircuitManifest) -> list[str]:
    """The ids of the non-claims of a circuit's proofs, in a fixed order."""
    ids = [*_ALWAYS, _BY_VISIBILITY[manifest.profile.visibility]]
    if manifest.hidden is not None and not manifest.hidden.salted_tables:
        ids += _GUESSED.get(manifest.profile.visibility, ())
    if manifest.weights_identity is not None:
        ids.append("weights-identity")
    if manifest.profile.soundness is not Soundness.CONSERVATIVE:
        ids.append("conservative")
    if manifest.profile.soundness is Soundness.FREIVALDS:
        ids.append("products")
    if not manifest.srs.secure:
        ids.append("reference-string")
    if manifest.lanes > 1:
        ids.append("lanes")
    if manifest.context.limbs == 0:
        ids.append("context")
    return ids
