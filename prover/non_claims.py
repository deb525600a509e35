"""What a receipt does not claim: written into each one, so that nobody reads more into it."""

from __future__ import annotations

from circuits.manifest import CircuitManifest
from circuits.profile import Soundness, Visibility

_ALWAYS = (
    "Not that the model is accurate, fair, safe or fit for any purpose.",
    "Not that the input is true, or was obtained in any particular way.",
    "Not that the circuit equals the model exactly: it equals the circuit's own arithmetic, whose"
    " distance from the model was measured on the samples stated, not proved.",
    "Not that the time of issue, the costs, the measured errors or the issuer's name are right:"
    " those rest on the signature alone.",
    "Not that the proof system is free of mistakes: soundness rests on EZKL and Halo2 as released.",
)
_BY_VISIBILITY = {
    Visibility.PUBLIC: "Not secrecy: input, output and weights can be read by anybody.",
    Visibility.PRIVATE_INPUT: "Not which input: only that the issuer knew one that gives this"
    " output. The service that proved it saw the input.",
    Visibility.HASHED_INPUT: "Not secrecy of an input that can be guessed: its hash is unsalted."
    " The service that proved it saw the input.",
    Visibility.HASHED_WEIGHTS: "Not that the hash of the weights belongs to the model named, unless"
    " the hash was computed from that model by the reader. Unsalted: weights can be guessed.",
    Visibility.PRIVATE_WEIGHTS: "Not which weights: the proof shows that some weights give this"
    " output. That they are those of the model named rests on the signature alone.",
}


def non_claims(manifest: CircuitManifest) -> list[str]:
    """The sentences for a circuit, in a fixed order."""
    said = [*_ALWAYS, _BY_VISIBILITY[manifest.profile.visibility]]
    if manifest.profile.soundness is Soundness.STANDARD:
        said.append(
            "Not the conservative profile: Freivalds products are used, which came after the last"
            " public audit of the engine."
        )
    if not manifest.srs.secure:
        said.append(
            "Not security against whoever made the reference string: it is not the public"
            " ceremony's, so its maker may be able to forge proofs."
        )
    if manifest.context.limbs == 0:
        said.append("Not for whom the proof was made: the circuit binds no context.")
    return said
