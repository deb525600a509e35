"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from circuits.format.commitments import Weights
from circuits.format.profile import Argument, Profile, Soundness, Target, Visibility

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")]
Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Samples like the inputs to be proved (.npz, .npy, .json, .jsonl, .csv): they decide"
        " accuracy and the accepted range.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=DIMS",
        help="Fixes dynamic axes: input=1,12,3 or axis=12. Left out: as in the data given.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        "--max-error",
        min=0.0,
        help="Largest error allowed, as a share of the output's range.",
    ),
]
Agreement = Annotated[
    float,
    typer.Option(
        "--agreement", min=0.0, max=1.0, help="Share of samples with the same top answer."
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
    Visibility, typer.Option("--visibility", help="Who learns what from the proof.")
]
SoundnessOption = Annotated[
    Literal["standard", "conservative"],
    typer.Option("--soundness", help="conservative: every range check kept."),
]
TargetOption = Annotated[Target, typer.Option("--target", help="Optimisation target.")]
ArgumentOption = Annotated[
    Argument,
    typer.Option(
        "--argument",
        help="committed: private hints that the proof begins with commitments to. plain: results"
        " are computed, or hints that show hidden layers. auto: committed where that serves the"
        " model and costs little more; never hints that show hidden layers.",
    ),
]
WeightsOption = Annotated[
    Weights,
    typer.Option(
        "--weights",
        help="With committed hints. sealed: constants of the circuit. shown: bundles carry them,"
        " for models that are public; one circuit and key serve all models of an architecture.",
    ),
]

DEFAULT = Profile()


def profile(
    visibility: Visibility,
    soundness: str,
    target: Target,
    tolerance: float,
    agreement: float,
    margin: float,
    argument: Argument = Argument.AUTO,
    weights: Weights = Weights.SEALED,
) -> Profile:
    """The profile that the options ask for."""
    return Profile(
        visibility=visibility,
        soundness=Soundness(soundness),
        target=target,
        max_error=tolerance,
        agreement=agreement,
        range_margin=margin,
        argument=argument,
        weights=weights,
    )
