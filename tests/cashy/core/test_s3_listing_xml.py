"""Documents are what clients' parsers take them for, whatever the keys are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import unquote, unquote_plus

import botocore.loaders
import botocore.model
import botocore.parsers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.s3_errors import S3_ERRORS, S3Error
from cashy.core.s3_listing import Found, ListingQuery, Page
from cashy.core.s3_listing_buckets import BUCKETS_MAX, buckets_page, can_be_named, joined, read_buckets
from cashy.core.s3_listing_subresources import bucket_question, object_question, refusal_of_write
from cashy.core.s3_listing_xml import (
    BUCKET_DOCUMENTS,
    document,
    empty_tagging_document,
    listing_document,
    location_document,
    timestamp,
    uploads_document,
)
from cashy.errors import OriginInvalid

SERVICE = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("s3", "service-2"), "s3")
NAME = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def parsed(operation: str, body: bytes) -> dict[str, Any]:
    """As boto3 reads it, before it decodes keys."""
    shape = SERVICE.operation_model(operation).output_shape
    response = {"status_code": 200, "headers": {}, "body": body}
    result: dict[str, Any] = botocore.parsers.RestXMLParser().parse(response, shape)
    return result


@given(st.text(min_size=1, max_size=20), st.booleans())
def test_keys_come_back(key: str, is_encoded: bool) -> None:
    if any((ord(one) < 0x20 and one not in "\t\n\r") or one in "\ufffe\uffff" for one in key):
        is_encoded = True  # without it, XML 1.0 has no way to say them
    query = ListingQuery("objects-v2", "b&b", prefix=key, delimiter=key, is_url_encoded=is_encoded)
    page = Page([Found(key.encode(), 5, 1_700_000_000, '"e"')], [key.encode()])
    root = ET.fromstring(listing_document(query, page))
    texts = [
        root.findtext(f"{NAME}{path}")
        for path in ("Prefix", "Delimiter", f"Contents/{NAME}Key", f"CommonPrefixes/{NAME}Prefix")
    ]
    for text in texts:
        assert text is not None
        assert (unquote(text) if is_encoded else text) == key
        assert (unquote_plus(text) if is_encoded else text) == key
    assert root.findtext(f"{NAME}Name") == "b&b"


@pytest.mark.parametrize("character", ["\x01", "\x1f", "\ufffe"])
def test_what_xml_cannot_say_is_refused_by_its_parser_and_never_another_key(character: str) -> None:
    page = Page([Found(f"a{character}b".encode(), 5, 0, '"e"')])
    body = listing_document(ListingQuery("objects-v2", "b"), page)
    assert f"<Key>a&#x{ord(character):x};b</Key>".encode() in body
    with pytest.raises(ET.ParseError):
        ET.fromstring(body)


def test_a_page_of_the_newer_listing() -> None:
    query = ListingQuery("objects-v2", "b", "p", "/", 2, b"p0", marker="p0", token="t", wants_owner=True)
    page = Page([Found(b"p1", 5, 1_700_000_000, '"e-1"')], [b"p2/"], True, b"p2/")
    got = parsed("ListObjectsV2", listing_document(query, page))
    (entry,) = got["Contents"]
    assert (entry["Key"], entry["Size"], entry["ETag"], entry["StorageClass"]) == (
        "p1",
        5,
        '"e-1"',
        "STANDARD",
    )
    assert entry["LastModified"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert entry["Owner"]["ID"]
    assert got["CommonPrefixes"] == [{"Prefix": "p2/"}]
    assert (got["KeyCount"], got["MaxKeys"], got["IsTruncated"]) == (2, 2, True)
    assert (got["StartAfter"], got["ContinuationToken"], got["Delimiter"]) == ("p0", "t", "/")
    assert got["NextContinuationToken"]
    assert "Marker" not in got


def test_the_older_listing_has_its_next_marker_with_a_delimiter_only() -> None:
    page = Page([Found(b"a", 5, 0, '"e"')], [], True, b"a")
    with_one = parsed("ListObjects", listing_document(ListingQuery("objects-v1", "b", "", "/", 1), page))
    without = parsed("ListObjects", listing_document(ListingQuery("objects-v1", "b", "", "", 1), page))
    assert with_one["NextMarker"] == "a"
    assert "NextMarker" not in without
    assert without["Marker"] == ""
    assert "KeyCount" not in without


def test_versions() -> None:
    page = Page([Found(b"a", 5, 0, '"e"')], [], True, b"a")
    got = parsed(
        "ListObjectVersions", listing_document(ListingQuery("versions", "b", wants_owner=True), page)
    )
    (version,) = got["Versions"]
    assert (version["VersionId"], version["IsLatest"], version["Key"]) == ("null", True, "a")
    assert (got["NextKeyMarker"], got["NextVersionIdMarker"]) == ("a", "null")


def test_documents_of_buckets() -> None:
    assert ET.fromstring(location_document("eu-west-3")).text == "eu-west-3"
    assert ET.fromstring(location_document("us-east-1")).text is None
    assert parsed("GetObjectTagging", empty_tagging_document())["TagSet"] == []
    assert "Status" not in parsed("GetBucketVersioning", document(*BUCKET_DOCUMENTS["versioning"]))
    assert (
        parsed("GetBucketRequestPayment", document(*BUCKET_DOCUMENTS["requestPayment"]))["Payer"]
        == "BucketOwner"
    )
    got = parsed("ListMultipartUploads", uploads_document(ListingQuery("versions", "b", "p"), "", 7))
    assert (got["MaxUploads"], got["IsTruncated"], got["Prefix"], "Uploads" in got) == (7, False, "p", False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.000Z"), (1_700_000_000, "2023-11-14T22:13:20.000Z"),
     (10**15, "9999-12-31T23:59:59.000Z"), (-(10**15), "0001-01-01T00:00:00.000Z")],
)  # fmt: skip
def test_timestamps(seconds: int, text: str) -> None:
    assert timestamp(seconds) == text


# ---------------------------------------------------------------- buckets


def test_a_list_of_buckets_is_read_again() -> None:
    body = buckets_page({"b": 1_700_000_000, "a": 0}, {})
    got = parsed("ListBuckets", body)
    assert [one["Name"] for one in got["Buckets"]] == ["a", "b"]
    assert read_buckets(body) == ({"a": 0, "b": 1_700_000_000}, None)


def test_pages_of_buckets() -> None:
    buckets = {f"data-{number:02}": number for number in range(10)} | {"other": 1}
    names: list[str] = []
    given_ = {"max-buckets": "3", "prefix": "data-"}
    while True:
        got = parsed("ListBuckets", buckets_page(buckets, given_))
        names += [one["Name"] for one in got["Buckets"]]
        if "ContinuationToken" not in got:
            break
        given_["continuation-token"] = got["ContinuationToken"]
    assert names == sorted(buckets)[:-1]


@pytest.mark.parametrize(
    "given_",
    [{"max-buckets": "0"}, {"max-buckets": "10001"}, {"max-buckets": "x"}, {"continuation-token": "x"}],
)
def test_wrong_pages_of_buckets(given_: dict[str, str]) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        buckets_page({}, given_)


def test_the_first_place_has_the_bucket() -> None:
    assert joined([{"a": 1}, {"a": 2, "b": 3}]) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"<ListAllMyBucketsResult>",
        b"<!DOCTYPE x [<!ENTITY e 'x'>]><ListAllMyBucketsResult>&e;</ListAllMyBucketsResult>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><ListAllMyBucketsResult/>",
        b"<ListAllMyBucketsResult><Buckets>"
        + b"".join(b"<Bucket><Name>b%d</Name></Bucket>" % number for number in range(BUCKETS_MAX + 1))
        + b"</Buckets></ListAllMyBucketsResult>",
        b"\xff\xfe",
    ],
    ids=["empty", "html", "cut off", "entity", "external", "too many", "binary"],
)
def test_what_is_no_list_of_buckets_is_the_store_s_error(body: bytes) -> None:
    with pytest.raises(OriginInvalid):
        read_buckets(body)


@pytest.mark.parametrize(
    ("bucket", "can"),
    [("a", True), ("A_b.c-1", True), ("_", True), (".git", False), ("lost+found", False), ("a b", False), ("", False), ("..", False),
     ("x" * 255, True), ("x" * 256, False), ("é", False), ("\udcff", False)],
)  # fmt: skip
def test_which_folders_are_buckets(bucket: str, can: bool) -> None:
    assert can_be_named(bucket) is can


# ---------------------------------------------------------------- subresources


@pytest.mark.parametrize(
    ("names", "list_type", "expected"),
    [
        ("", None, ("objects-v1", "")),
        ("prefix delimiter x-id unknown", None, ("objects-v1", "")),
        ("list-type", "2", ("objects-v2", "")),
        ("list-type", "1", "InvalidArgument"),
        ("versions", None, ("versions", "versions")),
        ("location", None, ("location", "location")),
        ("uploads", None, ("uploads", "uploads")),
        ("versioning", None, ("document", "versioning")),
        ("policy", None, "NoSuchBucketPolicy"),
        ("cors", None, "NoSuchCORSConfiguration"),
        ("tagging", None, "NoSuchTagSet"),
        ("encryption", None, "ServerSideEncryptionConfigurationNotFoundError"),
        ("lifecycle", None, "NoSuchLifecycleConfiguration"),
        ("website", None, "NoSuchWebsiteConfiguration"),
        ("replication", None, "ReplicationConfigurationNotFoundError"),
        ("publicAccessBlock", None, "NoSuchPublicAccessBlockConfiguration"),
        ("object-lock", None, "ObjectLockConfigurationNotFoundError"),
        ("ownershipControls", None, "OwnershipControlsNotFoundError"),
        ("inventory id", None, "NoSuchConfiguration"),
        ("inventory", None, "NotImplemented"),
        ("acl", None, "NotImplemented"),
    ],
)
def test_questions_about_buckets(names: str, list_type: str | None, expected: object) -> None:
    if isinstance(expected, str):
        with pytest.raises(S3Error) as caught:
            bucket_question(names.split(), list_type)
        assert caught.value.code == expected
        assert expected in S3_ERRORS
    else:
        assert bucket_question(names.split(), list_type) == expected


@pytest.mark.parametrize(
    ("names", "version", "expected"),
    [
        ("tagging", None, None),
        ("tagging versionId", "null", None),
        ("versionId", "v1", "NoSuchVersion"),
        ("uploadId", None, "NoSuchUpload"),
        ("retention", None, "InvalidRequest"),
        ("legal-hold", None, "InvalidRequest"),
        ("acl", None, "NotImplemented"),
        ("attributes", None, "NotImplemented"),
    ],
)
def test_questions_about_objects(names: str, version: str | None, expected: str | None) -> None:
    if expected is None:
        assert object_question(names.split(), version) == "tagging"
        return
    with pytest.raises(S3Error) as caught:
        object_question(names.split(), version)
    assert caught.value.code == expected


def test_refusals() -> None:
    assert refusal_of_write(b"PUT").code == "MethodNotAllowed"
    assert refusal_of_write(b"OPTIONS").status == 403
