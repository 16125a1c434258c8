"""Listing a bucket page by page: what is asked for, and which keys and common prefixes belong on one page.

Law. A listing is a sequence of *elements* in the binary order of their UTF-8: each is a key, or the common prefix of all keys that share
it up to the delimiter (CommonPrefixes count as keys). A page is the first ``max_keys`` elements that lie strictly after where the last page ended,
so pages joined are the whole listing whatever the page size. A marker inside a common prefix lies after that prefix: the prefix
is not listed again, as S3 and its imitators do it.

What holds the keys is not known here. :class:`PageBuilder` says from which key on it wants the next one (``bound``, ``stop``: half-open
ranges of bytes, so "after this key" and "after all keys with this prefix" are one thing), and is told what was found. So whoever has the keys
skips what a delimiter folds away, and keeps no more than one.

A continuation token is the position itself, behind a digest that ties it to its bucket. It holds on every worker and across restarts,
since nobody has to remember it. The digest is against mistakes only (cut off, of another bucket, made up): a position gives
nobody anything that ``start-after`` does not give. Rejected: a keyed signature, for which all hosts would have to share a key.

Not XML: a query in, a page out (:mod:`cashy.core.s3_listing_xml` writes it).

Sources: Amazon S3 API Reference, "ListObjectsV2", "ListObjects", "ListObjectVersions"; "Organizing objects using prefixes", Amazon S3 User Guide.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, NamedTuple

from cashy.core.http_head import decode_component
from cashy.core.names import S3_KEY_BYTES_MAX
from cashy.core.s3_errors import S3Error

__all__ = [
    "MAX_KEYS",
    "Found",
    "ListingKind",
    "ListingQuery",
    "Page",
    "PageBuilder",
    "after_all_with_prefix",
    "integer_of",
    "listing_query",
    "make_token",
    "parameters",
    "position_of",
]

ListingKind = Literal["objects-v1", "objects-v2", "versions"]

#: Elements of one page; S3 never gives more, whatever is asked for.
MAX_KEYS = 1000

_INTEGER_MAX = 2**31 - 1
_DIGEST_BYTES = 8  # tells 1 in 2^64 mistakes for a token
_TOKEN_VERSION = b"\x01"
_TOKEN_CHARACTERS_MAX = (1 + _DIGEST_BYTES + 4 * S3_KEY_BYTES_MAX) * 4 // 3 + 4
_MARKERS: dict[ListingKind, str] = {
    "objects-v1": "marker",
    "objects-v2": "start-after",
    "versions": "key-marker",
}


class Found(NamedTuple):
    """A key with what a listing tells of its object; ``etag`` has its quotes, ``modified_s`` is whole seconds since the epoch.

    ``size_bytes`` below 0: some key or other with this prefix, of which nothing else is known.
    """

    key: bytes
    size_bytes: int = -1
    modified_s: int = 0
    etag: str = ""


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """One listing's parameters. Texts are as the client sent them, for the answer repeats them; ``after`` is where the page begins."""

    kind: ListingKind
    bucket: str
    prefix: str = ""
    delimiter: str = ""
    max_keys: int = MAX_KEYS
    #: Elements up to this one are not listed; None: from the beginning.
    after: bytes | None = None
    #: marker, start-after or key-marker, as sent.
    marker: str | None = None
    token: str | None = None
    is_url_encoded: bool = False
    wants_owner: bool = False


@dataclass(slots=True)
class Page:
    """What one answer lists. ``last`` is the last element, where the next page begins; None if there is none."""

    found: list[Found] = field(default_factory=list)
    prefixes: list[bytes] = field(default_factory=list)
    is_truncated: bool = False
    last: bytes | None = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.found) + len(self.prefixes)


class PageBuilder:
    """Makes one page. While :attr:`wants_more`: look for the least key in ``bound`` … ``stop`` (None: no end), and :meth:`add` it."""

    def __init__(self, query: ListingQuery) -> None:
        self._prefix = query.prefix.encode()
        self._delimiter = query.delimiter.encode()
        self._max_keys = query.max_keys
        self.page = Page()
        self.bound = self._prefix
        if query.after is not None:
            self.bound = max(self._prefix, self._beyond(query.after))
        self.stop = after_all_with_prefix(self._prefix)

    @property
    def wants_more(self) -> bool:
        """False once the page is known: it is full and what follows was looked for, or nothing was wanted."""
        return self._max_keys > 0 and not self.page.is_truncated

    def add(self, found: Found) -> None:
        """Takes the least key from ``bound`` on. Of a full page it only tells that something follows."""
        page = self.page
        if page.count >= self._max_keys:
            page.is_truncated = True
            return
        group = self._group_of(found.key)
        if group is None:
            page.found.append(found)
        else:
            page.prefixes.append(group)
        page.last = found.key if group is None else group
        self.bound = self._beyond(page.last)

    def end_early(self) -> bool:
        """Ends the page where it is, for lack of time: S3 may give fewer than were asked for. False if it is empty, for nothing would go on."""
        self.page.is_truncated = self.page.last is not None
        return self.page.is_truncated

    def _group_of(self, key: bytes) -> bytes | None:
        """The common prefix that stands for a key, None if it stands for itself."""
        if not self._delimiter or not key.startswith(self._prefix):
            return None
        at = key.find(self._delimiter, len(self._prefix))
        return None if at < 0 else key[: at + len(self._delimiter)]

    def _beyond(self, position: bytes) -> bytes:
        """The least key that belongs to a later element than the one ``position`` is or lies in."""
        group = self._group_of(position)
        beyond = None if group is None else after_all_with_prefix(group)
        return position + b"\0" if beyond is None else beyond


