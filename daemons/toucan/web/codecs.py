"""Messages of calls as they are on the wire: the bytes that the methods take and give, or JSON (https://protobuf.dev/programming-guides/json).

A method takes and gives protobuf's encoding. So with ``proto`` nothing is done, and JSON is read into it and made of it, here and once. JSON is read
strictly: a field that is not known is an error, since ``{"quantiy": 100}`` would otherwise be an order of quantity 0.

A stream's message is mostly parts that all who watch the same are sent (:mod:`toucan.server.translate.pieces`). JSON of one
costs some microseconds, and is kept for the next who is sent the same bytes: a message's repeated parts are told from its encoding, tag and length,
without decoding them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.errors import ConnectError
from google.protobuf import json_format, message_factory
from google.protobuf.message import DecodeError, Message

from toucan.server.limits import REQUEST_BYTES_MAX
from toucan.web.json_text import json_text
from toucan.web.limits import JSON_PARTS_MAX

__all__ = ["Answer", "BinaryCodec", "JsonCodec"]

_LENGTH_DELIMITED = 2


class Answer:
    """What a method gives: a message's bytes, and of what kind it is."""

    __slots__ = ("data", "is_shared", "kind")

    def __init__(self, kind: type[Message], data: bytes, *, is_shared: bool) -> None:
        self.kind = kind
        self.data = data
        #: Others are sent parts of it.
        self.is_shared = is_shared


class BinaryCodec(Codec[Answer, Any]):
    """protobuf's own encoding, in and out as it is. What it cannot be is found by who reads it."""

    def name(self) -> str:
        """As in the content type."""
        return "proto"

    def encode(self, message: Answer) -> bytes:
        """An answer's bytes."""
        return message.data

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> bytes:
        """A request's bytes. Raises ConnectError (resource_exhausted)."""
        return _bounded(bytes(data))


class JsonCodec(Codec[Answer, Any]):
    """JSON, read strictly."""

    def __init__(self) -> None:
        #: The text of parts that were sent, by field and bytes.
        self._texts: dict[str, dict[bytes, str]] = {}

    def name(self) -> str:
        """As in the content type."""
        return "json"

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> bytes:
        """A request's bytes in protobuf's encoding. Raises ConnectError (invalid_argument, resource_exhausted)."""
        message = message_class()
        try:
            json_format.Parse(bytes(data), message, ignore_unknown_fields=False, max_recursion_depth=20)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            why = str(error).partition("\n")[0][:300]
            raise ConnectError(Code.INVALID_ARGUMENT, f"the JSON cannot be understood: {why}") from None
        return _bounded(message.SerializeToString())

    def encode(self, message: Answer) -> bytes:
        """An answer as JSON."""
        text = (
            self._put_together(message)
            if message.is_shared
            else json_text(message.kind.FromString(message.data))
        )
        return text.encode()

    def _put_together(self, message: Answer) -> str:
        """The same as of the whole message, from parts that are kept."""
        own = bytearray()
        lists: dict[str, list[str]] = {}
        fields: Any = message.kind.DESCRIPTOR.fields_by_number
        for number, body, whole in _fields(message.data):
            field = fields[number]
            if body is not None and field.is_repeated and field.message_type is not None:
                lists.setdefault(field.json_name, []).append(self._text(field, body))
            else:
                own += whole
        parts = [f'"{name}":[{",".join(texts)}]' for name, texts in lists.items()]
        rest = json_text(message.kind.FromString(bytes(own)))[1:-1]
        return "{" + ",".join([*parts, rest] if rest else parts) + "}"

    def _text(self, field: Any, body: bytes) -> str:
        texts = self._texts.setdefault(field.full_name, {})
        text = texts.get(body)
        if text is None:
            text = json_text(message_factory.GetMessageClass(field.message_type).FromString(body))
            if len(texts) >= JSON_PARTS_MAX:
                # All at once: what is still wanted is made again once, and nothing need be known of what was used when.
                texts.clear()
            texts[body] = text
        return text


def _bounded(request: bytes) -> bytes:
    if len(request) > REQUEST_BYTES_MAX:
        raise ConnectError(
            Code.RESOURCE_EXHAUSTED,
            f"a request may have {REQUEST_BYTES_MAX:,} bytes, and this one has {len(request):,}",
        )
    return request


def _fields(data: bytes) -> Iterator[tuple[int, bytes | None, bytes]]:
    """A message's fields in order: number, the content of one with a length or None, and all its bytes. It must be well formed: it is our own."""
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        if tag & 7 == _LENGTH_DELIMITED:
            size, at = _varint(data, at)
            body: bytes | None = data[at : at + size]
            at += size
        elif tag & 7 == 0:
            _, at = _varint(data, at)
            body = None
        else:
            raise DecodeError(f"wire type {tag & 7} is in no message of streams")
        yield tag >> 3, body, data[begin:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
