"""Listings through the client library, over stores that verify signatures and over directories: all there is, in order, whatever the pages."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cashy
from aviary.cashy.v1 import control_pb2 as pb
from cashy.limits import LIST_ENTRIES_MAX

from .harness import KEY, SECRET, DevHost, s3_client
from .weed import Weed

pytestmark = pytest.mark.system

KEYS = sorted(
    [f"many/{number:04}" for number in range(LIST_ENTRIES_MAX + 7)]
    + ["a b+c%2Fd", "deep/er/x", "deep/y", "q?x=1&y#z", "ü/é", "zz"]
)


@pytest.fixture(scope="module")
def bucket(weed: Weed) -> str:
    name = f"listed-{uuid4().hex[:8]}"
    with contextlib.closing(s3_client(weed.url)) as direct:
        direct.create_bucket(Bucket=name)
        for key in KEYS:
            direct.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for key in KEYS:
        path = folder / "folder" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    (folder / "at the top").write_bytes(b"x")
    (folder / "folder/zz.pipe.txt").mkdir()  # an empty folder is not listed
    os.mkfifo(folder / "folder/pipe")
    os.symlink("/etc/passwd", folder / "folder/outside")
    return folder


@pytest.fixture(scope="module")
def host(weed: Weed, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with DevHost(
        tmp_path_factory.mktemp("host"), f"s3={weed.url}", f"file={files}", workers=0, variables=keys
    ) as made:
        yield made


@pytest.fixture(scope="module")
def cache(host: DevHost) -> Iterator[cashy.Cache]:
    with host.connect() as made:
        yield made


@pytest.fixture(params=["s3", "directory by bucket", "directory by path"])
def top(request: pytest.FixtureRequest, bucket: str, files: Path) -> str:
    tops = {"s3": f"s3://{bucket}/", "directory by bucket": "s3://folder/"}
    return tops.get(request.param, f"file://{files}/folder/")


def test_all_objects_are_listed_in_order_with_what_stat_says(cache: cashy.Cache, top: str) -> None:
    listed = list(cache.list(top))
    assert [entry.name for entry in listed] == [top + key for key in sorted(KEYS, key=str.encode)]
    for entry in (*listed[:3], *listed[-5:]):
        meta = cache.stat(entry.name)
        assert (entry.size_bytes, entry.version) == (meta.size_bytes, meta.version)
        assert entry.last_modified == pytest.approx(meta.last_modified, abs=1)
        assert not entry.is_prefix


def test_a_folder_is_what_a_further_slash_is_behind(cache: cashy.Cache, top: str) -> None:
    listed = {entry.name.removeprefix(top): entry.is_prefix for entry in cache.list(top, folds=True)}
    folders, objects = ("deep/", "many/", "ü/"), ("a b+c%2Fd", "q?x=1&y#z", "zz")
    assert listed == dict.fromkeys(folders, True) | dict.fromkeys(objects, False)
    assert [entry.name for entry in cache.list(f"{top}deep/", folds=True)] == [
        f"{top}deep/er/",
        f"{top}deep/y",
    ]
    assert [entry.name for entry in cache.list(f"{top}de")] == [f"{top}deep/er/x", f"{top}deep/y"]
    assert list(cache.list(f"{top}none")) == []


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("page_entries", [1, 3, LIST_ENTRIES_MAX, LIST_ENTRIES_MAX + 1])
def test_pages_joined_are_the_whole(cache: cashy.Cache, top: str, folds: bool, page_entries: int) -> None:
    prefix = f"{top}many/" if page_entries > 3 else f"{top}"
    if page_entries <= 3 and not folds:
        prefix = f"{top}many/00"
    assert list(cache.list(prefix, folds=folds, page_entries=page_entries)) == list(
        cache.list(prefix, folds=folds)
    )


def test_a_page_has_at_most_so_many_entries(cache: cashy.Cache, top: str) -> None:
    for wanted, given_entries in (
        (LIST_ENTRIES_MAX, LIST_ENTRIES_MAX),
        (LIST_ENTRIES_MAX + 1, LIST_ENTRIES_MAX),
        (0, LIST_ENTRIES_MAX),
        (2, 2),
    ):
        body = cache._ask(pb.List(prefix=f"{top}many/", entries_max=wanted)).body
        assert isinstance(body, pb.ListReport)
        assert len(body.entries) == given_entries
        assert body.next_token


def test_a_listing_is_of_this_moment(cache: cashy.Cache, files: Path, weed: Weed, bucket: str) -> None:
    (files / "new").mkdir()
    assert list(cache.list("s3://new/")) == []
    (files / "new/one").write_bytes(b"1")
    assert [entry.name for entry in cache.list("s3://new/")] == ["s3://new/one"]
    with contextlib.closing(s3_client(weed.url)) as direct:
        direct.put_object(Bucket=bucket, Key="moment/one", Body=b"1")
        assert [entry.name for entry in cache.list(f"s3://{bucket}/moment/")] == [f"s3://{bucket}/moment/one"]
        direct.delete_object(Bucket=bucket, Key="moment/one")
        assert list(cache.list(f"s3://{bucket}/moment/")) == []


def test_what_cannot_be_listed_says_why(cache: cashy.Cache, files: Path) -> None:
    for prefix, error, reason in (
        ("s3://nowhere/", cashy.NoSuchBucket, "nowhere"),
        ("s3://bucket", cashy.InvalidName, "s3://bucket/"),
        ("file:///etc/", cashy.InvalidName, "no directory"),
        ("nonsense", cashy.InvalidName, "no beginning"),
        ("s3:///x", cashy.InvalidName, "empty"),
        ("s3://b/" + "k" * 1025, cashy.InvalidName, "1025 bytes"),
    ):
        with pytest.raises(error, match=reason):
            list(cache.list(prefix))
    for token in ("made up", "AAAA"):
        with pytest.raises(cashy.InvalidRequest, match="no token of a listing"):
            raise_failure(cache._ask(pb.List(prefix="s3://folder/", token=token)).body)


def raise_failure(body: object) -> None:
    raise AssertionError(f"a listing was given: {body}")


def test_the_directory_itself_can_be_listed_by_its_path(cache: cashy.Cache, files: Path) -> None:
    listed = [entry.name for entry in cache.list(f"file://{files}/", folds=True)]
    assert {f"file://{files}/at the top", f"file://{files}/folder/"} <= set(listed)
    assert [entry.name for entry in cache.list(f"file://{files}/at")] == [f"file://{files}/at the top"]
    assert list(cache.list(f"file://{files}/folder/../")) == []


def test_tasks_list_too(host: DevHost, bucket: str) -> None:
    async def names() -> list[str]:
        async with cashy.aio.connect(host.socket) as cache:
            return [entry.name async for entry in cache.list(f"s3://{bucket}/", page_entries=100)]

    assert asyncio.run(names()) == [f"s3://{bucket}/{key}" for key in sorted(KEYS, key=str.encode)]


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=12), folds=st.booleans())
def test_any_prefix_is_listed_or_refused(cache: cashy.Cache, files: Path, text: str, folds: bool) -> None:
    for top in ("s3://folder/", f"file://{files}/folder/"):
        try:
            listed = [entry.name for entry in cache.list(top + text, folds=folds)]
        except cashy.InvalidName:
            continue
        assert all(name.startswith(top + text) for name in listed)
