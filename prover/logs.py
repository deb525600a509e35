"""Logs: one line per event on stderr, as text or JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import structlog

from prover.settings import Settings


def console() -> structlog.typing.Processor:
    """Log lines as text. Tracebacks omit local variables, which may contain inputs."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def log_defects_only() -> None:
    """Logs of a command: the terminal reports errors, so only internal errors are logged, and
    never on stdout."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, console()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure_logs(settings: Settings, *, quiet: Iterable[str] = ()) -> None:
    """Sends messages of structlog and of libraries to stderr in one format.

    Loggers named in ``quiet`` log from WARNING on. Values bound with ``structlog.contextvars`` (a
    job's id) are on every line of the thread.
    """
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
