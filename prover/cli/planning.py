"""``zkml plan``: which circuit the planner would build for a model, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from circuits.plan.effort import Effort
from circuits.plan.picture import draw_plan
from prover.cli import options
from prover.cli.binding import bound
from prover.cli.terminal import EXIT_USAGE, EXIT_YES, Terminal, read_file, read_model_file

_ARGUMENTS = {"committed": "With committed hints", "plain": "Without committed hints"}
#: Candidates shown beside the choice.
_RUNNERS_UP = 8
#: Fixed-width columns of the table, each as wide as its longest entry.
_COLUMNS = {"k": 2, "cols": 4, "base^legs": 9, "time": 7, "memory": 7, "proof": 7, "error": 6}


def plan(
    model: options.ModelFile,
    calibration: options.Calibration = None,
    shape: options.Shapes = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="INPUT", help="Without samples: an input that the ranges must cover."
        ),
    ] = None,
    visibility: options.VisibilityOption = "public",
    soundness: options.SoundnessOption = "standard",
    target: options.TargetOption = options.DEFAULT.target,
    tolerance: options.Tolerance = options.DEFAULT.max_error,
    agreement: options.Agreement = options.DEFAULT.agreement,
    margin: options.Margin = options.DEFAULT.range_margin,
    argument: options.ArgumentOption = options.DEFAULT.argument,
    weights: options.WeightsOption = options.DEFAULT.weights,
    input_scale: options.InputScaleOption = None,
    effort: Annotated[
        Effort | None,
        typer.Option(
            help="fast: cost model only; balanced: time the best few; max: time them all."
            " [default: ZKML_PLAN_EFFORT]",
        ),
    ] = None,
    only_estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only estimate time, memory and size, in about a second."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot error against time (.svg or .png)."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Plan a circuit for MODEL: show the choice, the runners-up, and why they lost."""
    terminal = Terminal(as_json)
    profile = options.profile(
        visibility, soundness, target, tolerance, agreement, margin, argument, weights, input_scale
    )
    from circuits.calibration.samples import covering_ranges, default_ranges, draw, read_calibration
    from circuits.engine.sandbox import Sandbox
    from circuits.format.tensors import Signature
    from prover.app import App
    from prover.jobs.inputs import read_input
    from prover.settings import Settings

    settings = Settings.load(redis_url=None)
    app = App.open(settings, Sandbox(nice=settings.engine_nice, keeps=settings.engine_limits))
    try:
        data = read_model_file(model, limit=settings.max_model_bytes)
        data = bound(app.engine.sandbox, data, shape, calibration, input_file, terminal=terminal)
        signature = Signature.from_json(app.inspect_bytes(data)["signature"])
        if calibration is not None:
            samples = read_calibration(read_file(calibration), signature)
        else:
            given = read_input(read_file(input_file), signature)[0] if input_file else {}
            ranges = covering_ranges(given, signature.inputs) or default_ranges(signature)
            samples = draw(signature, ranges)
        builder = app.registry.builder()
        if effort is not None:
            builder = replace(builder, effort=effort)
        if only_estimate:
            return _estimated(builder.estimate(data, samples, profile).to_json(), terminal)
        with terminal.err.status("planning") as status:
            made = builder.plan(
                data, samples, profile, lambda text: status.update(f"planning: {text}")
            )
    finally:
        app.close()
    document = made.to_json()
    _show(document, terminal)
    if plot is not None:
        draw_plan(document, plot)
        terminal.line(f"Drew {plot}.")
    terminal.object({"ok": True, "plan": document})
    return EXIT_YES


def _estimated(answer: dict[str, Any], terminal: Terminal) -> int:
    """Shows an estimate; exit code 2 for a circuit that does not fit this machine."""
    memory, proof, keys = (answer[n] / 1e6 for n in ("peak_bytes", "proof_bytes", "pk_bytes"))
    terminal.line(
        f"{_ARGUMENTS[answer['argument']]}, k = {answer['logrows']},"
        f" {answer['columns']} columns: about {answer['setup_s']:.1f} s to"
        f" set up, {answer['prove_s']:.1f} s and {memory:,.0f} MB of memory a proof of"
        f" {1000 * proof:.1f} kB, {keys:,.0f} MB of keys."
    )
    terminal.line("It fits." if answer["fits"] else answer["advice"])
    error = answer["cost_model"]["error"]
    terminal.line(
        f"Predicted by the {answer['cost_model']['source']} cost model: median error"
        f" {error['prove_s']:.0%} of time, {error['peak_bytes']:.0%} of memory."
    )
    terminal.object({"ok": answer["fits"], "estimate": answer})
    return EXIT_YES if answer["fits"] else EXIT_USAGE


def _show(document: dict[str, Any], terminal: Terminal) -> None:
    chosen = document["choice"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", min_width=1)
    table.add_column("numbers", overflow="fold", min_width=16)
    for column, width in _COLUMNS.items():
        table.add_column(column, no_wrap=True, min_width=width)
    table.add_column("why not", overflow="fold", min_width=12)
    shown = document["runners_up"][:_RUNNERS_UP]
    for mark, row in [("→", chosen), *(("", r) for r in shown)]:
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
            row.get("rejected_because", "chosen"),
        )
    for row in document["rejected"]:
        error = f"{row['error']['max_error']:.2%}" if row["error"] else ""
        table.add_row("", row["label"], *[""] * 6, error, row["rejected_because"])
    terminal.table(table)
    if more := len(document["runners_up"]) - len(shown):
        terminal.line(f"… {more} more, none cheaper; --json lists them.")
    accuracy, model = document["accuracy"], document["cost_model"]
    where = "the calibration data" if document["calibrated"] else "random samples: uncalibrated"
    terminal.line(
        f"{document['considered']} candidates. The choice agrees with onnxruntime on"
        f" {accuracy['agreement']:.1%} of {accuracy['samples']} held-out samples ({where})."
    )
    if "contract_bytes" in chosen:
        how = f"compiled by solc {chosen['solc']}" if chosen["solc"] else "predicted, not compiled"
        terminal.line(
            f"Its verifier contract has {chosen['contract_bytes']:,} bytes when deployed ({how})."
        )
    terminal.line(
        f"Times are predicted by the {model['source']} cost model, whose median error was"
        f" {model['error']['prove_s']:.0%} on the proofs it was fitted to."
    )
