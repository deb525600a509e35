"""``python -m benchmarks``: run suites, report on them, compare two runs."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks.errors import FileUnusable, FolderUnusable, MarkersMissing, UnknownModel
from benchmarks.harness import machine, runner
from benchmarks.harness.eta import Budget
from benchmarks.harness.metrics import counted, duration
from benchmarks.harness.rows import Header, Key, read
from benchmarks.harness.tasks import RunSize
from benchmarks.report import compare as comparing
from benchmarks.report import page as report
from benchmarks.suites import registry as suites
from benchmarks.systems import circom
from benchmarks.zoo import external, zoo
from benchmarks.zoo.entry import Entry
from circuits.errors import Fault, ZkmlError
from prover.settings import Settings

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
OUT = ROOT / "benchmarks" / "results" / "raw"
INTERRUPTED = 130
#: The base of typer's usage errors has no public name in all of its versions.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="bench", help="Measure this project, EZKL's defaults and peers side by side. Without a"
    " COMMAND, --suite or --quick, all suites run, which takes hours.",
    invoke_without_command=True, no_args_is_help=False, pretty_exceptions_enable=False,
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
_notes = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.callback()
def run(
    context: typer.Context,
    suite: Annotated[
        list[str] | None, typer.Option(help="A suite (see `list`); repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model (see `list`); repeatable.")
    ] = None,
    zoo_folder: Annotated[
        Path | None,
        typer.Option("--zoo", help="A folder of NAME/network.onnx and NAME/input.json instead."),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="All suites on small models with few samples: under five minutes.")
    ] = False,
    samples: Annotated[int | None, typer.Option(min=1, help="Proofs per model and system.")] = None,
    warm_ups: Annotated[
        int | None, typer.Option(min=0, help="Warm-up proofs, which are not counted.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="MINUTES",
            help="Time limit of the run; the next run continues with the rest.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder of the results. Default: a new one in benchmarks/results/raw.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run suites. Repeat the same command to continue an interrupted run."""
    if context.invoked_subcommand is not None:
        return
    chosen = suites.choose(suite or [], quick=quick)
    selection = suites.Selection(
        entries=_entries(model or [], zoo_folder, quick=quick),
        named=bool(model) or zoo_folder is not None,
        quick=quick,
    )
    run_size = RunSize.for_quick() if quick else RunSize()
    run_size = replace(
        run_size,
        samples=run_size.samples if samples is None else samples,
        warm_ups=run_size.warm_ups if warm_ups is None else warm_ups,
    )
    Settings.load(redis_url=None)  # reports invalid settings now instead of in every sample
    CACHE.mkdir(parents=True, exist_ok=True)
    # EZKL caches lookups under its home, which affects circuits: the benchmarks use a separate one.
    os.environ.setdefault("EZKL_REPO_PATH", str(CACHE / "ezkl"))
    header = Header(
        options={
            "suites": [s.name for s in chosen],
            "models": list(dict.fromkeys(e.name for s in chosen for e in selection.of(s))),
            **asdict(run_size),
        },
        machine=machine.describe(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    folder = out or OUT / header.started.replace(":", "")
    begin = time.monotonic()
    with ExitStack() as stack:
        tasks = suites.tasks_of(chosen, selection, run_size, CACHE, stack)
        on_task = stack.enter_context(_progress(len(tasks)))
        limit = None if budget is None else Budget(60 * budget)
        results = runner.run(tasks, header, folder, on_task, limit)
    written = report.write(results, folder)
    took_s = time.monotonic() - begin
    if as_json:
        print(json.dumps({"folder": str(folder), "took_s": took_s, **report.summary(results)}))
    else:
        _notes.print(
            f"{counted(len(results.rows), 'row')} in {folder}, {duration(took_s)}; read {written}",
            highlight=False,
        )


def _entries(names: list[str], folder: Path | None, *, quick: bool) -> list[Entry]:
    """The zoo's models of these names, or those of a folder. Raises ``UnknownModel``."""
    if folder is None:
        return zoo.choose(names, quick=quick)
    found = {entry.name.removeprefix("zoo/"): entry for entry in external.entries(folder)}
    names = [name.removeprefix("zoo/") for name in names]
    for name in names:
        if name not in found:
            raise UnknownModel(
                f"there is no model {name!r} in {folder}", advice=f"There are: {', '.join(found)}."
            )
    return [found[name] for name in names or found]


@app.command("report")
def report_command(results: Path) -> None:
    """Regenerate report.md and the plots of a results file."""
    folder = results if results.is_dir() else results.parent
    try:
        _notes.print(str(report.write(read(results), folder)), highlight=False)
    except OSError as error:
        raise FolderUnusable(f"{folder} cannot be written: {error.strerror}") from error


@app.command("readme")
def readme_command(
    results: Path,
    file: Path,
    check: Annotated[bool, typer.Option(help="Change nothing; exit 1 if it is stale.")] = False,
) -> None:
    """Write the table of RESULTS between the markers of FILE."""
    part = report.excerpt(read(results))
    try:
        old = file.read_text(encoding="utf-8")
        new = report.inserted(old, part)
        if not check:
            file.write_text(new, encoding="utf-8")
    except OSError as error:
        raise FileUnusable(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise MarkersMissing(f"{file}: {error}") from error
    if check:
        raise typer.Exit(0 if new == old else 1)


@app.command("compare")
def compare_command(
    old: Path,
    new: Path,
    everything: Annotated[
        bool, typer.Option("--all", help="Also show comparisons with too few samples.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two results. Exit status 1 if something became worse."""
    before, after = read(old), read(new)
    found = comparing.compare(before, after)
    lost = comparing.lost(before, after)
    differs = comparing.different_machines(before, after)
    worse = [c for c in found if c.verdict is comparing.Verdict.WORSE]
    if as_json:
        output: dict[str, Any] = {
            "comparisons": [c.to_json() for c in found],
            "lost": lost,
            "machines_differ_in": differs,
        }
        print(json.dumps(output))
    else:
        print(comparing.markdown(found, everything=everything))
        for key in lost:
            print(f"\nNo longer good: {key}")
        if differs:
            _notes.print(f"The machines differ in: {', '.join(differs)}.")
    raise typer.Exit(1 if worse or lost else 0)


@app.command("install-peers")
def install_peers_command() -> None:
    """Install circom, snarkjs (suite `peers`) and solc (suite `evm`) from npm, as separate
    programs."""
    _notes.print(f"Installed in {circom.install()}.")


@app.command("list")
def list_command() -> None:
    """List the suites and the models."""
    for suite in suites.SUITES.values():
        print(f"suite  {suite.name:<10} {suite.title}")
    for entry in zoo.ENTRIES:
        print(f"model  {entry.name:<24} {entry.title}")


class _progress:
    """A progress bar on stderr with the remaining time, if known; without a terminal, one line per
    sample."""

    def __init__(self, total: int):
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=_notes,
        )  # fmt: skip
        self._total = total
        self._task = self._bar.add_task("", total=total, left="")
        self._begun = 0

    def __enter__(self) -> runner.OnTask:
        if _notes.is_terminal:
            self._bar.start()
        return self._next

    def __exit__(self, *_: object) -> None:
        if _notes.is_terminal:
            self._bar.stop()

    def _next(self, key: Key, done: bool, left_s: float | None) -> None:
        left = "" if left_s is None else f"about {duration(left_s)} left"
        self._bar.update(self._task, completed=self._begun, description=str(key), left=left)
        self._begun += 1
        if not _notes.is_terminal and not done:
            _notes.print(f"{self._begun}/{self._total} {key} {left}".rstrip(), highlight=False)


def main() -> int:
    """Exit status: 0 good, 1 worse than before, 2 bad usage, 3 internal error, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # handled like Ctrl-C
    try:
        code = app(
            prog_name="zkml bench", standalone_mode=False
        )  # typer.Exit and interruption are returned as a status
    except ZkmlError as error:
        _notes.print(
            f"[red]error: {error.detail}[/red]" + (f"\n  {error.advice}" if error.advice else "")
        )
        return 3 if error.fault in (Fault.INTERNAL, Fault.BUSY) else 2
    except _USAGE_ERROR as error:  # usage: an unknown option, a value out of bounds
        output = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        _notes.print(f"[red]error: {output}[/red]\n  See `zkml bench --help`.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        _notes.print("Interrupted; the same command with the same -o continues from here.")
    return code if isinstance(code, int) else 0