def after_all_with_prefix(prefix: bytes) -> bytes | None:
    """The least bytes after all that begin with ``prefix``; None if there are none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


# ---------------------------------------------------------------- the query


def parameters(query: bytes) -> dict[str, str]:
    """A query's parameters, decoded; of repeated ones the first counts. Raises :class:`S3Error` for what is not UTF-8."""
    found: dict[str, str] = {}
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        found.setdefault(decode_component(name), decode_component(value.replace(b"+", b" ")))
    return found


def listing_query(kind: ListingKind, bucket: str, given: Mapping[str, str]) -> ListingQuery:
    """The parameters of a listing, checked. Raises :class:`S3Error` (InvalidArgument)."""
    marker = given.get(_MARKERS[kind])
    token = given.get("continuation-token") if kind == "objects-v2" else None
    after = marker.encode() if marker else None
    if token is not None:
        after = position_of(token, bucket)
    if kind == "versions" and given.get("version-id-marker") and not marker:
        raise _invalid(
            "version-id-marker", given, "A version-id marker cannot be specified without a key marker."
        )
    return ListingQuery(
        kind,
        bucket,
        prefix=given.get("prefix", ""),
        delimiter=given.get("delimiter", ""),
        max_keys=min(MAX_KEYS, integer_of("max-keys", given, MAX_KEYS)),
        after=after,
        marker=marker,
        token=token,
        is_url_encoded=_is_url_encoded(given),
        wants_owner=kind != "objects-v2" or given.get("fetch-owner", "").lower() == "true",
    )


def integer_of(name: str, given: Mapping[str, str], default: int) -> int:
    """A parameter from 0 to 2^31 - 1; left out or empty it is ``default``. Raises :class:`S3Error`."""
    text = given.get(name, "")
    if not text:
        return default
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text, re.ASCII) is None or int(text) > _INTEGER_MAX:
        raise _invalid(name, given, f"Provided {name} not an integer or within integer range")
    if int(text) < 0:
        raise _invalid(name, given, f"Argument {name} must be an integer between 0 and {_INTEGER_MAX}")
    return int(text)


def _is_url_encoded(given: Mapping[str, str]) -> bool:
    encoding = given.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise _invalid("encoding-type", given, "Invalid Encoding Method specified in Request")
    return encoding == "url"


def _invalid(name: str, given: Mapping[str, str], message: str) -> S3Error:
    return S3Error(
        "InvalidArgument", message, (("ArgumentName", name), ("ArgumentValue", given.get(name, "")))
    )


# ---------------------------------------------------------------- tokens


def make_token(position: bytes, scope: str) -> str:
    """A continuation token for what follows ``position`` in ``scope`` (a bucket's name; empty for the list of buckets)."""
    raw = _TOKEN_VERSION + _digest(position, scope) + position
    return base64.urlsafe_b64encode(raw).decode()


def position_of(token: str, scope: str) -> bytes:
    """The position in a token that :func:`make_token` made for ``scope``. Raises :class:`S3Error` for any other text."""
    try:
        if len(token) > _TOKEN_CHARACTERS_MAX:
            raise ValueError("longer than any token")
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _wrong_token(token) from None
    version, digest, position = raw[:1], raw[1 : 1 + _DIGEST_BYTES], raw[1 + _DIGEST_BYTES :]
    if version != _TOKEN_VERSION or not position or digest != _digest(position, scope):
        raise _wrong_token(token)
    return position


def _digest(position: bytes, scope: str) -> bytes:
    text = len(scope).to_bytes(4, "little") + scope.encode("utf-8", "surrogatepass") + position
    return blake2b(text, digest_size=_DIGEST_BYTES, person=b"cashy listing 1").digest()


def _wrong_token(token: str) -> S3Error:
    shown = (("ArgumentName", "continuation-token"), ("ArgumentValue", token[:_TOKEN_CHARACTERS_MAX]))
    return S3Error("InvalidArgument", "The continuation token provided is incorrect", shown)
