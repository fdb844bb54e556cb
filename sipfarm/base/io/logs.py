"""Logs as data: an event name in the past tense with fields, one line each on standard error."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Mapping[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_HIDDEN_KEYS = frozenset(
    {"password", "secret", "token", "ha1", "ha1_md5", "ha1_sha256", "authorization"}
)


def configure_logs(
    log_format: LogFormat = "text", level: LogLevel = "info", stream: TextIO | None = None
) -> None:
    """Set up the process's logs, those of libraries included (from `warning` up)."""
    output = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _hide,
    ]
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer(default=repr)
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=["at", "level", "event"])
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, _LEVELS[level]))


def get_log(**fields: object) -> FilteringBoundLogger:
    """A log whose lines all carry these fields: `member`, and `call_id` where there is a call."""
    log: FilteringBoundLogger = structlog.get_logger(**fields)
    return log


def _hide(
    logger: object, method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    for key in _HIDDEN_KEYS & event.keys():
        event[key] = "***"
    return event


def _name_library(
    logger: object, method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """What a library says is a sentence; it becomes a field, the event being ours."""
    record = event.get("_record")
    event["library"] = record.name if isinstance(record, logging.LogRecord) else ""
    event["message"] = event.get("event", "")
    event["event"] = "library_logged"
    return event
