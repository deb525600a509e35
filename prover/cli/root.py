"""The root of the command line: subcommands, and the mapping of errors to exit codes."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn

import typer

from circuits.errors import ZkmlError
from prover.cli.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Terminal,
    exit_code,
    wants_json,
)

#: What an invalid command line raises. Typer takes it from click or, in newer versions, from its
#: own copy of click; only subclasses have a public name.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


@dataclass(frozen=True, kw_only=True)
class _Command:
    """Where a subcommand is defined. ``logs``: whether it uses parts that log, so that logging has
    to be configured first. ``prove`` configures it itself, while the engine starts."""

    name: str
    module: str
    panel: str
    group: bool = False
    logs: bool = True
    options: dict[str, Any] = field(default_factory=dict)


_VERSION_HELP = "Show the versions of program, engine and schemas."
_PASS_ON = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}
_PROOFS, _CIRCUITS, _SERVICE = "Proofs", "Models and circuits", "Service"
_COMMANDS = (
    _Command(name="prove", module="proving", panel=_PROOFS, logs=False),
    _Command(name="batch", module="batching", panel=_PROOFS),
    _Command(name="verify", module="verifying", panel=_PROOFS, logs=False),
    _Command(name="identity", module="naming", panel=_PROOFS),
    _Command(name="remote", module="remote", panel=_PROOFS, logs=False, options=_PASS_ON),
    _Command(name="inspect", module="inspecting", panel=_CIRCUITS, logs=False),
    _Command(name="plan", module="planning", panel=_CIRCUITS),
    _Command(name="srs", module="srs", panel=_CIRCUITS, group=True, logs=False),
    _Command(name="up", module="service", panel=_SERVICE),
    _Command(name="api", module="service", panel=_SERVICE),
    _Command(name="worker", module="service", panel=_SERVICE),
    _Command(name="api-keys", module="api_keys", panel=_SERVICE, group=True, logs=False),
    _Command(name="quotas", module="quotas", panel=_SERVICE, group=True, logs=False),
    _Command(name="keys", module="keys", panel=_SERVICE, group=True, logs=False),
    _Command(name="doctor", module="doctor", panel=_SERVICE),
    _Command(name="demo", module="benching", panel=_SERVICE, logs=False),
    _Command(name="bench", module="benching", panel=_SERVICE, logs=False, options=_PASS_ON),
)


def command_line(argv: Sequence[str]) -> typer.Typer:
    """The command line, with only the module of the subcommand that ``argv`` names loaded.

    Loading all of them takes longer than most verifications.
    """
    app = typer.Typer(
        name="zkml",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        help="Prove that an ONNX model gave an output for an input, and check such proofs."
        "\n\nExit codes: 0 yes; 1 verification says no; 2 bad usage or input;"
        " 3 internal error.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    named = [c for c in _COMMANDS if c.name == _subcommand(argv)]
    for command in named or _COMMANDS:
        module = importlib.import_module(f"prover.cli.{command.module}")
        if command.group:
            app.add_typer(module.app, name=command.name, rich_help_panel=command.panel)
        else:
            register = app.command(command.name, rich_help_panel=command.panel, **command.options)
            register(getattr(module, command.name))
    if not named or named[0].logs:
        from prover.logs import log_defects_only

        log_defects_only()
    return app


def _subcommand(argv: Sequence[str]) -> str | None:
    """The first argument that is not an option; the root's own options take no values."""
    return next((word for word in argv[1:] if not word.startswith("-")), None)


def _version(show: bool) -> None:
    if show:
        from prover.versions import versions

        for name, version in versions().items():
            print(f"{name} {version}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help=_VERSION_HELP)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The whole command."""
    run(lambda: command_line(sys.argv))


def _interrupt(number: int, frame: object) -> NoReturn:
    """As Python's own, and noted: what is raised within one of its callbacks is lost."""
    Terminal.interrupted = True
    raise KeyboardInterrupt


def run(commands: Callable[[], Callable[..., Any]]) -> NoReturn:
    """Runs a command line and exits with the documented exit codes."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    # A closed pipe (`zkml … | head`) ends the process quietly, as it does other commands.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    terminal = wants_json(sys.argv)
    try:
        result: Any = commands()(standalone_mode=False)
        if result == EXIT_INTERRUPTED and not Terminal.spoke:
            _interrupted(terminal)  # typer turns a KeyboardInterrupt into this, without a message
        sys.exit(result if isinstance(result, int) else 0)
    except ZkmlError as error:
        terminal.problem(error.problem())
        sys.exit(exit_code(error))
    except (KeyboardInterrupt, typer.Abort):
        _interrupted(terminal)
        sys.exit(EXIT_INTERRUPTED)
    except _USAGE_ERROR as error:
        terminal.usage(error)
        sys.exit(EXIT_USAGE)
    except Exception:
        # Python's own exit code would be 1, which means that a proof is invalid.
        from prover.logs import get_logger, log_defects_only

        log_defects_only()
        get_logger(__name__).exception("defect")
        terminal.problem(ZkmlError().problem())
        sys.exit(EXIT_FAILED)


def _interrupted(terminal: Terminal) -> None:
    terminal.line("Interrupted.")
    terminal.object({"ok": False, "problem": {"code": "canceled", "detail": "interrupted"}})
