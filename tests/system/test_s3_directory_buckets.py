"""Buckets that are directories, through real daemons and boto3, beside the same keys in a real store: what they answer is the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .harness import DevHost, s3_client, started_store

pytestmark = pytest.mark.system

KEYS = [
    "a.txt", "a/b", "a/b.c/d", "a/c", "a-/x", "a0", "A", "deep/1/2/3/4", "ü/日本", "ü/\U0001f600", "\uffee", "b c/d e", "plus+plus",
    "per%2Fcent", "q?x=1&y#z", "<&>\"'", "control\x01\x7f", "return\rhere", "-dash", "~tilde", "z" * 200 + "/" + "z" * 200,
    *(f"many/{number:03}" for number in range(25)),
]  # fmt: skip

#: Parameters of listings; each is asked of both, in pages of each size.
LISTINGS: list[dict[str, str]] = [
    {},
    {"Prefix": "a"},
    {"Prefix": "a/"},
    {"Prefix": "a/b"},
    {"Prefix": "missing/"},
    {"Prefix": "/"},
    {"Prefix": "ü/"},
    {"Prefix": "control\x01"},
    {"Delimiter": "/"},
    {"Delimiter": "/", "Prefix": "a"},
    {"Delimiter": "/", "Prefix": "a/"},
    {"Delimiter": "/", "Prefix": "many/"},
    {"Delimiter": "-"},
    {"Delimiter": "a/b"},
    {"Delimiter": "0", "Prefix": "many/"},
    {"Delimiter": "日"},
    {"Delimiter": " "},
]


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    with started_store() as url, contextlib.closing(s3_client(url)) as direct:
        direct.create_bucket(Bucket="bucket")
        for key in KEYS:
            direct.put_object(Bucket="bucket", Key=key, Body=key.encode())
        yield direct


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for key in KEYS:
        path = root / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    return root


@pytest.fixture(scope="module")
def host(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    with DevHost(tmp_path_factory.mktemp("host"), f"file={files}", workers=2) as made:
        yield made


@pytest.fixture(scope="module")
def client(host: DevHost) -> Any:
    return host.s3()


def listed(client: Any, operation: str, page_size: int, **parameters: Any) -> list[tuple[str, Any]]:
    """Everything that a listing's pages say of its elements, in the order of the elements."""
    found: list[tuple[str, Any]] = []
    pages = client.get_paginator(operation).paginate(
        Bucket="bucket", PaginationConfig={"PageSize": page_size}, **parameters
    )
    for page in pages:
        entries = page.get("Contents", page.get("Versions", []))
        elements = [(one["Key"], one["Size"]) for one in entries]
        elements += [(one["Prefix"], None) for one in page.get("CommonPrefixes", [])]
        assert len(elements) <= page_size
        found += sorted(elements, key=lambda one: one[0].encode())
    return found


@pytest.mark.parametrize("page_size", [1, 7, 1000])
@pytest.mark.parametrize("parameters", LISTINGS, ids=str)
def test_listings_are_those_of_a_store(
    client: Any, store: Any, parameters: dict[str, str], page_size: int
) -> None:
    # In one page: the store at hand does not fold prefixes over pages.
    expected = sorted(listed(store, "list_objects_v2", 1000, **parameters), key=lambda one: one[0].encode())
    for operation in ("list_objects_v2", "list_objects", "list_object_versions"):
        assert listed(client, operation, page_size, **parameters) == expected, operation


@pytest.mark.parametrize("after", ["", "a", "a/", "a/b", "a/zzz", "many/010", "zzzz", "ü", "control\x01"])
def test_start_after(client: Any, store: Any, after: str) -> None:
    expected = [key for key in sorted(KEYS, key=str.encode) if key.encode() > after.encode()]
    assert [key for key, _ in listed(client, "list_objects_v2", 10, StartAfter=after)] == expected
    pages = client.list_objects(Bucket="bucket", Marker=after)
    assert [one["Key"] for one in pages.get("Contents", [])] == expected


ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("list_objects_v2", {"MaxKeys": 0}),
    ("list_objects", {"MaxKeys": 0}),
    ("list_objects_v2", {"MaxKeys": 3, "Prefix": "many/"}),
    ("list_objects_v2", {"ContinuationToken": ""}),
    ("get_bucket_location", {}),
    ("get_bucket_versioning", {}),
    ("get_bucket_policy", {}),
    ("get_bucket_cors", {}),
    ("get_bucket_tagging", {}),
    ("get_bucket_lifecycle_configuration", {}),
    ("get_bucket_website", {}),
    ("get_bucket_encryption", {}),
    ("get_public_access_block", {}),
    ("get_bucket_replication", {}),
    ("get_object_tagging", {"Key": "a.txt"}),
    ("get_object_tagging", {"Key": "missing"}),
    ("list_multipart_uploads", {}),
    ("head_bucket", {}),
]
COMPARED = ("KeyCount", "MaxKeys", "IsTruncated", "Name", "LocationConstraint", "Status", "TagSet", "Uploads")


