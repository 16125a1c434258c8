"""A page of a bucket as a store gives it: the query that asks for it, and its XML read.

Law. Pure: text in, values out. A page is read strictly and whole, or not at all: a listing that silently misses entries makes somebody believe
that objects are gone. Keys are asked for percent-encoded, since XML cannot carry all characters that keys may have, and taken literally
if the store does not say that it encoded them. More entries than were asked for are refused, so that whoever asks knows how large an answer
can be. Tokens are the store's own and passed on unread.

Rejected: ``start-after`` with the last key instead of tokens: with a delimiter it lists the last common prefix again.

Source: Amazon S3 API Reference, "ListObjectsV2".
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_plus
from xml.parsers import expat

__all__ = ["ListAnswer", "ListedKey", "NotAListing", "list_query", "read_list_answer"]


class NotAListing(ValueError):
    """The document is no page of a listing, or has more on it than was asked for."""


class ListedKey(NamedTuple):
    """A key with what the store tells of its object (seconds since the epoch; the ETag with its quotes), or a common prefix."""

    key: str
    is_prefix: bool
    size_bytes: int = 0
    last_modified: float = 0.0
    etag: str = ""


class ListAnswer(NamedTuple):
    """What a page has, and what asks for the next one (empty: it is the last)."""

    keys: tuple[ListedKey, ...]
    token: str


def list_query(prefix: str, *, folds: bool, token: str, keys_max: int) -> str:
    """The query of a request, its names in order and encoded as a signature wants it."""
    given = {
        "continuation-token": token,
        "delimiter": "/" if folds else "",
        "encoding-type": "url",
        "list-type": "2",
        "max-keys": str(keys_max),
        "prefix": prefix,
    }
    return "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in given.items() if value)


class _Reader:
    """Collects the texts of the elements that count, by their path."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.top: dict[str, str] = {}
        self.entries: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []

    def start(self, name: str, _attributes: object) -> None:
        self.path.append(name.rpartition("}")[2])
        self._text.clear()
        if len(self.path) == 1 and self.path[0] != "ListBucketResult":
            raise NotAListing(f"the document is a {self.path[0]!r}")
        if len(self.path) == 2 and self.path[1] in ("Contents", "CommonPrefixes"):
            self.entries.append((self.path[1], {}))

    def end(self, _name: str) -> None:
        text = "".join(self._text)
        self._text.clear()
        if len(self.path) == 2:
            self.top[self.path[1]] = text
        elif len(self.path) == 3 and self.path[1] in ("Contents", "CommonPrefixes"):
            self.entries[-1][1][self.path[2]] = text
        self.path.pop()

    def data(self, text: str) -> None:
        self._text.append(text)

    def refuse(self, *_: object) -> None:
        raise NotAListing("the document has a DOCTYPE")


def read_list_answer(document: bytes, *, keys_max: int) -> ListAnswer:
    """Reads a ListBucketResult. Raises :class:`NotAListing`."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(document, True)
        is_encoded = reader.top.get("EncodingType", "") == "url"
        keys = tuple(sorted(_key(kind, fields, is_encoded) for kind, fields in reader.entries))
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise NotAListing(str(error)) from None
    if len(keys) > keys_max:
        raise NotAListing(f"{len(keys):,} entries where at most {keys_max:,} were asked for")
    is_truncated = reader.top.get("IsTruncated", "").strip() == "true"
    token = reader.top.get("NextContinuationToken", "") if is_truncated else ""
    if is_truncated and not token:
        raise NotAListing("it says that there is more, and not how to ask for it")
    return ListAnswer(keys, token)


def _key(kind: str, fields: dict[str, str], is_encoded: bool) -> ListedKey:
    text = fields["Key" if kind == "Contents" else "Prefix"]
    key = unquote_plus(text, errors="strict") if is_encoded else text
    if kind == "CommonPrefixes":
        return ListedKey(key, True)
    modified = datetime.fromisoformat(fields["LastModified"].strip())
    return ListedKey(key, False, int(fields["Size"]), modified.timestamp(), fields.get("ETag", ""))
