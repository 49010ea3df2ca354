"""Where the log goes and how it looks: one line an event on standard error, ours and the libraries' alike.

JSON for machines, `key=value` in colours for a terminal. Every event passes `redact_event` last. This module
must never write to standard output (commands answer there) and never let a failing log reach the program.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

import structlog

from watchdog.telemetry.redact import one_line, redact_event

#: Libraries that talk about every query or connection; below a warning they have nothing for an operator, and
#: at debug some print parameters.
_CHATTY = (
    "aiohttp",
    "aiosqlite",
    "alembic",
    "asyncio",
    "asyncpg",
    "httpcore2",
    "httpx2",
    "matplotlib",
    "pagerduty",
    "sqlalchemy",
    "urllib3",
)


class _Sink(logging.StreamHandler[TextIO]):
    """A stream handler that loses a record rather than print it raw, as the standard one does on errors."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        fault = sys.exc_info()[0]
        lost = {"event": "log_record_lost", "logger": record.name, "error": fault.__name__ if fault else ""}
        try:
            self.stream.write(f"{lost}\n")
        except (OSError, ValueError):  # the stream is gone: nowhere left to say so
            return


def configure(*, json: bool | None = None, level: str = "info", stream: TextIO | None = None) -> None:
    """Set logging up for the whole process; calling it again replaces what was there.

    `json` left out means: JSON unless `stream` (standard error) is a terminal. `level` is `debug`, `info`,
    `warning` or `error`; raises `ValueError` for any other.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"{level!r} is not a log level; write debug, info, warning or error")
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    as_json = not terminal if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Before the renderer: a renderer's own tracebacks show local variables, and those hold secrets.
        structlog.processors.format_exc_info,
    ]
    sink = _Sink(out)
    sink.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact_event,
                *([_one_line_event] if not as_json else []),
                _renderer(as_json=as_json, colours=terminal and "NO_COLOR" not in os.environ),
            ],
        )
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Sink)]:
        root.removeHandler(handler)
    root.addHandler(sink)
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderer(*, as_json: bool, colours: bool) -> structlog.typing.Processor:
    if as_json:
        return structlog.processors.JSONRenderer(ensure_ascii=True)
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def _one_line_event(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What a terminal would obey (escape sequences) is shown instead; tracebacks keep their lines."""
    return {
        key: one_line(value) if isinstance(value, str) and key not in {"exception", "stack"} else value
        for key, value in event.items()
    }
