"""Logs: one line an event on stderr, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import structlog

from prover.settings import Settings


def console() -> structlog.typing.Processor:
    """Log lines for people. Tracebacks show no local variables: one of them may be an input."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def log_defects_only() -> None:
    """Logs of a command: what went wrong is said once, by the terminal; only an internal error is
    logged, and never on stdout, which belongs to programs."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, console()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure_logs(settings: Settings, *, quiet: Iterable[str] = ()) -> None:
    """Sends structlog's and the libraries' own messages to stderr in one format.

    Loggers named in ``quiet`` are heard from WARNING on only. What ``structlog.contextvars`` has
    bound (a job's id) is on every line of its thread.
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
