"""The list of buckets: that of a store read, those of several places joined, a page of it.

Law. A bucket belongs to the first place that has it, in the order of the places, as everywhere. What a store says is taken from its XML and
from nothing else, by a parser that knows no entities, with a bound on how many buckets there may be: a document that is no list is an error
of the store, never an empty list. Names that no request here could name are left out.

Source: Amazon S3 API Reference, "ListBuckets".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from xml.parsers import expat

from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import check_target
from cashy.core.s3_listing import integer_of, make_token, position_of
from cashy.core.s3_listing_xml import buckets_document
from cashy.errors import OriginInvalid

__all__ = ["BUCKETS_MAX", "StoreBuckets", "buckets_page", "can_be_named", "joined", "read_buckets"]

#: Buckets of one place, and of one page: what S3 gives in one answer at most.
BUCKETS_MAX = 10_000


class StoreBuckets(NamedTuple):
    """One answer of a store: names with whole seconds since the epoch, and the token for more (None: that was all)."""

    buckets: dict[str, int]
    next_token: str | None


def can_be_named(bucket: str) -> bool:
    """Whether a request could name this bucket."""
    try:
        path = b"/" + bucket.encode()
        check_target(b"GET", path, b"", bucket, "")
    except (S3Error, UnicodeEncodeError):
        return False
    return bool(bucket)


def joined(places: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """All buckets of the places, each as the first place has it."""
    found: dict[str, int] = {}
    for buckets in places:
        for name, created_s in buckets.items():
            found.setdefault(name, created_s)
    return found


def buckets_page(buckets: Mapping[str, int], given: Mapping[str, str]) -> bytes:
    """The document that ListBuckets with these parameters answers with. Raises :class:`S3Error`."""
    count_max = integer_of("max-buckets", given, BUCKETS_MAX)
    if not 1 <= count_max <= BUCKETS_MAX:
        shown = (("ArgumentName", "max-buckets"), ("ArgumentValue", given["max-buckets"]))
        raise S3Error(
            "InvalidArgument", f"Argument max-buckets must be an integer between 1 and {BUCKETS_MAX}", shown
        )
    prefix, token = given.get("prefix", ""), given.get("continuation-token")
    after = "" if token is None else position_of(token, "").decode()
    names = sorted(name for name in buckets if name.startswith(prefix) and name > after)
    page = names[:count_max]
    next_token = make_token(page[-1].encode(), "") if len(names) > len(page) else None
    return buckets_document(((name, buckets[name]) for name in page), prefix=prefix, next_token=next_token)


class _Reader:
    """Collects what an expat parser finds."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.text: list[str] = []
        self.name = ""
        self.created_s = 0
        self.buckets: dict[str, int] = {}
        self.token = ""
        self.root = ""

    def begin(self, tag: str, _: Mapping[str, str]) -> None:
        self.path.append(tag.rpartition(" ")[2])
        self.root = self.root or self.path[0]
        self.text = []

    def data(self, data: str) -> None:
        self.text.append(data)

    def end(self, _: str) -> None:
        place, text = self.path[1:], "".join(self.text).strip()
        if place == ["Buckets", "Bucket", "Name"]:
            self.name = text
        elif place == ["Buckets", "Bucket", "CreationDate"]:
            self.created_s = _seconds(text)
        elif place == ["Buckets", "Bucket"]:
            self._keep()
        elif place == ["ContinuationToken"]:
            self.token = text
        self.path.pop()
        self.text = []

    def _keep(self) -> None:
        if can_be_named(self.name):
            self.buckets[self.name] = self.created_s
        if len(self.buckets) > BUCKETS_MAX:
            raise OriginInvalid(f"a list of more than {BUCKETS_MAX} buckets")
        self.name, self.created_s = "", 0


def read_buckets(document: bytes) -> StoreBuckets:
    """A store's answer to ListBuckets. Raises OriginInvalid."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse  # no entity can be declared without one
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise OriginInvalid(f"the list of buckets is no XML: {error}") from None
    if reader.root != "ListAllMyBucketsResult":
        raise OriginInvalid(f"the list of buckets is a {reader.root!r}")
    return StoreBuckets(reader.buckets, reader.token or None)


def _refuse(*_: object) -> None:
    raise OriginInvalid("the list of buckets declares a document type")


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0
