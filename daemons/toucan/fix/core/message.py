"""A FIX message as a list of tags and values, and what can be wrong with one.

Law: a message is what stands between BodyLength and CheckSum, in the order of the wire; the session's own fields (CompIDs, numbers, times) are there
when a message has come and not when one is made. A value is text until somebody asks for it as something else, and what it cannot be then is a
:class:`FixFault`, in FIX's own words for it (SessionRejectReason, BusinessRejectReason), never a guess. Bytes that are no UTF-8 stand in it as lone
surrogates, which nothing can write down.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from toucan.fix.core.tags import Tag
from toucan.fix.limits import FIELD_CHARACTERS_MAX

__all__ = ["SOH", "FaultKind", "Fields", "FixFault", "FixMessage", "clean", "masked"]

SOH = "\x01"
Fields = tuple[tuple[int, str], ...]

_MASKED = "***"
#: In RawData passwords and their signatures stand as well.
_SECRET_TAGS = (Tag.PASSWORD, Tag.USERNAME, Tag.RAW_DATA, Tag.NEW_PASSWORD)
#: Of a whole number: as many as fit 63 bits for sure.
_DIGITS_MAX = 18


class FaultKind(enum.Enum):
    """What is wrong with a message."""

    #: SessionRejectReason 1: required tag missing.
    MISSING = "required tag missing"
    #: SessionRejectReason 6: incorrect data format for value.
    FORMAT = "incorrect data format for value"
    #: SessionRejectReason 5: value is incorrect (out of range) for this tag.
    VALUE = "value is incorrect for this tag"
    #: BusinessRejectReason 3: unsupported message type.
    UNSUPPORTED = "unsupported message type"


class FixFault(ValueError):
    """A message that cannot be used; the other side's fault, and it is told so. ``tag`` is the field that it is about."""

    def __init__(self, kind: FaultKind, tag: int, text: str = "") -> None:
        super().__init__(f"{kind.value}: tag {tag}" + (f", {text}" if text else ""))
        self.kind = kind
        self.tag = tag


class FixMessage:
    """``fields`` may hold a tag more than once, in groups; :meth:`get` gives the first."""

    __slots__ = ("_first", "fields", "type")

    def __init__(self, type: str, fields: Iterable[tuple[int, str]]) -> None:
        self.type = str(type)
        self.fields: Fields = tuple((int(tag), value) for tag, value in fields)
        self._first: dict[int, str] = {}
        for tag, value in self.fields:
            self._first.setdefault(tag, value)

    @classmethod
    def parse(cls, text: str) -> FixMessage:
        """One whole message as text. What stands there without a tag, such as the inside of binary data, is left out."""
        fields = []
        for part in text.split(SOH):
            tag, equals, value = part.partition("=")
            if equals and len(tag) <= _DIGITS_MAX and tag.isascii() and tag.isdigit():
                fields.append((int(tag), value))
        kind = next((value for tag, value in fields if tag == Tag.MSG_TYPE), "")
        return cls(kind, fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixMessage) and (self.type, self.fields) == (other.type, other.fields)

    __hash__ = None  # type: ignore[assignment]  # it is compared in tests alone

    def __repr__(self) -> str:
        return f"FixMessage({self.type!r}, {masked(self.fields)!r})"

    def get(self, tag: int, default: str = "") -> str:
        """The value, or the default if it is not there."""
        return self._first.get(tag, default)

    def has(self, tag: int) -> bool:
        """Whether it is there."""
        return tag in self._first

    def need(self, tag: int) -> str:
        """The value. Raises :class:`FixFault` if it is not there or empty."""
        value = self._first.get(tag, "")
        if not value:
            raise FixFault(FaultKind.MISSING, tag)
        return value

    def said(self, tag: int) -> str:
        """The value as text that can be kept and shown: not longer than a record holds, and with U+FFFD for bytes that are no UTF-8."""
        value = self._first.get(tag, "")[:FIELD_CHARACTERS_MAX]
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def check_text(self, tag: int) -> None:
        """That the value can be kept as it is. Raises :class:`FixFault`."""
        value = self._first.get(tag, "")
        if len(value) > FIELD_CHARACTERS_MAX:
            raise FixFault(FaultKind.VALUE, tag, f"longer than {FIELD_CHARACTERS_MAX} characters")
        if any("\ud800" <= one <= "\udfff" for one in value):
            raise FixFault(FaultKind.FORMAT, tag, "no UTF-8")

    def all(self, tag: int) -> list[str]:
        """The values of all fields with this tag."""
        return [value for one, value in self.fields if one == tag]

    def whole(self, tag: int, default: int = 0) -> int:
        """A whole number that is not negative. Raises :class:`FixFault`."""
        value = self._first.get(tag)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX):
            raise FixFault(FaultKind.FORMAT, tag, f"{value[:20]!r} is no whole number")
        return int(value)

    def flag(self, tag: int) -> bool:
        """FIX's Boolean; absent is no."""
        return self._first.get(tag) == "Y"

    @property
    def is_possible_duplicate(self) -> bool:
        """PossDupFlag (43): the session sends it again under its first number."""
        return self.flag(Tag.POSS_DUP_FLAG)

    @property
    def is_possible_resend(self) -> bool:
        """PossResend (97): it may have been sent before, under another number."""
        return self.flag(Tag.POSS_RESEND)


def clean(text: str) -> str:
    """Text as FIX can carry it: no control characters, which would end a field, and nothing that is no text."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " for one in text)


def masked(fields: Iterable[tuple[int, str]]) -> str:
    """For the log: ``35=A|49=US|…``, without what could let somebody in."""
    return "|".join(f"{int(tag)}={_MASKED if tag in _SECRET_TAGS else value}" for tag, value in fields)
