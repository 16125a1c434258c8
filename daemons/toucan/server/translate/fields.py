"""Single fields of requests: what each may be, said in the API's own words when it is not.

Every check names the field as the request spells it (``terms.side``). What only the engine can judge (a price's tick, a limit) is left to it; here is
what could not even be asked: no such enum value, a number outside of what prices and quantities can be, text without end.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any, TypeVar

from google.protobuf.message import Message

from toucan.core.instruments import NUMBER_MAX
from toucan.core.terms import AT_NS_MAX
from toucan.server.errors import InvalidRequest
from toucan.server.limits import FILTER_NAMES_MAX, NAME_CHARACTERS_MAX

__all__ = [
    "bounded",
    "enum_member",
    "event_number",
    "message",
    "name",
    "names",
    "number",
    "optional_number",
    "order_id",
    "point_in_time",
    "printable",
]

_Member = TypeVar("_Member", bound=enum.IntEnum)


def message(parent: Message, field: str, path: str = "") -> Any:
    """A message that must be there."""
    if not parent.HasField(field):
        raise InvalidRequest(f"{path}{field} is missing", field=path + field)
    return getattr(parent, field)


def enum_member(value: int, kind: type[_Member], prefix: str, field: str) -> _Member:
    """A member of an enum whose numbers are the API's. ``prefix`` is how the API's names begin, such as ``SIDE_``."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(prefix + member.name for member in kind)
        said = f"{prefix}UNSPECIFIED" if value == 0 else f"{value}, which this server does not know"
        raise InvalidRequest(f"{field} is {said}; it must be one of {known}", field=field) from None


def number(value: int, field: str) -> int:
    """A price or quantity: an integer of at most 53 bits, of either sign."""
    if abs(value) > NUMBER_MAX:
        raise InvalidRequest(f"{field} is {value}; no price or quantity is beyond {NUMBER_MAX}", field=field)
    return value


def optional_number(parent: Message, name: str, path: str = "") -> int | None:
    """A price or quantity that may be absent."""
    return number(getattr(parent, name), path + name) if parent.HasField(name) else None


def point_in_time(parent: Message, name: str, path: str = "") -> int | None:
    """A time in ns since the epoch that may be absent."""
    if not parent.HasField(name):
        return None
    value: int = getattr(parent, name)
    return bounded(value, 0, AT_NS_MAX, path + name)


def bounded(value: int, least: int, most: int, field: str) -> int:
    """An integer from ``least`` to ``most``."""
    if not least <= value <= most:
        raise InvalidRequest(f"{field} is {value}; it must be from {least} to {most}", field=field)
    return value


def order_id(value: int) -> int:
    """The engine's id of an order."""
    if value < 1:
        raise InvalidRequest(
            f"order_id is {value}; give the id that SubmitOrder has answered", field="order_id"
        )
    return value


def event_number(value: int, field: str) -> int:
    """A place in the engine's history; 0: before its beginning."""
    if value < 0:
        raise InvalidRequest(f"{field} is {value}; events are numbered from 1", field=field)
    return value


def printable(text: str, characters_max: int, field: str) -> str:
    """Text for people, on one line; may be empty."""
    if len(text) > characters_max:
        raise InvalidRequest(
            f"{field} has {len(text)} characters; {characters_max} are the most", field=field
        )
    if not text.isprintable():
        raise InvalidRequest(
            f"{field} has line breaks or other characters that cannot be shown; send plain text", field=field
        )
    return text


def name(text: str, field: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """A name that must be there."""
    if not text:
        raise InvalidRequest(f"{field} is empty", field=field)
    return printable(text, characters_max, field)


def names(given: Collection[str], field: str, count_max: int = FILTER_NAMES_MAX) -> frozenset[str] | None:
    """A list of names of a filter; None: it is empty, so everything matches."""
    if len(given) > count_max:
        raise InvalidRequest(f"{field} has {len(given)} names; {count_max} are the most", field=field)
    return frozenset(name(one, f"{field}[{index}]") for index, one in enumerate(given)) or None
