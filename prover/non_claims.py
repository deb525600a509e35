"""What a receipt does not claim: written into each one, so that nobody reads more into it."""

from __future__ import annotations

from circuits.manifest import CircuitManifest
from circuits.profile import Soundness, Visibility

_ALWAYS = (
    "That the model is accurate, fair, safe or fit for any purpose.",
    "That the input is true, or was obtained in any particular way.",
    "That the circuit equals the model exactly: the proof is of the circuit's own arithmetic, whose"
    " distance from the model was measured on the samples stated, not proved.",
    "That the time of issue, the costs, the measured errors and the issuer's name are right: those"
    " rest on the signature alone.",
    "That the proof system is free of mistakes: soundness rests on EZKL and Halo2 as released.",
)
_BY_VISIBILITY = {
    Visibility.PUBLIC: "Secrecy: input, output and weights can be read by anybody.",
    Visibility.PRIVATE_INPUT: "Which input it was: only that the issuer knew one that gives this"
    " output. The service that proved it saw the input.",
    Visibility.HASHED_INPUT: "Secrecy of an input that can be guessed: its hash is unsalted. The"
    " service that proved it saw the input.",
    Visibility.HASHED_WEIGHTS: "That the hash of the weights is that of the model named, unless the"
    " reader computed it from that model. It is unsalted: weights can be guessed.",
    Visibility.PRIVATE_WEIGHTS: "Which weights they were: the proof shows that some weights give"
    " this output. That they are those of the model named rests on the signature alone.",
}


def non_claims(manifest: CircuitManifest) -> list[str]:
    """What is not claimed of a circuit's proofs, in a fixed order."""
    said = [*_ALWAYS, _BY_VISIBILITY[manifest.profile.visibility]]
    if manifest.profile.soundness is Soundness.STANDARD:
        said.append(
            "The conservative profile: this circuit may use Freivalds products, which came after"
            " the last public audit of the engine."
        )
    if not manifest.srs.secure:
        said.append(
            "Security against whoever made the reference string: it is not the public ceremony's,"
            " so its maker may be able to forge proofs."
        )
    if manifest.context.limbs == 0:
        said.append("For whom the proof was made: the circuit binds no context.")
    return said
