"""``zkml inspect``: what a model or a bundle is, before any heavy work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from circuits.cost.layers import CostReport, cost_report, in_words, largest_first
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from circuits.errors import Fault, ZkmlError
from circuits.format.tensors import is_sent
from circuits.plan.picture import draw_layers
from prover.cli import options
from prover.cli.binding import bound
from prover.cli.terminal import (
    EXIT_USAGE,
    EXIT_YES,
    Terminal,
    is_batch,
    read_model_file,
    write_file,
)

_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
_INSPECT = "circuits.compiler.inspect:inspect_json"
_LAYERS_SHOWN, _ITEMS_SHOWN = 12, 8
_STYLES = {"supported": "green", "rewritten": "yellow", "refused": "bold red"}


def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|BUNDLE", help="An ONNX or .zkml file.")],
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the cost per layer: .svg or .png.")
    ] = None,
    shape: options.Shapes = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the model as one file, with its axes fixed."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Show what MODEL contains, what can be proved and what layers cost; or what BUNDLE claims."""
    terminal = Terminal(as_json)
    if is_batch(path):
        return _batch(path, terminal)
    data = read_model_file(path)
    if data[:4] == b"PK\x03\x04":
        return _bundle(data, terminal)
    sandbox = Sandbox(keeps=_LIMITS)
    try:
        data = bound(sandbox, data, shape, terminal=terminal)
        if write is not None:
            write_file(write, data)
        summary = sandbox.compute(_INSPECT, data, True, limits=_LIMITS)
        refused = any(o["status"] == "refused" for o in summary["operators"])
        costs, unknown = (None, "") if refused else _costs_or_why(sandbox, data)
    finally:
        sandbox.close()
    _model(summary, terminal)
    if costs is not None:
        _costs(costs, terminal)
        if plot is not None:
            draw_layers(costs, plot)
            terminal.line(f"Drew {plot}.")
    if unknown:
        terminal.line(
            f"The cost per layer needs data like yours: {unknown} `zkml plan` with"
            " --calibration says."
        )
    terminal.object({"ok": not refused, "costs": costs.to_json() if costs else None} | summary)
    return EXIT_USAGE if refused else EXIT_YES


def _costs_or_why(sandbox: Sandbox, data: bytes) -> tuple[CostReport | None, str]:
    """The costs of a model's layers on random inputs, or why they are unknown."""
    try:
        return cost_report(sandbox, data, _LIMITS), ""
    except ZkmlError as error:
        if error.fault is Fault.INTERNAL:
            raise
        return None, f"{error.detail.rstrip('.')}."


def _model(summary: dict[str, Any], terminal: Terminal) -> None:
    for kind in ("inputs", "outputs"):
        for tensor in summary["signature"][kind]:
            if is_sent(tensor):
                dtype = "text" if "categories" in tensor else tensor["dtype"]
                terminal.line(f"{kind[:-1]:7} {tensor['name']}: {dtype} {tensor['shape']}")
    terminal.line(
        f"{summary['parameters']:,} parameters, about {summary['multiplications']:,}"
        f" multiplications; opset {summary['opset']}"
    )
    for note in summary["notes"]:
        terminal.line(f"note: {note}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("operator", "count", "", "by or why"):
        table.add_column(column)
    for operator in summary["operators"]:
        style = _STYLES[operator["status"]]
        name = f"{operator['domain']}.{operator['op']}" if operator["domain"] else operator["op"]
        table.add_row(
            name,
            str(operator["count"]),
            f"[{style}]{operator['status']}[/]",
            operator["by"] or operator["reason"],
        )
    terminal.table(table)


def _costs(costs: CostReport, terminal: Terminal) -> None:
    """Totals, and the layers that cost most."""
    terminal.line(f"assignments, before planning: {in_words(costs)}")
    if costs.integer_unsupported and costs.committed is None:
        terminal.line(f"note: proved in fixed point: {costs.integer_unsupported}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("layer", "operator"):
        table.add_column(column)
    for column in ("in fixed point", "in integers"):
        table.add_column(column, justify="right")
    for layer in largest_first(costs.layers)[:_LAYERS_SHOWN]:
        table.add_row(
            layer.layer,
            layer.op,
            f"{layer.fixed_point:,}",
            "" if layer.integers is None else f"{layer.integers:,}",
        )
    terminal.table(table)


def _batch(path: Path, terminal: Terminal) -> int:
    from prover.batch.contents import contents_of
    from prover.statement.render import printable

    with path.open("rb") as file:
        found = contents_of(file, shown=_ITEMS_SHOWN)
    terminal.line(
        f"Batch {printable(found.batch)}: {found.items:,} proved items in {found.proofs:,} proofs"
        " (not verified; use `zkml verify`). Rows without a proof are not in a bundle."
    )
    for use in found.circuits:
        terminal.line(
            f"circuit {printable(use.circuit)}, {use.lanes} lane{'s' * (use.lanes != 1)}:"
            f" {use.items:,} items in {use.proofs:,} proofs, {use.free:,} lanes free;"
            f" {use.visibility}, {use.soundness}, reference string {printable(use.srs_origin)};"
            f" model {printable(use.model_sha256)}"
        )
    names = [printable(str(entry.id)) for entry in found.first]
    more = found.items - len(names)
    terminal.line(f"items {', '.join(names)}{f', … {more:,} more' if more else ''}")
    terminal.object({"ok": True} | found.to_json())
    return EXIT_YES


def _bundle(data: bytes, terminal: Terminal) -> int:
    from prover.statement import render as words
    from prover.statement.bundle import read_bundle
    from prover.statement.envelope import Receipt

    statement = Receipt.from_bytes(read_bundle(data).receipt).statement()
    terminal.line("This bundle claims (not verified; use `zkml verify`):")
    for sentence in words.in_words(statement):
        terminal.line(sentence)
    terminal.line(json.dumps(words.summary(statement), indent=2))
    terminal.object({"ok": True, "statement": words.summary(statement)})
    return EXIT_YES
