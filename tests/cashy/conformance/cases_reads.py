"""GetObject and HeadObject: ranges, conditions, overrides, checksums, parts, versions, and what a key can look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.cashy.conformance.case import API, GUIDE, Call, Case, delete, get, head, header_has, put, xml_has
from tests.cashy.conformance.wire import crc32_of, md5_of, sha256_of

__all__ = ["CASES"]

_GET = API + "API_GetObject.html"
_HEAD = API + "API_HeadObject.html"
_KEYS = GUIDE + "object-keys.html"
_CONDITIONS = GUIDE + "conditional-reads.html"
_CHECKSUMS = GUIDE + "checking-object-integrity.html"

TEN = b"0123456789"
#: Four blocks of the hosts under test, the last one not full.
LARGE = bytes(range(251)) * 1000
_ETAG = '"781e5e245d69b566979b86e28d23f2c7"'  # MD5 of TEN
_OTHER = '"00000000000000000000000000000000"'


def _ten(**headers: str) -> Call:
    return put(TEN, **headers).saving(etag="header:ETag")


def _dated() -> tuple[Call, ...]:
    """TEN, and when the store says it was changed."""
    return (_ten(), head().saving(modified="header:Last-Modified"))


# ---------------------------------------------------------------- ranges

#: name, source, Range, status, bytes of TEN, Content-Range
_RANGES = (
    ("first-byte", "RFC 9110 14.1.2", "bytes=0-0", 206, b"0", "bytes 0-0/10"),
    ("middle", "RFC 9110 14.1.2", "bytes=2-5", 206, b"2345", "bytes 2-5/10"),
    ("to-the-end", "RFC 9110 14.1.2", "bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("all", "RFC 9110 14.2", "bytes=0-", 206, TEN, "bytes 0-9/10"),
    ("all-named", "RFC 9110 14.2", "bytes=0-9", 206, TEN, "bytes 0-9/10"),
    ("last-byte", "RFC 9110 14.1.2", "bytes=9-9", 206, b"9", "bytes 9-9/10"),
    ("suffix", "RFC 9110 14.1.2", "bytes=-3", 206, b"789", "bytes 7-9/10"),
    ("suffix-one", "RFC 9110 14.1.2", "bytes=-1", 206, b"9", "bytes 9-9/10"),
    ("suffix-longer-than-object", "RFC 9110 14.1.2", "bytes=-99", 206, TEN, "bytes 0-9/10"),
    ("end-beyond-object", "RFC 9110 14.1.2", "bytes=8-99", 206, b"89", "bytes 8-9/10"),
    ("end-huge", "RFC 9110 14.1.2", "bytes=8-999999999999", 206, b"89", "bytes 8-9/10"),
    ("start-at-end", "RFC 9110 15.5.17", "bytes=10-", 416, None, None),
    ("start-beyond-end", "RFC 9110 15.5.17", "bytes=99-100", 416, None, None),
    ("suffix-zero", "RFC 9110 14.1.2", "bytes=-0", 416, None, None),
    ("end-before-start", "RFC 9110 14.1.1", "bytes=5-2", 200, TEN, None),
    ("no-number", "RFC 9110 14.2", "bytes=a-b", 200, TEN, None),
    ("empty", "RFC 9110 14.2", "bytes=", 200, TEN, None),
    ("dash-only", "RFC 9110 14.2", "bytes=-", 200, TEN, None),
    ("other-unit", "RFC 9110 14.2", "lines=1-2", 200, TEN, None),
    ("no-unit", "RFC 9110 14.2", "0-3", 200, TEN, None),
    ("several", _GET + " Range: one range only", "bytes=0-1,4-5", 200, TEN, None),
    ("unit-in-upper-case", "RFC 9110 14.1", "Bytes=1-2", 206, b"12", "bytes 1-2/10"),
)


def _ranges() -> Iterator[Case]:
    for name, source, field, status, body, content_range in _RANGES:
        headers: dict[str, str | re.Pattern[str] | None] = {"Content-Range": content_range}
        if status != 416:
            headers |= {"ETag": _ETAG, "Content-Length": str(len(body or b""))}
        else:
            headers = {}
        code = "InvalidRange" if status == 416 else ""
        whole = get(Range=field).gives(status, code, body=body, headers=headers).cached
        yield Case(f"range/{name}", source, (whole,), (_ten(),))
        answer = head(Range=field).gives(status, headers=headers).cached
        yield Case(f"range/head-{name}", _HEAD + " Range", (answer,), (_ten(),))
    empty = put(b"")
    unsatisfiable = "RFC 9110 14.1.2"
    for name, field in (("first-byte", "bytes=0-0"), ("all", "bytes=0-"), ("suffix", "bytes=-1")):
        call = get(Range=field).gives(416, "InvalidRange").cached
        yield Case(f"range/empty-object-{name}", unsatisfiable, (call,), (empty,))
    for start, stop in ((0, 65536), (65535, 65537), (65536, 131072), (100_000, 250_999), (250_999, 251_000)):
        call = get(Range=f"bytes={start}-{stop - 1}").gives(
            206, body=LARGE[start:stop], headers={"Content-Range": f"bytes {start}-{stop - 1}/251000"}
        )
        yield Case(f"range/large-{start}-{stop}", "RFC 9110 14.1.2", (call.cached,), (put(LARGE),))
    tail = get(Range="bytes=-70000").gives(206, body=LARGE[-70000:])
    yield Case("range/large-suffix", "RFC 9110 14.1.2", (tail.cached,), (put(LARGE),))
    says = get(Range="bytes=10-").gives(416, headers={"Content-Range": "bytes */10"}).cached
    yield Case("range/unsatisfiable-says-the-size", "RFC 9110 15.5.17", (says,), (_ten(),))
    accepts = head().gives(200, headers={"Accept-Ranges": "bytes"}).cached
    yield Case("range/accept-ranges", "RFC 9110 14.3", (accepts,), (_ten(),))
    missing = get(Range="bytes=0-1").gives(404, "NoSuchKey")
    yield Case("range/of-nothing", _GET + " Errors", (missing,), (put(b"", "/{bucket}/{key}-other"),))


# ---------------------------------------------------------------- conditions

#: name, source, headers, status; {modified} is the object's date
_TABLE: tuple[tuple[str, str, dict[str, str], int], ...] = (
    ("match", "RFC 9110 13.1.1", {"If-Match": _ETAG}, 200),
    ("match-other", "RFC 9110 13.1.1", {"If-Match": _OTHER}, 412),
    ("match-any", "RFC 9110 13.1.1", {"If-Match": "*"}, 200),
    ("match-list", "RFC 9110 13.1.1", {"If-Match": f"{_OTHER}, {_ETAG}"}, 200),
    ("match-list-of-others", "RFC 9110 13.1.1", {"If-Match": f'{_OTHER}, "1"'}, 412),
    ("match-unquoted", _GET + " If-Match", {"If-Match": _ETAG.strip('"')}, 200),
    ("none-match", "RFC 9110 13.1.2", {"If-None-Match": _ETAG}, 304),
    ("none-match-other", "RFC 9110 13.1.2", {"If-None-Match": _OTHER}, 200),
    ("none-match-any", "RFC 9110 13.1.2", {"If-None-Match": "*"}, 304),
    ("none-match-list", "RFC 9110 13.1.2", {"If-None-Match": f"{_OTHER}, {_ETAG}"}, 304),
    ("none-match-weak", "RFC 9110 8.8.3.2", {"If-None-Match": f"W/{_ETAG}"}, 304),
    ("none-match-unquoted", _GET + " If-None-Match", {"If-None-Match": _ETAG.strip('"')}, 304),
    ("modified-since-past", "RFC 9110 13.1.3", {"If-Modified-Since": "{past}"}, 200),
    ("modified-since-its-date", "RFC 9110 13.1.3", {"If-Modified-Since": "{modified}"}, 304),
    ("modified-since-no-date", "RFC 9110 13.1.3", {"If-Modified-Since": "yesterday"}, 200),
    ("unmodified-since-past", "RFC 9110 13.1.4", {"If-Unmodified-Since": "{past}"}, 412),
    ("unmodified-since-its-date", "RFC 9110 13.1.4", {"If-Unmodified-Since": "{modified}"}, 200),
    ("unmodified-since-future", "RFC 9110 13.1.4", {"If-Unmodified-Since": "{future}"}, 200),
    ("unmodified-since-no-date", "RFC 9110 13.1.4", {"If-Unmodified-Since": "tomorrow"}, 200),
    (
        "match-beats-unmodified-since",
        _GET + " If-Match and If-Unmodified-Since",
        {"If-Match": _ETAG, "If-Unmodified-Since": "{past}"},
        200,
    ),
    (
        "match-other-beats-unmodified-since",
        "RFC 9110 13.2.2",
        {"If-Match": _OTHER, "If-Unmodified-Since": "{future}"},
        412,
    ),
    (
        "none-match-beats-modified-since",
        _GET + " If-None-Match and If-Modified-Since",
        {"If-None-Match": _ETAG, "If-Modified-Since": "{past}"},
        304,
    ),
    (
        "none-match-other-beats-modified-since",
        "RFC 9110 13.2.2",
        {"If-None-Match": _OTHER, "If-Modified-Since": "{modified}"},
        200,
    ),
    ("match-and-none-match", "RFC 9110 13.2.2", {"If-Match": _ETAG, "If-None-Match": _ETAG}, 304),
    ("match-and-none-match-other", "RFC 9110 13.2.2", {"If-Match": _ETAG, "If-None-Match": _OTHER}, 200),
    ("match-other-before-none-match", "RFC 9110 13.2.2", {"If-Match": _OTHER, "If-None-Match": _ETAG}, 412),
    ("both-dates", "RFC 9110 13.2.2", {"If-Unmodified-Since": "{future}", "If-Modified-Since": "{modified}"}, 304),
    ("unmodified-since-past-first", "RFC 9110 13.2.2", {"If-Unmodified-Since": "{past}", "If-Modified-Since": "{past}"}, 412),
)  # fmt: skip


def _conditions() -> Iterator[Case]:
    for name, source, headers, status in _TABLE:
        body = {200: TEN, 304: b""}.get(status)
        code = "PreconditionFailed" if status == 412 else ""
        more = {"ETag": _ETAG} if status in (200, 304) else {}
        call = Call("GET", headers=headers).gives(status, code, body=body, headers=more).cached
        yield Case(f"condition/{name}", source, (call,), _dated())
        answer = Call("HEAD", headers=headers).gives(status, headers=more).cached
        yield Case(f"condition/head-{name}", source, (answer,), _dated())
    part = {"Range": "bytes=0-3"}
    for name, source, headers, status, body in (
        ("match-range", "RFC 9110 13.2.2", part | {"If-Match": _ETAG}, 206, TEN[:4]),
        ("match-other-range", "RFC 9110 13.2.2", part | {"If-Match": _OTHER}, 412, None),
        ("none-match-range", "RFC 9110 13.2.2", part | {"If-None-Match": _ETAG}, 304, b""),
        ("if-range", "RFC 9110 13.1.5", part | {"If-Range": _ETAG}, 206, TEN[:4]),
        ("if-range-other", "RFC 9110 13.1.5", part | {"If-Range": _OTHER}, 200, TEN),
        ("if-range-weak", "RFC 9110 13.1.5", part | {"If-Range": f"W/{_ETAG}"}, 200, TEN),
        ("if-range-date", "RFC 9110 13.1.5", part | {"If-Range": "{modified}"}, 206, TEN[:4]),
        ("if-range-other-date", "RFC 9110 13.1.5", part | {"If-Range": "{past}"}, 200, TEN),
        ("if-range-alone", "RFC 9110 13.1.5", {"If-Range": _OTHER}, 200, TEN),
        (
            "match-other-before-no-range",
            "RFC 9110 13.2.2",
            {"Range": "bytes=99-", "If-Match": _OTHER},
            412,
            None,
        ),
        ("if-range-other-no-range", "RFC 9110 13.1.5", {"Range": "bytes=99-", "If-Range": _OTHER}, 200, TEN),
    ):
        yield Case(
            f"condition/{name}", source, (Call("GET", headers=headers).gives(status, body=body).cached,), _dated()
        )  # fmt: skip
    missing = put(b"", "/{bucket}/{key}-other")
    for name, headers in (("match", {"If-Match": _ETAG}), ("none-match", {"If-None-Match": "*"})):
        call = Call("GET", headers=headers).gives(404, "NoSuchKey")
        yield Case(f"condition/{name}-of-nothing", _GET + " Errors", (call,), (missing,))
    kept = get(If_None_Match=_ETAG).gives(304, headers={"Cache-Control": "max-age=7", "Content-Type": None})
    yield Case(
        "condition/not-modified-repeats-cache-control", "RFC 9110 15.4.5", (kept.cached,), (_ten(Cache_Control="max-age=7"),)
    )  # fmt: skip
    old = get(If_None_Match="{etag}").gives(200, body=b"new")
    yield Case("condition/none-match-after-overwrite", _CONDITIONS, (put(b"new"), old), (_ten(),))
    gone = get(If_Match="{etag}").gives(412, "PreconditionFailed")
    yield Case("condition/match-after-overwrite", _CONDITIONS, (put(b"new"), gone), (_ten(),))


# ---------------------------------------------------------------- the answer's headers

_STORED = {
    "Cache-Control": "max-age=60",
    "Content-Disposition": 'attachment; filename="a.txt"',
    "Content-Encoding": "gzip",
    "Content-Language": "de",
    "Content-Type": "text/plain; charset=utf-8",
    "Expires": "Wed, 21 Oct 2065 07:28:00 GMT",
}


def _overrides() -> Iterator[Case]:
    stored = Call("PUT", headers=_STORED, body=TEN)
    for method in ("GET", "HEAD"):
        call = Call(method).gives(200, headers=dict(_STORED)).cached
        yield Case(f"headers/stored-{method.lower()}", API + "API_PutObject.html", (call,), (stored,))
    for name in _STORED:
        value = "Thu, 01 Dec 2033 16:00:00 GMT" if name == "Expires" else "other/value"
        query = f"/{{bucket}}/{{key}}?response-{name.lower()}={value.replace(' ', '%20').replace(',', '%2C').replace(':', '%3A').replace('/', '%2F')}"
        others = {other: text for other, text in _STORED.items() if other != name}
        for method in ("GET", "HEAD"):
            call = Call(method, query).gives(200, headers={name: value, **others}).cached
            source = (_GET if method == "GET" else _HEAD) + " Overriding response header values"
            yield Case(f"headers/response-{name.lower()}-{method.lower()}", source, (call,), (stored,))
    two = "/{bucket}/{key}?response-content-type=a%2Fb&response-cache-control=no-store"
    both = get(two).gives(200, body=TEN, headers={"Content-Type": "a/b", "Cache-Control": "no-store"})
    yield Case("headers/response-two", _GET + " Overriding response header values", (both.cached,), (stored,))
    ranged = get(two, Range="bytes=0-1").gives(206, body=b"01", headers={"Content-Type": "a/b"})
    yield Case(
        "headers/response-with-range",
        _GET + " Overriding response header values",
        (ranged.cached,),
        (_ten(),),
    )
    after = (get(two), get().gives(200, headers={"Content-Type": "text/plain; charset=utf-8"}).cached)
    yield Case(
        "headers/response-does-not-last", _GET + " Overriding response header values", after, (stored,)
    )
    anonymous = Call("GET", two, signature="none").gives((400, 403), ("InvalidRequest", "AccessDenied"))
    yield Case(
        "headers/response-anonymous-refused", _GET + " Overriding response header values", (anonymous,), (stored,), by_cashy=True
    )  # fmt: skip
    meta = head().gives(200, headers={"x-amz-meta-one": "1", "x-amz-meta-two": "b c"}).cached
    yield Case(
        "headers/user-metadata",
        GUIDE + "UsingMetadata.html",
        (meta,),
        (put(b"", x_amz_meta_one="1", x_amz_meta_two="b c"),),
    )
    lower = head().gives(200, headers={"x-amz-meta-mixed-case": "Kept As Is"}).cached
    mixed = Call("PUT", headers={"X-Amz-Meta-Mixed-Case": "Kept As Is"})
    yield Case("headers/user-metadata-names-have-no-case", GUIDE + "UsingMetadata.html", (lower,), (mixed,))
    default = head().gives(200, headers={"Content-Type": "binary/octet-stream"}).cached
    yield Case(
        "headers/default-content-type", API + "API_PutObject.html Content-Type", (default,), (put(TEN),)
    )
    shape = get().gives(
        200,
        body=TEN,
        headers={
            "ETag": _ETAG,
            "Content-Length": "10",
            "Last-Modified": re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"),
            "Date": re.compile(r".+ GMT"),
            "x-amz-request-id": re.compile(r".+"),
        },
    )
    yield Case("headers/common", API + "RESTCommonResponseHeaders.html", (shape.cached,), (_ten(),))
    length = head().gives(200, body=b"", headers={"Content-Length": "251000"}).cached
    yield Case("headers/head-says-length", "RFC 9110 9.3.2", (length,), (put(LARGE),))
    zero = get().gives(200, body=b"", headers={"Content-Length": "0"}).cached
    yield Case("headers/zero-bytes", _GET, (zero,), (put(b""),))
    whole = get().gives(200, body=LARGE).cached
    yield Case("headers/several-blocks", _GET, (whole,), (put(LARGE),))
    encoded = head().gives(200, headers={"Content-Encoding": "gzip"}).cached
    chunks = put(
        TEN, more={"payload": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}, Content_Encoding="aws-chunked,gzip"
    )
    yield Case("headers/aws-chunked-is-not-stored", API + "sigv4-streaming.html", (encoded,), (chunks,))
    ignored = get("/{bucket}/{key}?no-such-parameter=1").gives(200, body=TEN)
    yield Case("headers/unknown-parameter", API + "RESTAPI.html", (ignored,), (_ten(),))
    logged = get("/{bucket}/{key}?x-id=GetObject").gives(200, body=TEN).cached
    yield Case("headers/x-id", _GET + " Request Syntax", (logged,), (_ten(),))


# ---------------------------------------------------------------- checksums, parts, versions, other readings of an object


def _checksums() -> Iterator[Case]:
    stored = put(TEN, x_amz_sdk_checksum_algorithm="SHA256", x_amz_checksum_sha256=sha256_of(TEN))
    enabled = {"x_amz_checksum_mode": "ENABLED"}
    for method in (get, head):
        call = method(**enabled).gives(200, headers={"x-amz-checksum-sha256": sha256_of(TEN)}).cached
        yield Case(f"checksum/{method.__name__}", _CHECKSUMS, (call,), (stored,))
        without = method().gives(200, headers={"x-amz-checksum-sha256": None}).cached
        yield Case(
            f"checksum/{method.__name__}-not-asked", _GET + " x-amz-checksum-mode", (without,), (stored,)
        )
    part = get(Range="bytes=0-3", **enabled).gives(206, body=b"0123", headers={"x-amz-checksum-sha256": None})
    yield Case("checksum/never-on-a-part", _GET + " x-amz-checksum-mode", (part.cached,), (stored,))
    crc = get(**enabled).gives(200, headers={"x-amz-checksum-crc32": crc32_of(TEN)}).cached
    yield Case(
        "checksum/crc32",
        _CHECKSUMS,
        (crc,),
        (put(TEN, x_amz_sdk_checksum_algorithm="CRC32", x_amz_checksum_crc32=crc32_of(TEN)),),
    )
    new = get(**enabled).gives(200, body=b"new", headers={"x-amz-checksum-sha256": sha256_of(b"new")})
    overwritten = put(b"new", x_amz_sdk_checksum_algorithm="SHA256", x_amz_checksum_sha256=sha256_of(b"new"))
    yield Case("checksum/after-overwrite", _CHECKSUMS, (overwritten, new), (stored,))


def _parts_and_versions() -> Iterator[Case]:
    one = get("/{bucket}/{key}?partNumber=1").gives((200, 206), body=TEN)
    yield Case("part/first-of-plain-object", _GET + " partNumber", (one,), (_ten(),))
    two = get("/{bucket}/{key}?partNumber=2").gives(
        (400, 416), ("InvalidPart", "InvalidPartNumber", "InvalidRange")
    )
    yield Case("part/second-of-plain-object", _GET + " partNumber", (two,), (_ten(),))
    both = get("/{bucket}/{key}?partNumber=1", Range="bytes=0-1").gives(
        400, ("InvalidRequest", "InvalidArgument")
    )
    yield Case("part/and-range", _GET + " partNumber", (both,), (_ten(),))
    zero = get("/{bucket}/{key}?partNumber=0").gives(400, "InvalidArgument")
    yield Case("part/zero", _GET + " partNumber", (zero,), (_ten(),))
    null = get("/{bucket}/{key}?versionId=null").gives(200, body=TEN)
    yield Case("version/null", _GET + " versionId", (null,), (_ten(),))
    yield Case(
        "version/null-head",
        _HEAD + " versionId",
        (head("/{bucket}/{key}?versionId=null").gives(200),),
        (_ten(),),
    )
    bad = get("/{bucket}/{key}?versionId=nonsense").gives((400, 404), ("InvalidArgument", "NoSuchVersion"))
    yield Case("version/unknown", _GET + " versionId", (bad,), (_ten(),))
    enable = put(
        b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", "/{bucket}?versioning"
    )
    versions = (
        enable,
        put(b"one").saving(first="header:x-amz-version-id"),
        put(b"two").saving(second="header:x-amz-version-id"),
    )
    source = GUIDE + "RetrievingObjectVersions.html"
    current = get().gives(200, body=b"two", headers={"x-amz-version-id": "{second}"}).cached
    yield Case("version/current", source, (current,), versions, own_bucket=True)
    earlier = get("/{bucket}/{key}?versionId={first}").gives(
        200, body=b"one", headers={"x-amz-version-id": "{first}"}
    )
    yield Case("version/earlier", source, (earlier, current), versions, own_bucket=True)
    marked = (delete(), get().gives(404, "NoSuchKey", headers={"x-amz-delete-marker": "true"}), earlier)
    yield Case("version/delete-marker", GUIDE + "DeleteMarker.html", marked, versions, own_bucket=True)
    removed = (delete("/{bucket}/{key}?versionId={second}"), get().gives(200, body=b"one"))
    yield Case(
        "version/delete-current", GUIDE + "DeletingObjectVersions.html", removed, versions, own_bucket=True
    )
    attributes = get("/{bucket}/{key}?attributes", x_amz_object_attributes="ETag,ObjectSize").gives(
        200, checks=(xml_has("ObjectSize", "10"), xml_has("ETag"))
    )
    yield Case("version/attributes", API + "API_GetObjectAttributes.html", (attributes,), (_ten(),))
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    customer = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": key,
        "x-amz-server-side-encryption-customer-key-MD5": md5_of(b"01234567890123456789012345678901"),
    }
    secret = Call("PUT", headers=customer, body=TEN)
    encryption = GUIDE + "ServerSideEncryptionCustomerKeys.html"
    with_key = Call("GET", headers=customer).gives(200, body=TEN)
    yield Case("encryption/with-key", encryption, (with_key,), (secret,))
    yield Case("encryption/without-key", encryption, (get().gives(400, "InvalidRequest"),), (secret,))
    both_orders = (with_key, get().gives(400, "InvalidRequest"), with_key)
    yield Case("encryption/without-key-after-it", encryption, both_orders, (secret,))


# ---------------------------------------------------------------- keys

#: name, key after a prefix, as it is sent
_KEYS_SENT = (
    ("double-slash", "a//b"),
    ("triple-slash", "a///b"),
    ("dot-segment", "a/./b"),
    ("dot-dot-segment", "a/../b"),
    ("ends-in-dot-dot", "a/b/.."),
    ("space", "a%20b"),
    ("plus", "a%2Bb"),
    ("percent", "a%25b"),
    ("percent-encoded-percent", "a%2520b"),
    ("question-mark", "a%3Fb"),
    ("hash", "a%23b"),
    ("ampersand", "a%26b%3Dc"),
    ("semicolon", "a%3Bb"),
    ("colon-at", "a%3Ab%40c"),
    ("comma-dollar", "a%2Cb%24c"),
    ("quotes", "a%22b%27c"),
    ("angles", "%3Ca%3E"),
    ("backslash", "a%5Cb"),
    ("braces", "%7Ba%7D%5Bb%5D"),
    ("pipe-caret-grave", "a%7Cb%5Ec%60d"),
    ("safe-specials", "a!b*c(d)e'f"),
    ("tilde", "a~b-c_d.e"),
    ("unicode", "%C3%BC%E6%97%A5%E6%9C%AC"),
    ("astral", "%F0%9F%8E%B2"),
    ("combining", "u%CC%88"),
    ("trailing-slash", "folder/"),
    ("trailing-space", "a%20"),
    ("trailing-dot", "a."),
    ("newline", "a%0Ab"),
    ("tab", "a%09b"),
    ("subresource-name", "acl"),
    ("long-element", "x" * 255),
)


def _keys() -> Iterator[Case]:
    for name, sent in _KEYS_SENT:
        target = f"/{{bucket}}/{{key}}/{sent}"
        body = f"{name} was here".encode()
        calls = (
            put(body, target).gives(200),
            get(target).gives(200, body=body).cached,
            head(target).gives(200).cached,
            delete(target).gives(204),
            get(target).gives(404, "NoSuchKey"),
        )
        yield Case(f"key/{name}", _KEYS, calls)
    same = "AWS' signature covers the decoded key"
    for name, written, read in (
        ("lower-case-hex", "%c3%bc", "%C3%BC"),
        ("needlessly-encoded", "%61%62c", "abc"),
        ("encoded-slash", "a%2Fb", "a/b"),
        ("encoded-tilde", "a%7Eb", "a~b"),
        ("specials-not-encoded", "a!b*c(d)", "a%21b%2Ac%28d%29"),
    ):
        pair = (
            put(b"one", f"/{{bucket}}/{{key}}/{written}"),
            get(f"/{{bucket}}/{{key}}/{read}").gives(200, body=b"one"),
            put(b"two", f"/{{bucket}}/{{key}}/{read}"),
            get(f"/{{bucket}}/{{key}}/{written}").gives(200, body=b"two"),
        )
        yield Case(f"key/same-{name}", "RFC 3986 6.2.2 " + same, pair)
    for name, first, second in (
        ("case", "Key", "key"),
        ("slashes", "a//b", "a/b"),
        ("dot", "a/./b", "a/b"),
        ("dot-dot", "a/x/../b", "a/b"),
        ("trailing-slash", "a", "a/"),
        ("composed", "%C3%BC", "u%CC%88"),
        ("encoded-twice", "a%2520b", "a%20b"),
    ):
        apart = (
            put(b"first", f"/{{bucket}}/{{key}}/{first}"),
            put(b"second", f"/{{bucket}}/{{key}}/{second}"),
            get(f"/{{bucket}}/{{key}}/{first}").gives(200, body=b"first"),
            get(f"/{{bucket}}/{{key}}/{second}").gives(200, body=b"second"),
        )
        yield Case(f"key/apart-{name}", _KEYS, apart)
    leading = (
        put(b"x", "/{bucket}//x"),
        get("/{bucket}//x").gives(200, body=b"x"),
        get("/{bucket}/x").gives(404),
    )
    yield Case("key/leading-slash", _KEYS, leading, own_bucket=True)
    longest = "/{bucket}/" + "/".join(["y" * 203] * 5) + "abcde"
    assert len(longest) - len("/{bucket}/") == 1024
    fits = (put(b"long", longest), get(longest).gives(200, body=b"long").cached)
    yield Case("key/of-1024-bytes", _KEYS + " UTF-8 of at most 1,024 bytes", fits, own_bucket=True)
    for method, call in (("put", put(b"", longest + "f")), ("get", get(longest + "f"))):
        over = call.gives(400, "KeyTooLongError")
        yield Case(
            f"key/over-1024-bytes-{method}",
            API + "ErrorResponses.html KeyTooLongError",
            (over,),
            own_bucket=True,
            by_cashy=True,
        )
    climbing = put(b"", "/{bucket}/../{key}").gives((400, 403))
    yield Case("key/climbs-above-bucket", _KEYS + " Period-only path segments", (climbing,), by_cashy=True)


# ---------------------------------------------------------------- errors


def _errors() -> Iterator[Case]:
    errors = API + "ErrorResponses.html"
    present = (put(b"", "/{bucket}/{key}-other"),)
    missing = get().gives(
        404,
        "NoSuchKey",
        headers={"Content-Type": re.compile("(application|text)/xml.*")},
        checks=(xml_has("Message"), xml_has("RequestId")),
    )
    yield Case("error/no-such-key", errors, (missing,), present)
    same = get().gives(404, "NoSuchKey", checks=header_has("x-amz-request-id", "RequestId"))
    yield Case("error/request-id-in-both", errors, (same,), present)
    resource = get().gives(404, "NoSuchKey", checks=xml_has("Resource", r"/[^/]+/[^/]+|[^/]+"))
    yield Case("error/resource", API + "ErrorResponses.html Resource", (resource,), present)
    yield Case("error/head-has-no-body", "RFC 9110 9.3.2", (head().gives(404, body=b""),), present)
    bucket = get("/{new_bucket}/key").gives(404, "NoSuchBucket")
    yield Case("error/no-such-bucket", errors, (bucket,))
    yield Case("error/no-such-bucket-head", _HEAD, (head("/{new_bucket}/key").gives(404, body=b""),))
    gone = (delete(), get().gives(404, "NoSuchKey"), head().gives(404))
    yield Case("error/deleted", errors, gone, (_ten(),))
    came = (get().gives(404), put(b"now"), get().gives(200, body=b"now").cached)
    yield Case("error/not-found-does-not-last", errors, came, present)


def _decided_warm(cases: Iterable[Case]) -> Iterator[Case]:
    """What comes from the cache is cashy's to decide, whatever the store would have said; what was stored is not."""
    for case in cases:
        is_decided = case.name not in _AS_STORED and all(call.is_cached for call in case.calls)
        yield replace(case, by_cashy_warm=is_decided)


_AS_STORED = ("headers/default-content-type", "headers/aws-chunked-is-not-stored")


CASES: tuple[Case, ...] = (
    *_decided_warm((*_ranges(), *_conditions(), *_overrides())),
    *_checksums(),
    *_parts_and_versions(),
    *_keys(),
    *_errors(),
)