def outcome(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
    try:
        answer = getattr(client, operation)(Bucket="bucket", **arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return {name: answer[name] for name in COMPARED if name in answer}


@pytest.mark.parametrize(("operation", "arguments"), ARGUMENTS, ids=str)
def test_answers_are_those_of_a_store(
    client: Any, store: Any, operation: str, arguments: dict[str, Any]
) -> None:
    assert outcome(client, operation, arguments) == outcome(store, operation, arguments)


@pytest.mark.parametrize("key", KEYS[:22])
def test_what_is_listed_can_be_read_and_is_told_alike(client: Any, key: str) -> None:
    (entry,) = (
        one for one in client.list_objects_v2(Bucket="bucket", Prefix=key)["Contents"] if one["Key"] == key
    )
    head = client.head_object(Bucket="bucket", Key=key)
    got = client.get_object(Bucket="bucket", Key=key)
    assert got["Body"].read() == key.encode()
    assert entry["ETag"] == head["ETag"] == got["ETag"]
    assert entry["Size"] == head["ContentLength"] == len(key.encode())
    assert entry["LastModified"] == head["LastModified"]


def test_keys_that_the_store_beside_cannot_have(client: Any, files: Path) -> None:
    (files / "bucket" / "line").mkdir()
    (files / "bucket" / "line" / "a\nb\tc").write_bytes(b"x")
    assert [key for key, _ in listed(client, "list_objects_v2", 1, Prefix="line/")] == ["line/a\nb\tc"]
    assert client.get_object(Bucket="bucket", Key="line/a\nb\tc")["Body"].read() == b"x"
    (files / "bucket" / "line" / "a\nb\tc").unlink()


def test_a_token_goes_to_any_worker_and_survives_all_of_them(
    host: DevHost, files: Path, tmp_path: Path
) -> None:
    """Another host with another instance stands for a restart: nothing is shared but the directory."""
    with DevHost(tmp_path, f"file={files}") as other:
        page = host.s3().list_objects_v2(Bucket="bucket", MaxKeys=10)
        rest = other.s3().list_objects_v2(Bucket="bucket", ContinuationToken=page["NextContinuationToken"])
        keys = [one["Key"] for one in page["Contents"] + rest["Contents"]]
        assert keys == sorted(KEYS, key=str.encode)
        with pytest.raises(ClientError, match="InvalidArgument"):
            other.s3().list_objects_v2(Bucket="bucket", ContinuationToken="bm90IG91cnM=")


def test_a_new_file_is_listed_at_once_and_a_removed_one_no_more(client: Any, files: Path) -> None:
    for number in range(3):
        path = files / "bucket" / "changing" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert client.list_objects_v2(Bucket="bucket", Prefix="changing/")["KeyCount"] == number + 1
    for number in range(3):
        os.unlink(files / "bucket" / "changing" / str(number))
        assert client.list_objects_v2(Bucket="bucket", Prefix="changing/")["KeyCount"] == 2 - number
    os.rmdir(files / "bucket" / "changing")


def test_a_whole_listing_walk_of_thousands(client: Any, files: Path) -> None:
    for folder in range(30):
        (files / "bucket" / "walk" / f"{folder:02}").mkdir(parents=True)
        for number in range(100):
            (files / "bucket" / "walk" / f"{folder:02}" / f"{number:02}").touch()
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="walk/"))
    keys = [one["Key"] for page in pages for one in page["Contents"]]
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 1000]
    assert keys == [f"walk/{folder:02}/{number:02}" for folder in range(30) for number in range(100)]
