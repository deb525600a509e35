"""``zkml srs``: the structured reference strings of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from circuits.errors import SrsError
from circuits.srs.files import Origin, SrsFile, SrsFolder
from prover.cli import options
from prover.cli.terminal import EXIT_NO, EXIT_YES, FileUnreadable, Terminal
from prover.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="List, fetch, check and make the reference strings (SRS) that circuits need.",
)

Size = Annotated[int, typer.Argument(metavar="K", min=1, max=26, help="Size: 2^K rows.")]
_WARNING = "Whoever generates an SRS can forge proofs with it: for development only."


@app.command("list")
def list_(as_json: options.Json = False) -> int:
    """List the SRS files on this machine with their origin."""
    terminal = Terminal(as_json)
    settings = Settings.load(redis_url=None)
    files = SrsFolder(settings.srs_dir).files()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("k", "origin", "sha256", "file"):
        table.add_column(column)
    for file in files:
        style = "green" if file.origin is Origin.CEREMONY else "yellow"
        table.add_row(
            str(file.logrows), f"[{style}]{file.origin}[/]", file.sha256[7:23], file.path.name
        )
    terminal.table(table)
    if not files:
        terminal.line(f"No SRS files in {settings.srs_dir}.")
    terminal.object(
        {"ok": True, "folder": str(settings.srs_dir), "files": [_json(f) for f in files]}
    )
    return EXIT_YES


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An SRS file.")],
    as_json: options.Json = False,
) -> int:
    """Check whether FILE is the public ceremony's (exit code 1 if not)."""
    terminal = Terminal(as_json)
    if not file.is_file():
        raise FileUnreadable(f"{file} is not a file")
    found = SrsFolder(file.parent).check(file)
    terminal.line(f"{file}: k = {found.logrows}, {found.origin}, {found.sha256}")
    public = found.origin is Origin.CEREMONY
    terminal.object({"ok": public} | _json(found))
    return EXIT_YES if public else EXIT_NO


@app.command()
def fetch(
    sizes: Annotated[
        list[int], typer.Argument(metavar="K...", min=1, max=26, help="Sizes: 2^K rows.")
    ],
    as_json: options.Json = False,
) -> int:
    """Download the public ceremony's files of these sizes and check their SHA-256."""
    from circuits.srs.fetch import fetch as download

    terminal = Terminal(as_json)
    settings = Settings.load(redis_url=None)
    fetched = []
    columns = (
        TextColumn("k = {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=terminal.err) as bars:
        for size in sizes:
            bar = bars.add_task(str(size), total=None)
            fetched.append(
                download(
                    SrsFolder(settings.srs_dir),
                    size,
                    source_url=settings.srs_source_url,
                    on_progress=lambda done, total, bar=bar: bars.update(  # type: ignore[misc]
                        bar, completed=done, total=total
                    ),
                )
            )
    for file in fetched:
        terminal.line(f"{file.path}: {file.origin}")
    terminal.object({"ok": True, "files": [_json(f) for f in fetched]})
    return EXIT_YES


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An SRS file in EZKL's raw format.")],
    as_json: options.Json = False,
) -> int:
    """Copy FILE into the SRS folder."""
    terminal = Terminal(as_json)
    if not file.is_file():
        raise FileUnreadable(f"{file} is not a file")
    adopted = SrsFolder(Settings.load(redis_url=None).srs_dir).adopt(file)
    terminal.line(f"{adopted.path}: k = {adopted.logrows}, {adopted.origin}")
    terminal.object({"ok": True} | _json(adopted))
    return EXIT_YES


@app.command()
def generate(size: Size, as_json: options.Json = False) -> int:
    """Generate an SRS of size K, labelled insecure-development. Slow for large K."""
    from circuits.engine.ezkl_engine import EzklEngine
    from circuits.engine.sandbox import Sandbox

    terminal = Terminal(as_json)
    settings = Settings.load(redis_url=None)
    folder = SrsFolder(settings.srs_dir)
    if (folder.folder / f"dev{size}.srs").exists():
        raise SrsError(
            f"dev{size}.srs already exists",
            advice="Circuits may depend on it: remove it yourself.",
        )
    sandbox = Sandbox(nice=settings.engine_nice)
    engine = EzklEngine(sandbox)
    try:
        with terminal.err.status(f"generating k = {size}"):
            made = folder.generate(
                size, lambda path, k: engine.generate_srs(path, k, settings.engine_limits)
            )
    finally:
        sandbox.close()
    terminal.line(f"{made.path}: {made.origin}")
    terminal.line(_WARNING, style="yellow")
    terminal.object({"ok": True, "warning": _WARNING} | _json(made))
    return EXIT_YES


def _json(file: SrsFile) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "logrows": file.logrows,
        "sha256": file.sha256,
        "origin": file.origin.value,
    }
