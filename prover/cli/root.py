"""The root of the command line: subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib.metadata
import logging
import signal
import sys
from typing import Annotated, Any

import structlog
import typer

from circuits.errors import ZkmlError
from prover.cli import (
    batching,
    benching,
    doctor,
    inspecting,
    keys,
    planning,
    proving,
    service,
    srs,
    verifying,
)
from prover.cli.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    exit_code,
    wants_json,
)
from prover.logs import console

app = typer.Typer(
    name="zkml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Prove that an ONNX model gave an output for an input, and check such proofs."
    "\n\nExit codes: 0 yes; 1 verification says no; 2 bad usage or input; 3 it failed on our side.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: What a command line that makes no sense raises. Typer has it from click, or, in newer versions,
#: from a copy of click of its own: only what derives from it has a public name.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


def _version(show: bool) -> None:
    if show:
        print(f"zkml-prover {importlib.metadata.version('zkml-prover')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("prove", rich_help_panel="Proofs")(proving.prove)
app.command("batch", rich_help_panel="Proofs")(batching.batch)
app.command("verify", rich_help_panel="Proofs")(verifying.verify)
app.command("inspect", rich_help_panel="Models and circuits")(inspecting.inspect)
app.command("plan", rich_help_panel="Models and circuits")(planning.plan)
app.command("up", rich_help_panel="Service")(service.up)
app.command("api", rich_help_panel="Service")(service.api)
app.command("worker", rich_help_panel="Service")(service.worker)
app.command("doctor", rich_help_panel="Service")(doctor.doctor)
app.command(
    "bench",
    rich_help_panel="Service",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(benching.bench)
app.add_typer(srs.app, name="srs", rich_help_panel="Models and circuits")
app.add_typer(keys.app, name="keys", rich_help_panel="Service")


def main() -> None:
    """Entry point of the console script; ends the process with DESIGN's exit codes."""
    # A closed pipe (`zkml … | head`) ends us quietly, as it does other commands.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What went wrong is told once, by the terminal; only a defect of ours is logged, and never on
    # stdout, which belongs to programs. `zkml up` sets up logs of its own.
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, console()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    terminal = wants_json(sys.argv)
    try:
        result: Any = app(standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except ZkmlError as error:
        terminal.problem(error.problem())
        sys.exit(exit_code(error))
    except (KeyboardInterrupt, typer.Abort):
        terminal.line("Interrupted.")
        terminal.object({"ok": False, "problem": {"code": "canceled", "detail": "interrupted"}})
        sys.exit(EXIT_INTERRUPTED)
    except _USAGE_ERROR as error:
        terminal.usage(error)
        sys.exit(EXIT_USAGE)
    except Exception:
        # Python's own exit code would be 1, which says that a proof does not hold.
        structlog.get_logger(__name__).exception("defect")
        terminal.problem(ZkmlError().problem())
        sys.exit(EXIT_FAILED)
