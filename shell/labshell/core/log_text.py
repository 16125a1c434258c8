"""Messages that are JSON, for people: ``event  key=value …``.

Law: nothing is lost but what the line says anyway (its time, its level), and what is no such message stays as it is, to the letter.
"""

from __future__ import annotations

import msgspec

__all__ = ["readable"]

#: Said by the journal already.
_KNOWN = frozenset({"event", "timestamp", "level"})


def readable(text: str) -> str:
    """A message of structlog's JSON form in one line; any other as it is."""
    if not text.startswith('{"') or '"event"' not in text:
        return text
    try:
        fields = msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError:
        return text
    event = fields.get("event")
    if not isinstance(event, str):
        return text
    return "  ".join(
        [event, " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if name not in _KNOWN)]
    ).rstrip()


def _shown(value: object) -> str:
    if isinstance(value, str) and value and not any(mark.isspace() or mark in "\"'=" for mark in value):
        return value
    return msgspec.json.encode(value).decode()
