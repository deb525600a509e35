"""``zkml plan``: which circuit would be built for a model, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from prover.cli import options
from prover.cli.terminal import EXIT_YES, Terminal, read_file


def plan(
    model: options.ModelFile,
    calibration: options.Calibration = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="INPUT", help="Without samples: the ranges that hold this."
        ),
    ] = None,
    visibility: options.VisibilityOption = options.DEFAULT.visibility,
    soundness: options.SoundnessOption = options.DEFAULT.soundness,
    target: options.TargetOption = options.DEFAULT.target,
    tolerance: options.Tolerance = options.DEFAULT.max_error,
    agreement: options.Agreement = options.DEFAULT.agreement,
    margin: options.Margin = options.DEFAULT.range_margin,
    as_json: options.Json = False,
) -> int:
    """Plan a circuit for MODEL: the choice, the runners-up, and why they lost."""
    terminal = Terminal(as_json)
    profile = options.profile(visibility, soundness, target, tolerance, agreement, margin)
    from circuits.plan.samples import covering_ranges, default_ranges, draw, read_calibration
    from circuits.tensors import Signature
    from prover.app import App
    from prover.inputs import read_input
    from prover.settings import Settings

    settings = Settings.load(redis_url=None)
    app = App.open(settings)
    try:
        data = read_file(model, limit=settings.max_model_bytes)
        signature = Signature.from_json(app.inspect_bytes(data)["signature"])
        if calibration is not None:
            samples = read_calibration(read_file(calibration), signature)
        else:
            given = read_input(read_file(input_file), signature) if input_file else {}
            ranges = covering_ranges(given) or default_ranges(signature)
            samples = draw(signature, ranges)
        with terminal.err.status("planning") as status:
            made = app.library.builder().plan(
                data, samples, profile, lambda text: status.update(f"planning: {text}")
            )
    finally:
        app.close()
    document = made.to_json()
    _show(document, terminal)
    terminal.object({"ok": True, "plan": document})
    return EXIT_YES


def _show(document: dict[str, Any], terminal: Terminal) -> None:
    chosen = document["choice"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "numbers", "k", "columns", "base^legs", "predicted", "memory", "proof"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", no_wrap=True)
    table.add_column("why not")
    for mark, row in [("→", chosen), *(("", r) for r in document["runners_up"])]:
        predicted, args = row["predicted"], row["args"]
        table.add_row(
            mark,
            row["variant"],
            str(args["logrows"]),
            str(args["num_inner_cols"]),
            f"{args['decomp_base']}^{args['decomp_legs']}",
            f"{predicted['prove_s']:.2f} s",
            f"{predicted['peak_bytes'] / (1 << 20):.0f} MB",
            f"{predicted['proof_bytes'] / 1000:.1f} kB",
            f"{row['error']['max_error']:.2%}",
            row.get("lost", "chosen"),
        )
    for row in document["rejected"]:
        error = f"{row['error']['max_error']:.2%}" if row["error"] else ""
        table.add_row("", row["label"], *[""] * 6, error, row["lost"])
    terminal.table(table)
    accuracy, model = document["accuracy"], document["cost_model"]
    where = "the calibration data" if document["calibrated"] else "drawn samples: uncalibrated"
    terminal.line(
        f"{document['considered']} candidates. The choice agrees with onnxruntime on"
        f" {accuracy['agreement']:.1%} of {accuracy['samples']} held-out samples ({where})."
    )
    terminal.line(
        f"Times are predicted by the {model['source']} cost model, whose median error was"
        f" {model['error']['prove_s']:.0%} on the proofs it was fitted to."
    )
