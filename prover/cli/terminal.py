"""Output of subcommands: tables and progress bars for people, one JSON object for programs.

With ``--json`` stdout gets exactly one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from circuits.errors import Fault, ZkmlError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Words of styles, as terminals know them.
_ANSI = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}

EXIT_YES, EXIT_NO, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class FileUnreadable(ZkmlError):
    """The file cannot be read."""

    code = "file_unreadable"
    fault = Fault.INPUT


class FileUnwritable(ZkmlError):
    """The file cannot be written."""

    code = "file_unwritable"
    fault = Fault.INPUT


class Terminal:
    """Output of one command. ``spoke``: whether this process has reported how its command ended;
    ``interrupted``: whether Ctrl-C was pressed."""

    spoke: ClassVar[bool] = False
    interrupted: ClassVar[bool] = False

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def out(self) -> Console:
        """Stdout, with styles where it is a terminal. Loads rich."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    @cached_property
    def err(self) -> Console:
        """Stderr, likewise."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def line(self, text: str = "", *, style: str = "") -> None:
        """A line for people, on stdout unless ``--json`` reserves that."""
        if self.as_json:
            return
        print(styled(text, style))

    def table(self, table: Table) -> None:
        """A table for people."""
        if not self.as_json:
            self.out.print(table)

    def object(self, value: Any) -> None:
        """The one JSON object, with ``--json``."""
        Terminal.spoke = True
        if self.as_json:
            print(json.dumps(value, ensure_ascii=False, default=str))

    def problem(self, problem: dict[str, Any]) -> None:
        """An error: detail, advice, code."""
        if self.as_json:
            self.object({"ok": False, "problem": problem})
            return
        self.err.print(f"error: {problem['detail']}", style="bold red", markup=False)
        if problem.get("advice"):
            self.err.print(f"  {problem['advice']}", markup=False)
        again = "; retrying may help" if problem.get("retryable") else ""
        self.err.print(f"  ({problem['code']}{again})", style="dim", markup=False)

    def usage(self, error: Exception) -> None:
        """An invalid command line."""
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "zkml"
        if not said:  # a group without a subcommand
            said = f"{command} needs a subcommand"
        advice = f"See `{command} --help`."
        self.problem({"code": "usage", "detail": said, "retryable": False, "advice": advice})


def styled(text: str, style: str) -> str:
    """The text in this style if stdout is a terminal, without loading rich."""
    if not style or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\x1b[{';'.join(_ANSI[word] for word in style.split())}m{text}\x1b[0m"


def wants_json(argv: Sequence[str]) -> Terminal:
    """A terminal for use before the command line is parsed."""
    return Terminal("--json" in argv)


#: Default limit for a model's external data, in bytes: protobuf's own.
_MOST_DATA = (1 << 31) - 1


def exit_code(error: ZkmlError) -> int:
    """The exit code for an error."""
    return EXIT_FAILED if error.fault in (Fault.INTERNAL, Fault.BUSY) else EXIT_USAGE


def read_file(path: Path, *, limit: int | None = None) -> bytes:
    """A file's bytes; raises ``FileUnreadable`` with the system's reason."""
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise FileUnreadable(f"{path} has {size} bytes, the limit is {limit}")
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from None


def read_model_file(path: Path, *, limit: int | None = None) -> bytes:
    """A model's bytes, including external data from files beside it, or in one ``.zip`` with it.

    Raises ``FileUnreadable`` and ``ExternalData``.
    """
    data, most = read_file(path, limit=limit), limit if limit is not None else _MOST_DATA
    if path.suffix != ".zip" and b"location" not in data:
        return data
    from circuits.frontend.external import embed_external, unpacked

    return (
        unpacked(data, most) if path.suffix == ".zip" else embed_external(data, path.parent, most)
    )


def is_batch(path: Path) -> bool:
    """Whether a file is the bundle of a batch; False for one that cannot be read."""
    from prover.batch.bundle import is_batch_bundle

    try:
        return is_batch_bundle(path)
    except OSError:
        return False  # reading it reports why


def check_writable(path: Path) -> None:
    """Raises ``FileUnwritable`` where ``write_file`` would, before hours of work."""
    folder = path.parent
    if path.is_dir():
        raise FileUnwritable(f"{path} is a folder", advice="Name the file to write.")
    if not folder.is_dir():
        raise FileUnwritable(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder if _is_replaceable(path) else path, os.W_OK):
        raise FileUnwritable(f"{path} cannot be written: permission denied")


def write_file(path: Path, data: bytes) -> None:
    """Writes a file atomically. Raises ``FileUnwritable``."""
    staged = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        if not _is_replaceable(path):
            path.write_bytes(data)
            return
        staged.write_bytes(data)
        staged.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise FileUnwritable(f"{path} cannot be written: {error.strerror}") from None


def _is_replaceable(path: Path) -> bool:
    """Whether a new file may replace the path: not for a device or a pipe."""
    return path.is_file() or not path.exists()


def shorten(text: str, width: int = 60) -> str:
    """At most ``width`` characters, an ellipsis where it was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"
