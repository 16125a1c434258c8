"""PutObject, CopyObject, DeleteObject(s): integrity, conditions, metadata, chunked bodies; after each, what a reader sees."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator

import crc32c
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
    xml_lacks,
    xml_texts,
)
from tests.cashy.conformance.wire import crc32_of, md5_of, sha256_of

__all__ = ["CASES"]

_PUT = API + "API_PutObject.html"
_COPY = API + "API_CopyObject.html"
_DELETE = API + "API_DeleteObject.html"
_DELETES = API + "API_DeleteObjects.html"
_INTEGRITY = GUIDE + "checking-object-integrity-upload.html"
_CONDITIONS = GUIDE + "conditional-writes.html"
_CHUNKS = API + "sigv4-streaming.html"
_TRAILERS = API + "sigv4-streaming-trailers.html"

OLD, NEW = b"old content", b"new content, longer"
_LARGE = bytes(range(253)) * 800  # four chunks of 64 KiB
_OTHER_ETAG = '"00000000000000000000000000000000"'

_kept = get().gives(200, body=OLD)
_changed = get().gives(200, body=NEW)


def _old(**headers: str) -> Call:
    return put(OLD, **headers).saving(etag="header:ETag")


def _crc32c_of(data: bytes) -> str:
    return b64encode(crc32c.crc32c(data).to_bytes(4, "big")).decode()


def _sha1_of(data: bytes) -> str:
    return b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


_ALGORITHMS: tuple[tuple[str, Callable[[bytes], str]], ...] = (
    ("crc32", crc32_of),
    ("crc32c", _crc32c_of),
    ("sha1", _sha1_of),
    ("sha256", sha256_of),
)


# ---------------------------------------------------------------- plain uploads


def _uploads() -> Iterator[Case]:
    new = (
        put(NEW).gives(200, headers={"ETag": f'"{hashlib.md5(NEW, usedforsecurity=False).hexdigest()}"'}),
        _changed,
    )
    yield Case("put/new", _PUT, new)
    yield Case("put/over-another", _PUT, (_kept, put(NEW).gives(200), _changed), (_old(),))
    repeated = (put(NEW), _changed, put(OLD), _kept, put(NEW), _changed)
    yield Case("put/over-and-over", _PUT, repeated, (_old(),))
    yield Case("put/zero-bytes", _PUT, (put(b"").gives(200), get().gives(200, body=b"")), (_old(),))
    yield Case("put/several-blocks", _PUT, (put(_LARGE).gives(200), get().gives(200, body=_LARGE)), (_old(),))
    tail = get(Range="bytes=-100000").gives(206, body=_LARGE[-100_000:])
    yield Case("put/several-blocks-and-range", _PUT, (put(_LARGE), tail), (put(_LARGE[::-1]),))
    shorter = (put(b"s"), get().gives(200, body=b"s"), get(Range="bytes=5-").gives(416, "InvalidRange"))
    yield Case("put/shorter-than-before", _PUT, shorter, (_old(),))
    typed = (put(NEW, Content_Type="a/new"), head().gives(200, headers={"Content-Type": "a/new"}))
    yield Case("put/headers-change-with-it", _PUT, typed, (_old(Content_Type="a/old"),))
    dropped = (put(NEW), head().gives(200, headers={"x-amz-meta-a": None, "Cache-Control": None}))
    yield Case("put/headers-go-with-it", _PUT, dropped, (_old(x_amz_meta_a="1", Cache_Control="no-cache"),))
    meta = (put(OLD, x_amz_meta_a="2"), head().gives(200, headers={"x-amz-meta-a": "2"}))
    yield Case("put/same-bytes-other-metadata", _PUT, meta, (_old(x_amz_meta_a="1"),))
    much = put(NEW, x_amz_meta_a="x" * 2100).gives(400, "MetadataTooLarge")
    yield Case("put/metadata-over-2-kb", GUIDE + "UsingMetadata.html 2 KB", (much, _kept), (_old(),))
    limit = (
        put(NEW, x_amz_meta_a="x" * 2000).gives(200),
        head().gives(200, headers={"x-amz-meta-a": "x" * 2000}),
    )
    yield Case("put/metadata-of-2-kb", GUIDE + "UsingMetadata.html 2 KB", limit)
    nowhere = put(NEW, "/{new_bucket}/key").gives(404, "NoSuchBucket")
    yield Case("put/no-such-bucket", API + "ErrorResponses.html", (nowhere,))
    lengthless = put(b"", more={"unsigned_headers": {"Content-Length": ""}}).gives(
        411, "MissingContentLength"
    )
    yield Case("put/without-length", API + "ErrorResponses.html MissingContentLength", (lengthless,))
    storage = put(NEW, x_amz_storage_class="NOT_ONE").gives(400, "InvalidStorageClass")
    yield Case(
        "put/unknown-storage-class",
        API + "ErrorResponses.html InvalidStorageClass",
        (storage, _kept),
        (_old(),),
    )
    told = put(NEW, more={"waits_for_continue": True}, Expect="100-continue")
    yield Case("put/expect-continue", "RFC 9110 10.1.1", (told.gives(200), _changed), (_old(),))
    refused = put(
        NEW,
        "/{new_bucket}/key",
        more={"waits_for_continue": True, "signature": "none"},
        Expect="100-continue",
    ).gives(403, "AccessDenied")
    yield Case("put/expect-refused", "RFC 9110 10.1.1", (refused,), by_cashy=True)
    tagged = (put(NEW, x_amz_tagging="a=1&b=2"), head().gives(200, headers={"x-amz-tagging-count": "2"}))
    yield Case("put/tagging", _PUT + " x-amz-tagging", tagged)
    website = (
        put(NEW, x_amz_website_redirect_location="/x"),
        head().gives(200, headers={"x-amz-website-redirect-location": "/x"}),
    )
    yield Case("put/website-redirect", _PUT + " x-amz-website-redirect-location", website)


def _integrity() -> Iterator[Case]:
    good = (put(NEW, Content_MD5=md5_of(NEW)).gives(200), _changed)
    yield Case("put/md5", _PUT + " Content-MD5", good, (_old(),))
    bad = (put(NEW, Content_MD5=md5_of(OLD)).gives(400, "BadDigest"), _kept)
    yield Case("put/md5-of-something-else", API + "ErrorResponses.html BadDigest", bad, (_old(),))
    for name, value in (("no-base64", "%%%"), ("too-short", "YWJj"), ("empty", "")):
        invalid = put(NEW, Content_MD5=value).gives(400, "InvalidDigest")
        yield Case(f"put/md5-{name}", API + "ErrorResponses.html InvalidDigest", (invalid, _kept), (_old(),))
    for algorithm, checksum_of in _ALGORITHMS:
        header = f"x-amz-checksum-{algorithm}"
        names_it = {"x-amz-sdk-checksum-algorithm": algorithm.upper()}
        right = Call("PUT", headers={**names_it, header: checksum_of(NEW)}, body=NEW).gives(
            200, headers={header: checksum_of(NEW)}
        )
        yield Case(f"put/{algorithm}", _INTEGRITY, (right, _changed), (_old(),))
        wrong = Call("PUT", headers={**names_it, header: checksum_of(OLD)}, body=NEW).gives(
            400, ("BadDigest", "InvalidRequest")
        )
        yield Case(f"put/{algorithm}-of-something-else", _INTEGRITY, (wrong, _kept), (_old(),))
        for kind in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
            short = "signed" if "AWS4" in kind else "unsigned"
            trailed = Call("PUT", body=_LARGE, payload=kind, trailer=(header, checksum_of(_LARGE))).gives(200)
            yield Case(
                f"put/trailer-{short}-{algorithm}",
                _TRAILERS,
                (trailed, get().gives(200, body=_LARGE)),
                (_old(),),
            )
            lying = Call("PUT", body=NEW, payload=kind, trailer=(header, checksum_of(OLD)))
            refused = lying.gives(400, ("BadDigest", "InvalidRequest"))
            yield Case(
                f"put/trailer-{short}-{algorithm}-of-something-else",
                _TRAILERS,
                (refused, _kept),
                (_old(),),
                by_cashy=True,
            )
    nonsense = put(NEW, x_amz_checksum_sha256="AAAA").gives(400, ("InvalidRequest", "BadDigest"))
    yield Case("put/sha256-too-short", _INTEGRITY, (nonsense, _kept), (_old(),))
    two = put(NEW, x_amz_checksum_sha256=sha256_of(NEW), x_amz_checksum_crc32=crc32_of(NEW)).gives(
        400, "InvalidRequest"
    )
    yield Case("put/two-checksums", _INTEGRITY, (two, _kept), (_old(),))
    forged = put(NEW, more={"payload": hashlib.sha256(OLD).hexdigest()}).gives(
        400, "XAmzContentSHA256Mismatch"
    )
    yield Case(
        "put/signed-hash-of-something-else",
        API + "sig-v4-header-based-auth.html",
        (forged, _kept),
        (_old(),),
        by_cashy=True,
    )
    unsigned = (put(NEW, more={"payload": "UNSIGNED-PAYLOAD"}).gives(200), _changed)
    yield Case("put/unsigned-payload", API + "sig-v4-header-based-auth.html", unsigned, (_old(),))


def _chunks() -> Iterator[Case]:
    signed = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    for name, body in (("one", NEW), ("none", b""), ("several", _LARGE)):
        call = put(body, more={"payload": signed}).gives(200)
        yield Case(f"put/chunks-{name}", _CHUNKS, (call, get().gives(200, body=body)), (_old(),))

    def refused(
        name: str, change: Callable[[bytes], bytes], status: tuple[int, ...], codes: tuple[str, ...]
    ) -> Case:
        call = put(_LARGE, more={"payload": signed, "rewrite_body": change}).gives(status, codes)
        return Case(f"put/chunks-{name}", _CHUNKS, (call, _kept), (_old(),), by_cashy=True)

    yield refused(
        "byte-changed",
        lambda body: body.replace(b"\x64\x65", b"\x64\x66", 1),
        (403,),
        ("SignatureDoesNotMatch",),
    )
    yield refused(
        "signature-changed",
        lambda body: re.sub(b"chunk-signature=.{4}", b"chunk-signature=0000", body, count=1),
        (403,),
        ("SignatureDoesNotMatch",),
    )
    yield refused(
        "last-signature-changed",
        lambda body: body[: body.rindex(b"=") + 1] + b"0" * 64 + b"\r\n\r\n",
        (403,),
        ("SignatureDoesNotMatch",),
    )
    shorter = put(NEW, more={"payload": signed, "unsigned_headers": {"x-amz-decoded-content-length": "3"}})
    yield Case(
        "put/chunks-decoded-length-forged",
        _CHUNKS,
        (shorter.gives((400, 403)), _kept),
        (_old(),),
        by_cashy=True,
    )
    trailer = {
        "payload": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "trailer": ("x-amz-checksum-crc32", crc32_of(NEW)),
    }
    missing = put(
        NEW, more={**trailer, "rewrite_body": lambda body: body[: body.index(b"x-amz-checksum")] + b"\r\n"}
    ).gives(400)
    yield Case("put/trailer-missing", _TRAILERS, (missing, _kept), (_old(),), by_cashy=True)
    forged_trailer = put(
        NEW,
        more={
            "payload": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            "trailer": ("x-amz-checksum-crc32", crc32_of(NEW)),
            "rewrite_body": lambda body: re.sub(b"trailer-signature:.{4}", b"trailer-signature:0000", body),
        },
    ).gives(403, "SignatureDoesNotMatch")
    yield Case("put/trailer-signature-changed", _TRAILERS, (forged_trailer, _kept), (_old(),), by_cashy=True)
    shown = (
        put(NEW, more=trailer, Content_Encoding="gzip,aws-chunked"),
        head().gives(200, headers={"Content-Encoding": "gzip", "Content-Length": str(len(NEW))}),
    )
    yield Case("put/trailer-keeps-the-encoding", _TRAILERS, shown, (_old(),))


def _conditions() -> Iterator[Case]:
    present, absent = (_old(),), ()
    created = (put(NEW, If_None_Match="*").gives(200), _changed)
    yield Case("put/if-none-match-new", _CONDITIONS, created, absent)
    refused = (put(NEW, If_None_Match="*").gives(412, "PreconditionFailed"), _kept)
    yield Case("put/if-none-match-existing", _CONDITIONS, refused, present)
    again = (delete(), put(NEW, If_None_Match="*").gives(200), _changed)
    yield Case("put/if-none-match-deleted", _CONDITIONS, again, present)
    replaced = (put(NEW, If_Match="{etag}").gives(200), _changed)
    yield Case("put/if-match", _CONDITIONS, replaced, present)
    other = (put(NEW, If_Match=_OTHER_ETAG).gives(412, "PreconditionFailed"), _kept)
    yield Case("put/if-match-other", _CONDITIONS, other, present)
    nothing = (put(NEW, If_Match="{etag}").gives(404, "NoSuchKey"),)
    yield Case(
        "put/if-match-nothing",
        _CONDITIONS,
        nothing,
        (put(OLD, "/{bucket}/{key}-2").saving(etag="header:ETag"),),
    )
    stale = (put(NEW), put(OLD, If_Match="{etag}").gives(412, "PreconditionFailed"), _changed)
    yield Case("put/if-match-outdated", _CONDITIONS, stale, present)
    both = put(NEW, If_Match="{etag}", If_None_Match="*").gives((400, 412, 501))
    yield Case("put/if-match-and-none-match", _PUT + " If-None-Match", (both, _kept), present)


# ---------------------------------------------------------------- copies

_SOURCE = "/{bucket}/{key}-source"


def _source(**headers: str) -> Call:
    return put(NEW, _SOURCE, **headers).saving(etag="header:ETag")


def _copy(target: str = "/{bucket}/{key}", source: str = _SOURCE, **headers: str) -> Call:
    return put(b"", target, x_amz_copy_source=source, **headers)


def _copies() -> Iterator[Case]:
    done = _copy().gives(200, checks=(xml_has("ETag"), xml_has("LastModified", r"\d{4}-\d\d-\d\dT[\d:.]+Z")))
    yield Case("copy/new", _COPY, (done, _changed), (_source(),))
    yield Case("copy/onto-another", _COPY, (_kept, done, _changed), (_source(), _old()))
    bare = _copy(source="{bucket}/{key}-source").gives(200)
    yield Case(
        "copy/source-without-slash", _COPY + " x-amz-copy-source", (bare, _changed), (_source(), _old())
    )
    described = {"x_amz_meta_a": "1", "Content_Type": "a/old", "Cache_Control": "no-cache"}
    kept = head().gives(
        200, headers={"x-amz-meta-a": "1", "Content-Type": "a/old", "Cache-Control": "no-cache"}
    )
    yield Case(
        "copy/metadata-is-copied",
        _COPY + " x-amz-metadata-directive",
        (_copy(), kept),
        (_source(**described),),
    )
    ignored = _copy(x_amz_meta_a="2", x_amz_metadata_directive="COPY")
    yield Case(
        "copy/metadata-copy-ignores-new",
        _COPY + " x-amz-metadata-directive",
        (ignored, kept),
        (_source(**described),),
    )
    replaced = (
        _copy(x_amz_metadata_directive="REPLACE", x_amz_meta_b="2", Content_Type="a/new"),
        head().gives(200, headers={"x-amz-meta-a": None, "x-amz-meta-b": "2", "Content-Type": "a/new"}),
    )
    yield Case(
        "copy/metadata-replaced", _COPY + " x-amz-metadata-directive", replaced, (_source(**described),)
    )
    wrong = _copy(x_amz_metadata_directive="MAYBE").gives(400, "InvalidArgument")
    yield Case("copy/unknown-directive", _COPY + " x-amz-metadata-directive", (wrong,), (_source(),))
    itself = put(b"", x_amz_copy_source="/{bucket}/{key}").gives(400, "InvalidRequest")
    yield Case("copy/onto-itself", API + "ErrorResponses.html InvalidRequest", (itself, _kept), (_old(),))
    renamed = (
        head().gives(200, headers={"x-amz-meta-a": "1"}),
        put(
            b"", x_amz_copy_source="/{bucket}/{key}", x_amz_metadata_directive="REPLACE", x_amz_meta_a="2"
        ).gives(200),
        head().gives(200, headers={"x-amz-meta-a": "2"}),
        _kept,
    )
    yield Case(
        "copy/onto-itself-with-metadata", GUIDE + "UsingMetadata.html", renamed, (_old(x_amz_meta_a="1"),)
    )
    yield Case("copy/of-nothing", _COPY, (_copy().gives(404, "NoSuchKey"), _kept), (_old(),))
    nowhere = _copy(source="/{new_bucket}/key").gives(404, "NoSuchBucket")
    yield Case("copy/from-no-bucket", _COPY, (nowhere, _kept), (_old(),))
    into = _copy("/{new_bucket}/key").gives(404, "NoSuchBucket")
    yield Case("copy/into-no-bucket", _COPY, (into,), (_source(),))
    for name, value in (("without-key", "justabucket"), ("empty-key", "/{bucket}/")):
        yield Case(
            f"copy/source-{name}",
            _COPY,
            (_copy(source=value).gives(400, "InvalidArgument"), _kept),
            (_old(),),
        )
    for name, sent in (
        ("space", "a%20b"),
        ("unicode", "%C3%BC"),
        ("percent", "a%25b"),
        ("plus", "a%2Bb"),
        ("double-slash", "a//b"),
        ("question-mark", "a%3Fb"),
    ):
        source = f"/{{bucket}}/{{key}}-source/a{sent}b"
        yield Case(
            f"copy/source-with-{name}",
            _COPY,
            (_copy(source=source).gives(200), _changed),
            (put(NEW, source),),
        )
    dated = (
        put(NEW, _SOURCE).saving(source_etag="header:ETag"),
        head(_SOURCE).saving(modified="header:Last-Modified"),
        _old(),
    )
    for name, headers, status in (
        ("if-match", {"x-amz-copy-source-if-match": "{source_etag}"}, 200),
        ("if-match-other", {"x-amz-copy-source-if-match": _OTHER_ETAG}, 412),
        ("if-none-match", {"x-amz-copy-source-if-none-match": "{source_etag}"}, 412),
        ("if-none-match-other", {"x-amz-copy-source-if-none-match": _OTHER_ETAG}, 200),
        ("if-modified-since-past", {"x-amz-copy-source-if-modified-since": "{past}"}, 200),
        ("if-modified-since-its-date", {"x-amz-copy-source-if-modified-since": "{modified}"}, 412),
        ("if-unmodified-since-past", {"x-amz-copy-source-if-unmodified-since": "{past}"}, 412),
        ("if-unmodified-since-its-date", {"x-amz-copy-source-if-unmodified-since": "{modified}"}, 200),
        ("if-match-beats-unmodified", {"x-amz-copy-source-if-match": "{source_etag}", "x-amz-copy-source-if-unmodified-since": "{past}"}, 200),
        ("if-none-match-beats-modified", {"x-amz-copy-source-if-none-match": "{source_etag}", "x-amz-copy-source-if-modified-since": "{past}"}, 412),
    ):  # fmt: skip
        call = Call("PUT", headers={"x-amz-copy-source": _SOURCE, **headers})
        call = call.gives(200) if status == 200 else call.gives(412, "PreconditionFailed")
        yield Case(
            f"copy/{name}",
            _COPY + " conditional headers",
            (call, _changed if status == 200 else _kept),
            dated,
        )
    fresh = (put(OLD, _SOURCE), _copy(), _kept)
    yield Case("copy/of-what-was-just-written", _COPY, fresh, (_source(), put(NEW)))
    chained = (
        _copy(),
        put(b"", "/{bucket}/{key}-3", x_amz_copy_source="/{bucket}/{key}"),
        get("/{bucket}/{key}-3").gives(200, body=NEW),
    )
    yield Case("copy/of-a-copy", _COPY, chained, (_source(), _old()))
    tagged = (_copy(), head().gives(200, headers={"x-amz-tagging-count": "1"}))
    yield Case(
        "copy/tags-are-copied", _COPY + " x-amz-tagging-directive", tagged, (_source(x_amz_tagging="a=1"),)
    )
    retagged = (
        _copy(x_amz_tagging_directive="REPLACE", x_amz_tagging="b=1&c=2"),
        head().gives(200, headers={"x-amz-tagging-count": "2"}),
    )
    yield Case(
        "copy/tags-replaced", _COPY + " x-amz-tagging-directive", retagged, (_source(x_amz_tagging="a=1"),)
    )


# ---------------------------------------------------------------- deletes


def _listed(*keys: str, quiet: bool = False) -> bytes:
    objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    return f"<Delete>{'<Quiet>true</Quiet>' if quiet else ''}{objects}</Delete>".encode()


def _delete_many(body: bytes) -> Call:
    return post(body, "/{bucket}?delete", more={"adds_md5": True})


def _deletes() -> Iterator[Case]:
    gone = get().gives(404, "NoSuchKey")
    yield Case(
        "delete/object", _DELETE, (_kept, delete().gives(204, body=b""), gone, head().gives(404)), (_old(),)
    )
    yield Case("delete/nothing", _DELETE, (delete().gives(204),))
    yield Case("delete/twice", _DELETE, (delete().gives(204), delete().gives(204), gone), (_old(),))
    yield Case("delete/and-write-again", _DELETE, (delete(), gone, put(NEW), _changed), (_old(),))
    yield Case("delete/in-no-bucket", _DELETE, (delete("/{new_bucket}/key").gives(404, "NoSuchBucket"),))
    matched = (delete(If_Match="{etag}").gives(204), gone)
    source = GUIDE + "conditional-deletes.html"
    yield Case("delete/if-match", source, matched, (_old(),))
    other = (delete(If_Match=_OTHER_ETAG).gives(412, "PreconditionFailed"), _kept)
    yield Case("delete/if-match-other", source, other, (_old(),))
    null = (delete("/{bucket}/{key}?versionId=null").gives(204), gone)
    yield Case("delete/null-version", _DELETE + " versionId", null, (_old(),))
    two = (put(OLD, "/{bucket}/{key}-1"), put(OLD, "/{bucket}/{key}-2"))
    both = _delete_many(_listed("{key}-1", "{key}-2"))
    afterwards = (
        get("/{bucket}/{key}-1").gives(404, "NoSuchKey"),
        get("/{bucket}/{key}-2").gives(404, "NoSuchKey"),
    )
    yield Case(
        "delete/many",
        _DELETES,
        (both.gives(200, checks=(xml_count("Deleted", 2), xml_lacks("Error/Key"))), *afterwards),
        two,
    )
    quiet = _delete_many(_listed("{key}-1", "{key}-2", quiet=True)).gives(
        200, checks=(xml_count("Deleted", 0), xml_count("Error", 0))
    )
    yield Case("delete/many-quietly", _DELETES + " Quiet", (quiet, *afterwards), two)
    partly = _delete_many(_listed("{key}-1", "{key}-none")).gives(200, checks=xml_count("Deleted", 2))
    yield Case(
        "delete/many-some-missing",
        _DELETES,
        (partly, afterwards[0], get("/{bucket}/{key}-2").gives(200, body=OLD)),
        two,
    )
    escaped = (put(OLD, "/{bucket}/{key}%26%3Ca%3E"),)
    special = (
        _delete_many(_listed("{key}&amp;&lt;a&gt;")).gives(200, checks=xml_count("Deleted", 1)),
        get("/{bucket}/{key}%26%3Ca%3E").gives(404),
    )
    yield Case("delete/many-escaped-key", _DELETES, special, escaped)
    unicode = _delete_many(_listed("{key}-ü")).gives(200, checks=xml_count("Deleted", 1))
    yield Case(
        "delete/many-unicode-key",
        _DELETES,
        (unicode, get("/{bucket}/{key}-%C3%BC").gives(404)),
        (put(OLD, "/{bucket}/{key}-%C3%BC"),),
    )
    malformed = _delete_many(b"<Delete><Object>").gives(400, "MalformedXML")
    yield Case("delete/many-malformed", API + "ErrorResponses.html MalformedXML", (malformed,), by_cashy=True)
    empty = _delete_many(b"<Delete></Delete>").gives(400, "MalformedXML")
    yield Case("delete/many-of-none", _DELETES, (empty,))
    too_many = _delete_many(_listed(*(f"k{number}" for number in range(1001)))).gives(400, "MalformedXML")
    yield Case("delete/many-over-1000", _DELETES + " up to 1000 keys", (too_many,))
    plain = post(
        b"<Delete><Object><Key>x</Key></Object></Delete>", "/{bucket}?delete", Content_MD5=md5_of(NEW)
    )
    yield Case(
        "delete/many-md5-of-something-else", _DELETES + " Content-MD5", (plain.gives(400, "BadDigest"),)
    )
    nowhere = post(_listed("x"), "/{new_bucket}?delete", more={"adds_md5": True}).gives(404, "NoSuchBucket")
    yield Case("delete/many-in-no-bucket", _DELETES, (nowhere,))
    keys = _delete_many(_listed("{key}-1", "{key}-2")).gives(200, checks=xml_texts("Error/Key"))
    yield Case(
        "delete/many-then-write-again",
        _DELETES,
        (keys, put(NEW, "/{bucket}/{key}-1"), get("/{bucket}/{key}-1").gives(200, body=NEW), afterwards[1]),
        two,
    )


CASES: tuple[Case, ...] = (*_uploads(), *_integrity(), *_chunks(), *_conditions(), *_copies(), *_deletes())
