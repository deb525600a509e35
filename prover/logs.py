"""Logs: one line per event on stderr, as text or JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import structlog

    from prover.settings import Settings

#: What configures the logs of a command, with its first line.
_of_commands: list[Callable[[], None]] = []


class Logger:
    """structlog's logger of a name. The library is imported with the first line that is logged:
    commands that log nothing do not wait for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _logger(self) -> Any:
        import structlog

        if _of_commands:
            _of_commands.pop()()
        return structlog.get_logger(self._name)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._logger, method)
        return found


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    return Logger(name)


def log_context(**values: object) -> AbstractContextManager[None]:
    """What every line of this thread says while the context is open, where ``configure_logs`` was
    called: commands do not say it."""
    if "structlog" not in sys.modules:
        return nullcontext()
    import structlog

    return structlog.contextvars.bound_contextvars(**values)


def request_in_context() -> dict[str, str]:
    """The id of the request that is being served, to store with a job that it creates; empty
    outside."""
    if "structlog" not in sys.modules:
        return {}
    import structlog

    found = structlog.contextvars.get_contextvars().get("request_id")
    return {} if found is None else {"request_id": str(found)}


def console() -> structlog.typing.Processor:
    """Log lines as text. Tracebacks omit local variables, which may contain inputs."""
    import structlog

    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def log_defects_only() -> None:
    """Logs of a command: what went wrong is said once, by the terminal; only an internal error is
    logged, and never on stdout, which belongs to programs."""
    _of_commands[:] = [_configure_defects_only]


def _configure_defects_only() -> None:
    import structlog

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, console()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure_logs(settings: Settings, *, quiet: Iterable[str] = ()) -> None:
    """Sends messages of structlog and of libraries to stderr in one format.

    Loggers named in ``quiet`` log from WARNING on. Values bound with ``structlog.contextvars`` (ids
    of job, circuit, tenant and request) are on every line of the thread.
    """
    import structlog

    _of_commands.clear()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.log_json
        else [console()]
    )
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in quiet:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
