"""Structured logs: stable event names in snake case, everything else as fields.

Log events are for people and for alarms; what an auditor needs stands in the journal. Nothing that
looks like a secret is written, whoever logs it.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Final, Literal, TextIO
from urllib.parse import urlsplit

import structlog

REDACTED: Final = "[redacted]"
_DEPTH_MAX = 6

_SECRET_KEY = re.compile(
    r"passw|passphrase|secret|private|mnemonic|seed|credential|authorization|cookie|api_?key"
    r"|access_?key|signing_?key|(^|_)(sk|token|jwt|auth)($|_)",
    re.IGNORECASE,
)
_PASSWORD_FILE = re.compile(r"_file$|_path$", re.IGNORECASE)
_NOT_FIELDS = frozenset({"exc_info", "_record", "_from_structlog"})
"""What structlog itself carries beside the fields."""

_URL = re.compile(r"\b(https?|wss?)://[^\s\"'<>,)\]}]+")


def redact(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Take secrets out of a log event: by the name of the field, and access keys out of URLs."""
    for key, value in event.items():
        if key not in _NOT_FIELDS:
            event[key] = _redacted(key, value, 0)
    return event


def _redacted(key: str, value: object, depth: int) -> object:
    if _SECRET_KEY.search(key) and not _PASSWORD_FILE.search(key):
        return REDACTED
    if isinstance(value, str):
        return _URL.sub(lambda match: public_part(match[0]), value)
    # Numbers and digests are what nearly every field holds.
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 256 else f"{value[:32].hex()}… ({len(value)} bytes)"
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        return {str(k): _redacted(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(key, item, depth + 1) for item in value]
    if isinstance(value, BaseException):
        return _redacted(key, f"{type(value).__name__}: {value}", depth)
    # The text of an unknown object may be a key: blspy's private keys print themselves.
    return f"<{type(value).__name__}>"


def public_part(url: str) -> str:
    """Return a URL without user, path and query, which hold the access keys of RPC services."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        place = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return REDACTED
    rest = "/…" if parts.path not in ("", "/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{place}{port}{rest}"


def _redact_exception(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    # After the traceback has become text.
    text = event.get("exception")
    if isinstance(text, str):
        event["exception"] = _URL.sub(lambda match: public_part(match[0]), text)
    return event


def configure_logging(
    format: Literal["text", "json"] = "text",
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Send this process's logs to a stream (standard error), as text for people or as JSON lines.

    Libraries that use `logging` come out in the same form, from `warning` on.
    """
    out = stream if stream is not None else sys.stderr
    threshold = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        redact,
    ]
    ending: list[structlog.typing.Processor]
    if format == "json":
        ending = [
            structlog.processors.format_exc_info,
            _redact_exception,
            structlog.processors.JSONRenderer(),
        ]
    else:
        # Plain tracebacks: the rich ones print local variables, keys among them.
        ending = [
            structlog.processors.format_exc_info,
            _redact_exception,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(),
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))
