"""Multipart uploads: their life, what is wrong with them, and what a reader sees before, during and after."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.cashy.conformance.case import (
    API,
    GUIDE,
    Call,
    Case,
    delete,
    get,
    head,
    post,
    put,
    xml_count,
    xml_has,
    xml_texts,
)
from tests.cashy.conformance.wire import crc32_of, md5_of

__all__ = ["CASES"]

_CREATE = API + "API_CreateMultipartUpload.html"
_UPLOAD = API + "API_UploadPart.html"
_COMPLETE = API + "API_CompleteMultipartUpload.html"
_ABORT = API + "API_AbortMultipartUpload.html"
_PARTS = API + "API_ListParts.html"
_UPLOADS = API + "API_ListMultipartUploads.html"
_PART_COPY = API + "API_UploadPartCopy.html"
_READ = API + "API_GetObject.html partNumber"

_OLD = b"old content"
#: All parts but the last have at least 5 MiB ("Amazon S3 multipart upload limits").
_FIRST = bytes(range(256)) * (20 << 10)
_LAST = b"the last part"
_UP = "/{bucket}/{key}?uploadId={upload}"


def create(**headers: str) -> Call:
    """Begins an upload and remembers its id."""
    return post(b"", "/{bucket}/{key}?uploads", **headers).saving(upload="xml:UploadId")


def part(number: int, body: bytes, **headers: str) -> Call:
    """Uploads a part and remembers its ETag as ``etagN``."""
    call = put(body, f"/{{bucket}}/{{key}}?partNumber={number}&uploadId={{upload}}", **headers)
    return call.saving(**{f"etag{number}": "header:ETag"})


def complete(*numbers: int, **headers: str) -> Call:
    """Completes the upload with the parts remembered."""
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{{etag{n}}}</ETag></Part>" for n in numbers)
    return post(f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode(), _UP, **headers)


_abort = delete(_UP)
_old = put(_OLD)
_kept = get().gives(200, body=_OLD)
_last = get().gives(200, body=_LAST)


def _lives() -> Iterator[Case]:
    begun = post(b"", "/{bucket}/{key}?uploads").gives(
        200, checks=(xml_has("Bucket"), xml_has("Key"), xml_has("UploadId"))
    )
    yield Case("multipart/create", _CREATE, (begun,))
    one = complete(1).gives(200, checks=(xml_has("ETag", '.*-1"?'), xml_has("Bucket"), xml_has("Key")))
    yield Case("multipart/one-part", _COMPLETE, (one, _last), (create(), part(1, _LAST)))
    etag = head().gives(200, headers={"ETag": re.compile('"[0-9a-f]{32}-1"')})
    yield Case(
        "multipart/etag",
        GUIDE + "checking-object-integrity.html",
        (complete(1), etag),
        (create(), part(1, _LAST)),
    )
    two = (create(), part(1, _FIRST), part(2, _LAST))
    whole = (complete(1, 2).gives(200), get().gives(200, body=_FIRST + _LAST))
    yield Case("multipart/two-parts", _COMPLETE, whole, two)
    across = get(Range=f"bytes={len(_FIRST) - 3}-{len(_FIRST) + 2}").gives(206, body=_FIRST[-3:] + _LAST[:3])
    yield Case("multipart/range-across-parts", "RFC 9110 14.1.2", (across.cached,), (*two, complete(1, 2)))
    second = get("/{bucket}/{key}?partNumber=2").gives(206, body=_LAST, headers={"x-amz-mp-parts-count": "2"})
    yield Case("multipart/read-second-part", _READ, (second,), (*two, complete(1, 2)))
    measured = head("/{bucket}/{key}?partNumber=1").gives(
        206, headers={"Content-Length": str(len(_FIRST)), "x-amz-mp-parts-count": "2"}
    )
    yield Case("multipart/head-first-part", _READ, (measured,), (*two, complete(1, 2)))
    third = get("/{bucket}/{key}?partNumber=3").gives(
        (400, 416), ("InvalidPart", "InvalidPartNumber", "InvalidRange")
    )
    yield Case("multipart/read-no-such-part", _READ, (third,), (*two, complete(1, 2)))
    turned = (create(), part(2, _LAST), part(1, _FIRST))
    yield Case("multipart/parts-uploaded-out-of-order", _UPLOAD, whole, turned)
    gaps = (complete(3, 9).gives(200), get().gives(200, body=_FIRST + _LAST))
    yield Case("multipart/numbers-with-gaps", _COMPLETE, gaps, (create(), part(3, _FIRST), part(9, _LAST)))
    replaced = (create(), part(1, b"first attempt"), part(1, _LAST))
    yield Case("multipart/part-uploaded-twice", _UPLOAD, (complete(1).gives(200), _last), replaced)
    left_out = (create(), part(1, _FIRST), part(2, _LAST))
    yield Case("multipart/part-left-out", _COMPLETE, (complete(2).gives(200), _last), left_out)
    described = create(Content_Type="a/b", x_amz_meta_a="1", Cache_Control="no-cache")
    shown = head().gives(
        200, headers={"Content-Type": "a/b", "x-amz-meta-a": "1", "Cache-Control": "no-cache"}
    )
    yield Case("multipart/headers-of-create", _CREATE, (complete(1), shown), (described, part(1, _LAST)))
    tagged = head().gives(200, headers={"x-amz-tagging-count": "1"})
    yield Case(
        "multipart/tags-of-create",
        _CREATE,
        (complete(1), tagged),
        (create(x_amz_tagging="a=1"), part(1, _LAST)),
    )


def _coherence() -> Iterator[Case]:
    source = GUIDE + "mpuoverview.html"
    during = (_kept, create(), _kept, part(1, _LAST), _kept, complete(1).gives(200), _last)
    yield Case("multipart/old-until-completed", source, during, (_old,))
    aborted = (create(), part(1, _LAST), _kept, _abort.gives(204), _kept)
    yield Case("multipart/old-after-abort", source, aborted, (_old,))
    nothing = (create(), part(1, _LAST), get().gives(404, "NoSuchKey"), complete(1), _last)
    yield Case("multipart/nothing-until-completed", source, nothing)
    failed = (
        create(),
        part(1, _LAST),
        complete(2).gives(400, "InvalidPart"),
        _kept,
        complete(1).gives(200),
        _last,
    )
    yield Case("multipart/old-after-failed-completion", source, failed, (_old,))
    overwritten = (create(), part(1, _LAST), put(b"put"), get().gives(200, body=b"put"), complete(1), _last)
    yield Case("multipart/last-completion-wins", source, overwritten, (_old,))
    twice = (create(), part(1, _LAST), complete(1), _last, put(b"put"), get().gives(200, body=b"put"))
    yield Case("multipart/then-put", source, twice, (_old,))
    exists = (
        create(),
        part(1, _LAST),
        complete(1, If_None_Match="*").gives(412, "PreconditionFailed"),
        _kept,
    )
    yield Case("multipart/if-none-match-existing", GUIDE + "conditional-writes.html", exists, (_old,))
    new = (create(), part(1, _LAST), complete(1, If_None_Match="*").gives(200), _last)
    yield Case("multipart/if-none-match-new", GUIDE + "conditional-writes.html", new)


def _wrong() -> Iterator[Case]:
    begun = (create(), part(1, _LAST))
    wrong = post(
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;00000000000000000000000000000000&quot;"
        b"</ETag></Part></CompleteMultipartUpload>",
        _UP,
    )
    yield Case("multipart/wrong-etag", _COMPLETE + " InvalidPart", (wrong.gives(400, "InvalidPart"),), begun)
    missing = post(
        b"<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>{etag1}</ETag></Part></CompleteMultipartUpload>",
        _UP,
    )
    yield Case(
        "multipart/no-such-part", _COMPLETE + " InvalidPart", (missing.gives(400, "InvalidPart"),), begun
    )
    order = (create(), part(1, _FIRST), part(2, _LAST))
    turned = complete(2, 1).gives(400, "InvalidPartOrder")
    yield Case("multipart/completed-out-of-order", _COMPLETE + " InvalidPartOrder", (turned,), order)
    small = (create(), part(1, b"too small"), part(2, _LAST))
    yield Case(
        "multipart/too-small",
        _COMPLETE + " EntityTooSmall",
        (complete(1, 2).gives(400, "EntityTooSmall"),),
        small,
    )
    none = post(b"<CompleteMultipartUpload></CompleteMultipartUpload>", _UP).gives(400, "MalformedXML")
    yield Case("multipart/completed-without-parts", API + "ErrorResponses.html MalformedXML", (none,), begun)
    garbled = post(b"<CompleteMultipartUpload><Part>", _UP).gives(400, "MalformedXML")
    yield Case("multipart/malformed", API + "ErrorResponses.html MalformedXML", (garbled,), begun)
    unknown = "uploadId=bm8tc3VjaC11cGxvYWQ"
    for name, call in (
        ("upload-part", put(_LAST, f"/{{bucket}}/{{key}}?partNumber=1&{unknown}")),
        (
            "complete",
            post(
                b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
                f"/{{bucket}}/{{key}}?{unknown}",
            ),
        ),
        ("abort", delete(f"/{{bucket}}/{{key}}?{unknown}")),
        ("list-parts", get(f"/{{bucket}}/{{key}}?{unknown}")),
    ):
        gone = call.gives(404, "NoSuchUpload")
        yield Case(
            f"multipart/no-such-upload-{name}",
            API + "ErrorResponses.html NoSuchUpload",
            (gone, _kept),
            (_old,),
        )
    for number in (0, 10_001):
        call = put(_LAST, f"/{{bucket}}/{{key}}?partNumber={number}&uploadId={{upload}}").gives(
            400, "InvalidArgument"
        )
        yield Case(f"multipart/part-number-{number}", _UPLOAD + " partNumber", (call,), (create(),))
    nowhere = post(b"", "/{new_bucket}/key?uploads").gives(404, "NoSuchBucket")
    yield Case("multipart/in-no-bucket", _CREATE, (nowhere,))
    bad = part(1, _LAST, Content_MD5=md5_of(_OLD)).gives(400, "BadDigest")
    yield Case("multipart/part-md5-of-something-else", _UPLOAD + " Content-MD5", (bad,), (create(),))
    summed = part(1, _LAST, x_amz_checksum_crc32=crc32_of(_OLD)).gives(400, ("BadDigest", "InvalidRequest"))
    yield Case("multipart/part-crc32-of-something-else", _UPLOAD, (summed,), (create(),))
    streamed = put(
        _LAST,
        "/{bucket}/{key}?partNumber=1&uploadId={upload}",
        more={"payload": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
    )
    in_chunks = (streamed.saving(etag1="header:ETag").gives(200), complete(1).gives(200), _last)
    yield Case("multipart/part-in-chunks", API + "sigv4-streaming.html", in_chunks, (create(),))


def _listings() -> Iterator[Case]:
    three = (create(), part(1, _LAST), part(2, _OLD), part(5, b"five"))
    everything = get(_UP).gives(
        200, checks=(xml_texts("Part/PartNumber", "1", "2", "5"), xml_texts("Part/Size", "13", "11", "4"))
    )
    yield Case("multipart/list-parts", _PARTS, (everything,), three)
    page = get(_UP + "&max-parts=2").gives(
        200,
        checks=(
            xml_texts("Part/PartNumber", "1", "2"),
            xml_texts("IsTruncated", "true"),
            xml_texts("NextPartNumberMarker", "2"),
        ),
    )
    rest = get(_UP + "&part-number-marker=2").gives(
        200, checks=(xml_texts("Part/PartNumber", "5"), xml_texts("IsTruncated", "false"))
    )
    yield Case("multipart/list-parts-in-pages", _PARTS, (page, rest), three)
    counted = get("/{bucket}?uploads").gives(200, checks=xml_count("Upload", 1))
    yield Case("multipart/list-uploads", _UPLOADS, (counted,), (create(),), own_bucket=True)
    empty = get("/{bucket}?uploads").gives(200, checks=xml_count("Upload", 0))
    yield Case(
        "multipart/list-uploads-after-abort",
        _UPLOADS,
        (_abort, empty),
        (create(), part(1, _LAST)),
        own_bucket=True,
    )
    completed = (complete(1), empty)
    yield Case(
        "multipart/list-uploads-after-completion",
        _UPLOADS,
        completed,
        (create(), part(1, _LAST)),
        own_bucket=True,
    )
    after = (_abort.gives(204), get(_UP).gives(404, "NoSuchUpload"))
    yield Case("multipart/abort-ends-it", _ABORT, after, (create(), part(1, _LAST)))
    hidden = get("/{bucket}?list-type=2").gives(200, checks=xml_count("Contents", 0))
    yield Case(
        "multipart/not-listed-as-object",
        GUIDE + "mpuoverview.html",
        (hidden,),
        (create(), part(1, _LAST)),
        own_bucket=True,
    )


def _copied_parts() -> Iterator[Case]:
    source = put(b"0123456789", "/{bucket}/{key}-source").saving(source_etag="header:ETag")

    def copied(**headers: str) -> Call:
        return put(
            b"",
            "/{bucket}/{key}?partNumber=1&uploadId={upload}",
            x_amz_copy_source="/{bucket}/{key}-source",
            **headers,
        )

    prepared = (source, create())
    done = copied().saving(etag1="xml:ETag").gives(200, checks=(xml_has("ETag"), xml_has("LastModified")))
    # ETag in the answer has its quotes as &quot;; saved decoded, they may stand in the next document as they are.
    yield Case(
        "multipart/copied-part",
        _PART_COPY,
        (done, complete(1), get().gives(200, body=b"0123456789")),
        prepared,
    )
    ranged = copied(x_amz_copy_source_range="bytes=2-5").saving(etag1="xml:ETag").gives(200)
    yield Case(
        "multipart/copied-range",
        _PART_COPY + " x-amz-copy-source-range",
        (ranged, complete(1), get().gives(200, body=b"2345")),
        prepared,
    )
    beyond = copied(x_amz_copy_source_range="bytes=5-99").gives(
        (400, 416), ("InvalidRange", "InvalidArgument", "InvalidRequest")
    )
    yield Case(
        "multipart/copied-range-beyond-end", _PART_COPY + " x-amz-copy-source-range", (beyond,), prepared
    )
    for name, value in (
        ("suffix", "bytes=-3"),
        ("open", "bytes=3-"),
        ("no-unit", "0-3"),
        ("turned", "bytes=5-2"),
    ):
        wrong = copied(x_amz_copy_source_range=value).gives(400, ("InvalidArgument", "InvalidRequest"))
        yield Case(
            f"multipart/copied-range-{name}", _PART_COPY + " x-amz-copy-source-range", (wrong,), prepared
        )
    other = copied(x_amz_copy_source_if_match='"0"').gives(412, "PreconditionFailed")
    yield Case("multipart/copied-part-if-match-other", _PART_COPY, (other,), prepared)
    nothing = put(
        b"", "/{bucket}/{key}?partNumber=1&uploadId={upload}", x_amz_copy_source="/{bucket}/{key}-none"
    )
    yield Case(
        "multipart/copied-part-of-nothing", _PART_COPY, (nothing.gives(404, "NoSuchKey"),), (create(),)
    )


CASES: tuple[Case, ...] = (*_lives(), *_coherence(), *_wrong(), *_listings(), *_copied_parts())
