"""The keys that a DeleteObjects request names, from its XML body.

Law. Only the keys are read, and strictly: whoever marks objects as changing must see every key that the store will delete, so a document that
could be read in two ways (not well-formed, with a DOCTYPE whose entities expand, with elements where only text may be) is refused
before it is forwarded. The document itself is passed on untouched. Versions and ``Quiet`` are the store's business.

expat, which Python ships, is a parser; a search by pattern would not see through comments and CDATA.

Source: Amazon S3 API Reference, "DeleteObjects".
"""

from __future__ import annotations

from xml.parsers import expat

from cashy.core.s3_errors import S3Error

__all__ = ["DELETE_BODY_BYTES_MAX", "DELETE_KEYS_MAX", "keys_to_delete"]

#: S3's own limit of one request.
DELETE_KEYS_MAX = 1000

#: 1,000 keys of 1,024 bytes, each byte escaped as five characters at worst, are 5 MB; real ones are a tenth of that.
DELETE_BODY_BYTES_MAX = 6 << 20


class _Refused(Exception):
    """Ends parsing from within a handler."""


class _Reader:
    """Follows the path of elements and collects the text of ``Delete/Object/Key``."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.keys: list[str] = []
        self.text: list[str] | None = None

    def start(self, name: str, _attributes: object) -> None:
        if self.text is not None:
            raise _Refused
        self.path.append(name.rpartition("}")[2])
        if self.path == ["Delete", "Object", "Key"]:
            self.text = []

    def end(self, _name: str) -> None:
        self.path.pop()
        if self.text is not None:
            self.keys.append("".join(self.text))
            self.text = None
            if len(self.keys) > DELETE_KEYS_MAX:
                raise _Refused

    def data(self, text: str) -> None:
        if self.text is not None:
            self.text.append(text)

    def refuse(self, *_: object) -> None:
        raise _Refused


def keys_to_delete(document: bytes) -> tuple[str, ...]:
    """The keys, in order. Raises :class:`S3Error` (MalformedXML) for what is no such document."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(document, True)
    except (
        expat.ExpatError,
        _Refused,
        LookupError,
        ValueError,
    ):  # also of encodings that Python does not know
        raise S3Error("MalformedXML") from None
    if not reader.keys or "" in reader.keys:
        raise S3Error("MalformedXML")
    return tuple(reader.keys)
