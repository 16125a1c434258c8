"""ListObjectsV2 and ListObjects, buckets and their settings, tags and access control lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.cashy.conformance.case import (
    API,
    GUIDE,
    Call,
    Case,
    Check,
    delete,
    get,
    head,
    options,
    put,
    xml_count,
    xml_has,
    xml_lacks,
    xml_texts,
)

__all__ = ["CASES"]

_V2 = API + "API_ListObjectsV2.html"
_V1 = API + "API_ListObjects.html"
_BUCKET = GUIDE + "bucketnamingrules.html"

_LIST2, _LIST1 = "/{bucket}?list-type=2", "/{bucket}"


def _query(base: str, parameters: str) -> str:
    """``parameters`` begin with an ampersand."""
    return base + (parameters if "?" in base else parameters.replace("&", "?", 1))


def _objects(*keys: str) -> tuple[Call, ...]:
    return tuple(put(b"content", f"/{{bucket}}/{key}") for key in keys)


_TREE = _objects("a", "b/1", "b/2", "b/c/3", "d", "e/4")
_KEYS = ("a", "b/1", "b/2", "b/c/3", "d", "e/4")


# ---------------------------------------------------------------- what both versions have

#: name, parameters, keys, common prefixes
_SHARED = (
    ("all", "", _KEYS, ()),
    ("prefix", "&prefix=b/", ("b/1", "b/2", "b/c/3"), ()),
    ("prefix-of-a-name", "&prefix=b", ("b/1", "b/2", "b/c/3"), ()),
    ("prefix-without-match", "&prefix=zz", (), ()),
    ("prefix-empty", "&prefix=", _KEYS, ()),
    ("delimiter", "&delimiter=/", ("a", "d"), ("b/", "e/")),
    ("delimiter-and-prefix", "&delimiter=/&prefix=b/", ("b/1", "b/2"), ("b/c/",)),
    ("delimiter-and-prefix-without-slash", "&delimiter=/&prefix=b", (), ("b/",)),
    ("delimiter-encoded", "&delimiter=%2F", ("a", "d"), ("b/", "e/")),
    ("delimiter-not-there", "&delimiter=%7C", _KEYS, ()),
    ("delimiter-long", "&delimiter=/c", ("a", "b/1", "b/2", "d", "e/4"), ("b/c",)),
    ("delimiter-empty", "&delimiter=", _KEYS, ()),
    ("max-keys", "&max-keys=1000", _KEYS, ()),
    ("max-keys-huge", "&max-keys=100000", _KEYS, ()),
)


def _both_versions() -> Iterator[Case]:
    for version, base, source in (("v2", _LIST2, _V2), ("v1", _LIST1, _V1)):
        for name, parameters, keys, prefixes in _SHARED:
            shown: tuple[Check, ...] = (
                xml_texts("Contents/Key", *keys),
                xml_texts("CommonPrefixes/Prefix", *prefixes),
                xml_texts("IsTruncated", "false"),
            )
            if version == "v2":
                shown = (*shown, xml_texts("KeyCount", str(len(keys) + len(prefixes))))
            call = get(_query(base, parameters)).gives(200, checks=shown)
            yield Case(f"list/{version}-{name}", source, (call,), _TREE, read_only=True)
        none = get(_query(base, "&max-keys=0")).gives(
            200, checks=(xml_count("Contents", 0), xml_texts("IsTruncated", "false"))
        )
        yield Case(f"list/{version}-max-keys-0", source + " max-keys", (none,), _TREE, read_only=True)
        for wrong in ("x", "-1"):
            call = get(_query(base, f"&max-keys={wrong}")).gives(400, "InvalidArgument")
            yield Case(
                f"list/{version}-max-keys-{wrong.strip('-')}",
                source + " max-keys",
                (call,),
                _TREE,
                read_only=True,
            )
        nowhere = get(base.replace("{bucket}", "{new_bucket}")).gives(404, "NoSuchBucket")
        yield Case(f"list/{version}-no-such-bucket", source + " Errors", (nowhere,))
        empty = get(base).gives(200, checks=(xml_count("Contents", 0), xml_texts("IsTruncated", "false")))
        yield Case(f"list/{version}-empty-bucket", source, (empty,), read_only=True)
        described = get(base).gives(
            200,
            headers={"Content-Type": re.compile("(application|text)/xml.*")},
            checks=(
                xml_texts("Contents/Size", "7"),
                xml_texts("Contents/ETag", '"9a0364b9e99bb480dd25e1f0284c8555"'),
                xml_texts("Contents/StorageClass", "STANDARD"),
                xml_has("Contents/LastModified", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
                xml_has("Name"),
            ),
        )
        yield Case(f"list/{version}-elements", source, (described,), _objects("one"), read_only=True)
        seen = (
            put(b"", "/{bucket}/new"),
            get(base).gives(200, checks=xml_texts("Contents/Key", "new", "old")),
            delete("/{bucket}/old"),
            get(base).gives(200, checks=xml_texts("Contents/Key", "new")),
        )
        consistent = GUIDE + "Welcome.html ConsistencyModel"
        yield Case(f"list/{version}-after-changes", consistent, seen, _objects("old"), own_bucket=True)
        order = get(base).gives(
            200, checks=xml_texts("Contents/Key", "A", "B!", "a", "a b", "a.b", "a/b", "a0", "\u00fc")
        )
        mixed = _objects("a0", "%C3%BC", "a/b", "a.b", "B!", "a%20b", "A", "a")
        yield Case(
            f"list/{version}-order-is-of-bytes",
            GUIDE + "ListingKeysUsingAPIs.html",
            (order,),
            mixed,
            read_only=True,
        )
        encoded = get(_query(base, "&encoding-type=url")).gives(
            200,
            checks=(xml_texts("EncodingType", "url"), xml_texts("Contents/Key", "a%2Bb", "a%C3%BC", "d/e")),
        )
        yield Case(
            f"list/{version}-encoding-url",
            source + " encoding-type",
            (encoded,),
            _objects("a%2Bb", "a%C3%BC", "d/e"),
            read_only=True,
        )
        other = get(_query(base, "&encoding-type=other")).gives(400, "InvalidArgument")
        yield Case(f"list/{version}-encoding-unknown", source + " encoding-type", (other,), read_only=True)
        escaped = get(base).gives(200, checks=xml_texts("Contents/Key", "<a>&\"'"))
        yield Case(
            f"list/{version}-markup-is-escaped",
            source,
            (escaped,),
            _objects("%3Ca%3E%26%22%27"),
            read_only=True,
        )


def _pages() -> Iterator[Case]:
    first = get(f"{_LIST2}&max-keys=4").gives(
        200,
        checks=(
            xml_texts("Contents/Key", *_KEYS[:4]),
            xml_texts("IsTruncated", "true"),
            xml_texts("MaxKeys", "4"),
            xml_has("NextContinuationToken"),
        ),
    )
    last_keys = (
        xml_texts("Contents/Key", *_KEYS[4:]),
        xml_texts("IsTruncated", "false"),
        xml_lacks("NextContinuationToken"),
    )
    second = get(f"{_LIST2}&max-keys=4&continuation-token={{token}}").gives(200, checks=last_keys)
    yield Case(
        "list/v2-pages",
        _V2,
        (first.saving(token="query:NextContinuationToken"), second),
        _TREE,
        read_only=True,
    )
    rolled = get(f"{_LIST2}&delimiter=/&max-keys=2").gives(
        200,
        checks=(
            xml_texts("Contents/Key", "a"),
            xml_texts("CommonPrefixes/Prefix", "b/"),
            xml_texts("IsTruncated", "true"),
        ),
    )
    unrolled = get(f"{_LIST2}&delimiter=/&max-keys=2&continuation-token={{token}}").gives(
        200,
        checks=(
            xml_texts("Contents/Key", "d"),
            xml_texts("CommonPrefixes/Prefix", "e/"),
            xml_texts("IsTruncated", "false"),
        ),
    )
    yield Case(
        "list/v2-pages-with-delimiter",
        _V2,
        (rolled.saving(token="query:NextContinuationToken"), unrolled),
        _TREE,
        read_only=True,
    )
    for name, after, keys in (
        ("key", "b/2", _KEYS[3:]),
        ("between-keys", "b/20", _KEYS[3:]),
        ("last", "e/4", ()),
        ("before-all", "A", _KEYS),
    ):
        call = get(f"{_LIST2}&start-after={after}").gives(200, checks=xml_texts("Contents/Key", *keys))
        yield Case(f"list/v2-start-after-{name}", _V2 + " start-after", (call,), _TREE, read_only=True)
        marked = get(f"{_LIST1}?marker={after}").gives(200, checks=xml_texts("Contents/Key", *keys))
        yield Case(f"list/v1-marker-{name}", _V1 + " marker", (marked,), _TREE, read_only=True)
    token = get(f"{_LIST2}&continuation-token=").gives(400, "InvalidArgument")
    yield Case("list/v2-token-empty", _V2 + " continuation-token", (token,), _TREE, read_only=True)
    owners = get(f"{_LIST2}&fetch-owner=true").gives(200, checks=xml_count("Contents/Owner/ID", 6))
    yield Case("list/v2-fetch-owner", _V2 + " fetch-owner", (owners,), _TREE, read_only=True)
    without = get(_LIST2).gives(200, checks=xml_count("Contents/Owner", 0))
    yield Case("list/v2-no-owner", _V2 + " fetch-owner", (without,), _TREE, read_only=True)
    with_owner = get(_LIST1).gives(200, checks=xml_count("Contents/Owner/ID", 6))
    yield Case("list/v1-owner", _V1, (with_owner,), _TREE, read_only=True)
    page = get(f"{_LIST1}?delimiter=/&max-keys=2").gives(
        200,
        checks=(
            xml_texts("CommonPrefixes/Prefix", "b/"),
            xml_texts("IsTruncated", "true"),
            xml_texts("NextMarker", "b/"),
        ),
    )
    rest = get(f"{_LIST1}?delimiter=/&marker=b/").gives(
        200, checks=(xml_texts("Contents/Key", "d"), xml_texts("CommonPrefixes/Prefix", "e/"))
    )
    yield Case("list/v1-pages-with-delimiter", _V1 + " NextMarker", (page, rest), _TREE, read_only=True)
    bare = get(f"{_LIST1}?max-keys=4").gives(
        200, checks=(xml_texts("Contents/Key", *_KEYS[:4]), xml_texts("IsTruncated", "true"))
    )
    follow = get(f"{_LIST1}?marker=b/c/3").gives(200, checks=xml_texts("Contents/Key", *_KEYS[4:]))
    yield Case("list/v1-pages", _V1, (bare, follow), _TREE, read_only=True)
    echoed = get(f"{_LIST1}?prefix=b&delimiter=/&marker=a").gives(
        200, checks=(xml_texts("Prefix", "b"), xml_texts("Delimiter", "/"), xml_texts("Marker", "a"))
    )
    yield Case("list/v1-parameters-are-repeated", _V1, (echoed,), _TREE, read_only=True)
    again = get(f"{_LIST2}&prefix=b&delimiter=/&start-after=a").gives(
        200, checks=(xml_texts("Prefix", "b"), xml_texts("Delimiter", "/"), xml_texts("StartAfter", "a"))
    )
    yield Case("list/v2-parameters-are-repeated", _V2, (again,), _TREE, read_only=True)
    versions = get("/{bucket}?versions").gives(200, checks=xml_texts("Version/Key", *_KEYS))
    yield Case("list/versions", API + "API_ListObjectVersions.html", (versions,), _TREE, read_only=True)


# ---------------------------------------------------------------- buckets


def _buckets() -> Iterator[Case]:
    create = put(b"", "/{new_bucket}").gives(200)
    source = API + "API_CreateBucket.html"
    found = head("/{new_bucket}").gives(200)
    missing = head("/{new_bucket}").gives(404, body=b"")
    yield Case("bucket/create", source, (missing, create, found))
    yield Case(
        "bucket/create-says-where",
        source + " Location",
        (put(b"", "/{new_bucket}").gives(200, headers={"Location": "/{new_bucket}"}),),
    )
    again = put(b"", "/{new_bucket}").gives((200, 409), ("", "BucketAlreadyOwnedByYou"))
    yield Case("bucket/create-twice", source + " BucketAlreadyOwnedByYou", (create, again))
    gone = (
        create,
        delete("/{new_bucket}").gives(204),
        missing,
        get("/{new_bucket}?list-type=2").gives(404, "NoSuchBucket"),
    )
    yield Case("bucket/delete", API + "API_DeleteBucket.html", gone)
    full = (delete("/{bucket}").gives(409, "BucketNotEmpty"), get().gives(200, body=b"x"))
    yield Case("bucket/delete-not-empty", API + "API_DeleteBucket.html", full, (put(b"x"),), own_bucket=True)
    yield Case(
        "bucket/delete-nothing",
        API + "API_DeleteBucket.html",
        (delete("/{new_bucket}").gives(404, "NoSuchBucket"),),
    )
    emptied = (
        get().gives(200, body=b"x"),
        delete(),
        delete("/{bucket}").gives(204),
        get().gives(404, "NoSuchBucket"),
        put(b"y").gives(404, "NoSuchBucket"),
    )
    yield Case(
        "bucket/object-of-deleted-bucket", API + "ErrorResponses.html", emptied, (put(b"x"),), own_bucket=True
    )
    reborn = (
        delete(),
        delete("/{bucket}"),
        put(b"", "/{bucket}").gives(200),
        get().gives(404, "NoSuchKey"),
        put(b"z"),
        get().gives(200, body=b"z"),
    )
    yield Case("bucket/created-anew", API + "API_CreateBucket.html", reborn, (put(b"x"),), own_bucket=True)
    for name, bucket in (
        ("two-characters", "ab"),
        ("over-63-characters", "a" * 64),
        ("upper-case", "Bucket"),
        ("underscore", "a_bucket"),
        ("address", "192.168.5.4"),
        ("two-dots", "a..bucket"),
        ("dash-at-end", "bucket-"),
        ("dash-at-start", "-bucket"),
    ):
        yield Case(f"bucket/name-{name}", _BUCKET, (put(b"", f"/{bucket}").gives(400, "InvalidBucketName"),))
    listed = get("/").gives(
        200,
        checks=(xml_has("Buckets/Bucket/Name"), xml_has("Buckets/Bucket/CreationDate"), xml_has("Owner/ID")),
    )
    yield Case("bucket/list", API + "API_ListBuckets.html", (listed,), read_only=True)
    location = get("/{bucket}?location").gives(200, checks=xml_lacks("LocationConstraint"))
    yield Case("bucket/location", API + "API_GetBucketLocation.html", (location,))
    malformed = put(b"<CreateBucketConfiguration>", "/{new_bucket}").gives(400, "MalformedXML")
    yield Case("bucket/create-malformed", source, (malformed,))
    versioning = get("/{bucket}?versioning").gives(200, checks=xml_lacks("Status"))
    yield Case(
        "bucket/versioning-not-set", API + "API_GetBucketVersioning.html", (versioning,), read_only=True
    )
    enabled = (
        put(
            b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
            "/{bucket}?versioning",
        ).gives(200),
        get("/{bucket}?versioning").gives(200, checks=xml_texts("Status", "Enabled")),
        put(
            b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
            "/{bucket}?versioning",
        ).gives(200),
        get("/{bucket}?versioning").gives(200, checks=xml_texts("Status", "Suspended")),
    )
    yield Case("bucket/versioning", API + "API_PutBucketVersioning.html", enabled, own_bucket=True)
    for name, code, page in (
        ("policy", "NoSuchBucketPolicy", "API_GetBucketPolicy.html"),
        ("cors", "NoSuchCORSConfiguration", "API_GetBucketCors.html"),
        ("lifecycle", "NoSuchLifecycleConfiguration", "API_GetBucketLifecycleConfiguration.html"),
        ("tagging", "NoSuchTagSet", "API_GetBucketTagging.html"),
        ("website", "NoSuchWebsiteConfiguration", "API_GetBucketWebsite.html"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration", "API_GetPublicAccessBlock.html"),
        ("object-lock", "ObjectLockConfigurationNotFoundError", "API_GetObjectLockConfiguration.html"),
        ("replication", "ReplicationConfigurationNotFoundError", "API_GetBucketReplication.html"),
    ):
        yield Case(
            f"bucket/no-{name.lower()}",
            API + page,
            (get(f"/{{bucket}}?{name}").gives(404, code),),
            read_only=True,
        )
    rule = (
        b"<CORSConfiguration><CORSRule><AllowedOrigin>https://example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
        b"<AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>"
    )
    ruled = put(rule, "/{bucket}?cors", more={"adds_md5": True})
    kept = (
        ruled.gives(200),
        get("/{bucket}?cors").gives(200, checks=xml_has("CORSRule/AllowedMethod", "GET")),
    )
    yield Case("bucket/cors", API + "API_PutBucketCors.html", kept, own_bucket=True)
    asked = options(Origin="https://example.com", Access_Control_Request_Method="GET").gives(
        200, headers={"Access-Control-Allow-Origin": re.compile(r"https://example\.com|\*")}
    )
    yield Case(
        "bucket/cors-preflight",
        API + "RESTOPTIONSobject.html",
        (asked,),
        (ruled, put(b"")),
        own_bucket=True,
    )
    denied = options(Origin="https://example.com", Access_Control_Request_Method="GET").gives(
        403, "AccessForbidden"
    )
    yield Case(
        "bucket/cors-preflight-without-rules",
        API + "RESTOPTIONSobject.html",
        (denied,),
        (put(b""),),
        read_only=True,
    )
    actual = get(Origin="https://example.com").gives(
        200, headers={"Access-Control-Allow-Origin": re.compile(r"https://example\.com|\*")}
    )
    yield Case(
        "bucket/cors-on-reads",
        GUIDE + "cors.html",
        (actual,),
        (ruled, put(b"")),
        own_bucket=True,
    )


# ---------------------------------------------------------------- tags and lists of rights

_TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>"


def _tags_and_rights() -> Iterator[Case]:
    here, there = "/{bucket}/{key}?tagging", "/{bucket}?tagging"
    plain = put(b"x")
    for name, target, prepared in (("object", here, (plain,)), ("bucket", there, ())):
        page = API + ("API_PutObjectTagging.html" if name == "object" else "API_PutBucketTagging.html")
        stored = (
            put(_TAGS, target, more={"adds_md5": True}).gives((200, 204)),
            get(target).gives(
                200, checks=(xml_texts("TagSet/Tag/Key", "a", "b"), xml_texts("TagSet/Tag/Value", "1", "2"))
            ),
        )
        yield Case(f"tags/{name}", page, stored, prepared, own_bucket=True)
        malformed = put(b"<Tagging>", target, more={"adds_md5": True}).gives(400, "MalformedXML")
        yield Case(f"tags/{name}-malformed", page, (malformed,), prepared, own_bucket=True)
    counted = (
        head().gives(200, headers={"x-amz-tagging-count": None}),
        put(_TAGS, here, more={"adds_md5": True}),
        head().gives(200, headers={"x-amz-tagging-count": "2"}),
        get().gives(200, body=b"x", headers={"x-amz-tagging-count": "2"}),
        delete(here).gives(204),
        head().gives(200, headers={"x-amz-tagging-count": None}),
        get(here).gives(200, checks=xml_count("TagSet/Tag", 0)),
    )
    yield Case("tags/count-is-shown", API + "API_HeadObject.html x-amz-tagging-count", counted, (plain,))
    many = "".join(f"<Tag><Key>{number}</Key><Value>v</Value></Tag>" for number in range(11))
    over = put(f"<Tagging><TagSet>{many}</TagSet></Tagging>".encode(), here, more={"adds_md5": True})
    yield Case(
        "tags/over-ten",
        GUIDE + "object-tagging.html",
        (over.gives(400, ("BadRequest", "InvalidTag")),),
        (plain,),
    )
    none = get(here).gives(200, checks=xml_count("TagSet/Tag", 0))
    yield Case("tags/none", API + "API_GetObjectTagging.html", (none,), (plain,))
    nothing = get(here).gives(404, "NoSuchKey")
    yield Case(
        "tags/of-nothing", API + "API_GetObjectTagging.html", (nothing,), (put(b"", "/{bucket}/{key}-2"),)
    )
    for name, target in (("object", "/{bucket}/{key}?acl"), ("bucket", "/{bucket}?acl")):
        page = API + ("API_GetObjectAcl.html" if name == "object" else "API_GetBucketAcl.html")
        owner = get(target).gives(
            200, checks=(xml_has("Owner/ID"), xml_has("AccessControlList/Grant/Permission", "FULL_CONTROL"))
        )
        yield Case(f"acl/{name}", page, (owner,), (plain,), own_bucket=True)
        canned = (put(b"", target, x_amz_acl="private").gives(200), owner)
        yield Case(f"acl/{name}-canned", page.replace("Get", "Put"), canned, (plain,), own_bucket=True)
    unchanged = get().gives(200, body=b"x")
    for name, change in (
        ("tagging", put(_TAGS, here, more={"adds_md5": True})),
        ("acl", put(b"", "/{bucket}/{key}?acl", x_amz_acl="private")),
    ):
        page = API + ("API_PutObjectTagging.html" if name == "tagging" else "API_PutObjectAcl.html")
        yield Case(f"tags/{name}-leaves-the-bytes", page, (unchanged, change, unchanged), (plain,))


CASES: tuple[Case, ...] = (*_both_versions(), *_pages(), *_buckets(), *_tags_and_rights())
