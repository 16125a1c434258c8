"""The log of cashy's daemons: one event per line on standard error, for people or as JSON.

Law: an event is a short constant text plus named values, so that lines can be counted and searched; no
value that could let a reader in is ever written. Secrets are kept out twice: values with a telling name are
replaced whole, and signatures and tokens inside other texts (a presigned URL, a header) are blanked.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO

import structlog

__all__ = ["REDACTED", "configure_logging", "get_logger", "is_secret_name", "redact"]

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"secret|password|token|authorization|signature|credential", re.IGNORECASE)
#: Signatures and session tokens of SigV4, in query strings and in headers.
_SECRET_TEXT = re.compile(
    r"(?i)(X-Amz-(?:Signature|Security-Token|Credential)=|Signature=|AWSAccessKeyId=|aws_secret_access_key\s*=\s*)"
    r"[^&\s,;\"']+"
)
#: ``credentials=/etc/…`` names a file: paths may be told.
_TELLABLE = re.compile(r"(?i)(file|path)$")


def configure_logging(level: str, line_format: str, stream: TextIO | None = None) -> None:
    """Sets up the log of this process: ``level`` debug to error, ``line_format`` "console" or "json"."""
    output = stream or sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if line_format == "json"
        else structlog.dev.ConsoleRenderer(colors=output.isatty(), sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # A traceback must be text before secrets are looked for in it.
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,
    )


def get_logger(**values: Any) -> Any:
    """Gives a logger whose every event carries ``values``, e.g. ``get_logger(program="cashy master")``."""
    return structlog.get_logger(**values)


def redact(logger: object, method: str, event: Any) -> Any:
    """Replaces secrets in an event; a processor of structlog."""
    return {name: _redact_value(name, value) for name, value in event.items()}


def is_secret_name(name: str) -> bool:
    """Whether a name says that its value is secret."""
    return bool(_SECRET_NAME.search(name) and not _TELLABLE.search(name))


def _redact_value(name: str, value: object) -> object:
    if is_secret_name(name):
        return REDACTED
    if isinstance(value, dict):
        return {key: _redact_value(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact_value("", inner) for inner in value]
    if isinstance(value, (str, bytes)):
        text = value if isinstance(value, str) else value.decode("utf-8", "replace")
        return _SECRET_TEXT.sub(lambda found: found[1] + REDACTED, text)
    return value
