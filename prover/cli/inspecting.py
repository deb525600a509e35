"""``zkml inspect``: what a model or a bundle is, before any heavy work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox
from prover.cli import options
from prover.cli.terminal import EXIT_USAGE, EXIT_YES, Terminal, read_file

_LIMITS = Limits(deadline_s=120, memory_bytes=4 << 30)
_INSPECT = "circuits.inspect:inspect_json"
_STYLES = {"supported": "green", "rewritten": "yellow", "refused": "bold red"}


def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|BUNDLE", help="An ONNX or .zkml file.")],
    as_json: options.Json = False,
) -> int:
    """Show what MODEL holds and whether each operator can be proved, or what BUNDLE says."""
    terminal = Terminal(as_json)
    data = read_file(path)
    if data[:4] == b"PK\x03\x04":
        return _bundle(data, terminal)
    sandbox = Sandbox()
    try:
        summary = EzklEngine(sandbox).sandbox.call(_INSPECT, data, True, limits=_LIMITS)
    finally:
        sandbox.close()
    _model(summary, terminal)
    refused = any(o["status"] == "refused" for o in summary["operators"])
    terminal.object({"ok": not refused} | summary)
    return EXIT_USAGE if refused else EXIT_YES


def _model(summary: dict[str, Any], terminal: Terminal) -> None:
    for kind in ("inputs", "outputs"):
        for tensor in summary["signature"][kind]:
            terminal.line(f"{kind[:-1]:7} {tensor['name']}: {tensor['dtype']} {tensor['shape']}")
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


def _bundle(data: bytes, terminal: Terminal) -> int:
    from prover.bundle import read_bundle
    from prover.receipt import Receipt
    from prover.words import in_words, summary

    statement = Receipt.from_bytes(read_bundle(data).receipt).statement()
    terminal.line("This bundle says (nothing is checked here; use `zkml verify`):")
    for sentence in in_words(statement):
        terminal.line(sentence)
    terminal.line(json.dumps(summary(statement), indent=2))
    terminal.object({"ok": True, "statement": summary(statement)})
    return EXIT_YES
