"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from circuits.errors import Fault, ZkmlError
from circuits.format.commitments import Weights
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")]
Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Samples like the inputs to be proved (.npz, .npy, .json, .jsonl, .csv). They decide"
        " accuracy and the accepted range.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=DIMS",
        help="Fix dynamic axes: input=1,12,3 or axis=12. Default: as in the given data.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        "--max-error",
        min=0.0,
        help="Largest allowed error, as a share of the output's range.",
    ),
]
Agreement = Annotated[
    float,
    typer.Option(
        "--agreement",
        min=0.0,
        max=1.0,
        help="Required share of rows (of the output's last axis) whose top-1 is the model's.",
    ),
]
Margin = Annotated[
    float,
    typer.Option(
        "--margin",
        min=0.0,
        help="Margin added to the calibrated input range, as a share of its width.",
    ),
]
VisibilityOption = Annotated[
    Literal["public", "private-input", "committed-input", "hashed-input"],
    typer.Option(
        "--visibility",
        metavar="VISIBILITY",
        help="public: the proof shows the input. private-input: it hides it. committed-input: it"
        " hides it, and receipts name it by an identity, the same in every proof about it."
        " hashed-input: it shows a hash, which confirms a guess. Outputs are always shown.",
    ),
]
SoundnessOption = Annotated[
    Literal["standard", "conservative"],
    typer.Option("--soundness", help="conservative: keep every range check of the engine."),
]
TargetOption = Annotated[Target, typer.Option("--target", help="Optimisation target.")]
ArgumentOption = Annotated[
    Argument,
    typer.Option(
        "--argument",
        help="committed: private hints, committed to in the proof. plain: results computed in the"
        " circuit. auto: committed if it suits the model and costs little more.",
    ),
]
WeightsOption = Annotated[
    Weights,
    typer.Option(
        "--weights",
        help="For committed hints. sealed: weights are constants of the circuit; no single proof"
        " shows them. shown: bundles carry the weights (public models); one circuit and key serve"
        " an architecture. private: committed to again in each proof, under an identity that every"
        " receipt names; no number of proofs shows them.",
    ),
]

InputScaleOption = Annotated[
    int | None,
    typer.Option(
        "--input-scale",
        min=-32,
        max=32,
        help="Round float inputs to multiples of 2^-SCALE. With committed-input, an input has one"
        " identity in all circuits of its scale. Default: as fine as the circuit has room for.",
    ),
]

DEFAULT = Profile()


def profile(
    visibility: str,
    soundness: str,
    target: Target,
    tolerance: float,
    agreement: float,
    margin: float,
    argument: Argument = Argument.AUTO,
    weights: Weights = Weights.SEALED,
    input_scale: int | None = None,
) -> Profile:
    """The profile that the options ask for."""
    return Profile(
        visibility=Visibility(visibility),
        soundness=Soundness(soundness),
        target=target,
        max_error=tolerance,
        agreement=agreement,
        range_margin=margin,
        argument=argument,
        weights=weights,
        input_scale=input_scale,
    )


class OptionsDisagree(ZkmlError):
    """These options do not go together."""

    code = "options_disagree"
    fault = Fault.INPUT


def read_salt(text: str) -> bytes:
    """The salt of an input, from hex digits."""
    from prover.statement.commitment import SALT_BYTES

    try:
        salt = bytes.fromhex(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise OptionsDisagree(f"--salt is not {2 * SALT_BYTES} hex digits")
    return salt
