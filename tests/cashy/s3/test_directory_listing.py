"""The walk of a directory, over real trees, against the plainest model: every file GetObject would serve, sorted, folded, cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.s3_listing import ListingQuery, Page
from cashy.core.s3_response import etag_of
from cashy.errors import (
    AccessDenied,
    NoSuchBucket,
    OriginTimeout,
    OriginUnavailable,
)
from cashy.origin import directory_listing
from cashy.origin.beneath import open_beneath
from cashy.origin.directory import version_of
from cashy.origin.directory_listing import folder_exists, list_folders, list_page
from cashy.origin.directory_names import NameCache, read_window

NAMES = st.sampled_from(
    ["a", "b", "a.txt", "a0", "a-b", "-", "é", "\U0001f600", "\uffee", "A", "a b", "\x01", "~"]
)
FILES = st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=25)
TEXTS = st.lists(st.sampled_from(["a", "b", "/", "-", ".", "é", "0", " "]), max_size=4).map("".join)


def nothing() -> None:
    """Checks that it need not end."""


def make_tree(bucket: Path, keys: set[str]) -> set[str]:
    """Makes the files that can be together; gives their keys."""
    made = set()
    bucket.mkdir()
    for key in sorted(keys):
        path = bucket / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue  # a file cannot be a folder, too
        made.add(key)
    return made


def page_of(
    root: Path, query: ListingQuery, cache: NameCache | None = None, names_max: int = 1 << 14
) -> Page:
    page, _ = list_page(str(root), query, cache or NameCache(), nothing, names_max=names_max)
    return page


def keys_of(root: Path, **parameters: str) -> list[str]:
    """All keys and prefixes, in pages of two."""
    listed: list[bytes] = []
    after = None
    cache = NameCache()
    while True:
        query = ListingQuery("objects-v2", "b", **parameters, max_keys=2, after=after)  # type: ignore[arg-type]
        page = page_of(root, query, cache)
        listed += sorted([found.key for found in page.found] + page.prefixes)
        after = page.last
        if not page.is_truncated:
            return [key.decode() for key in listed]


def model(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    """What a listing lists, in order."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            head, separator, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            found.add(prefix + head + separator if separator else key)
    return sorted(found, key=str.encode)


@settings(max_examples=60, deadline=None)
@given(
    FILES,
    TEXTS,
    st.sampled_from(["", "/", "/", "-", "a", "/a", "é"]),
    st.none() | TEXTS,
    st.integers(1, 5),
    st.integers(1, 6),
)
def test_pages_are_what_the_model_says(
    wanted: set[str], prefix: str, delimiter: str, start_after: str | None, max_keys: int, names_max: int
) -> None:
    """Also with windows smaller than the folders, and with names kept between pages."""
    folder = tempfile.mkdtemp()
    try:
        root = Path(folder)
        keys = make_tree(root / "b", wanted)
        expected = [one.encode() for one in model(keys, prefix, delimiter)]
        if start_after is not None:
            expected = [one for one in expected if one > start_after.encode()]
        cache = NameCache()
        after = None if start_after is None else start_after.encode()
        listed: list[bytes] = []
        while True:
            query = ListingQuery("objects-v2", "b", prefix, delimiter, max_keys, after)
            page = page_of(root, query, cache, names_max)
            elements = sorted([found.key for found in page.found] + page.prefixes)
            listed += elements
            assert page.is_truncated == (listed != expected)
            if not page.is_truncated:
                break
            assert len(elements) == max_keys
            after = page.last
        assert listed == expected
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    return tmp_path


def put(root: Path, *keys: str) -> None:
    for key in keys:
        path = root / "b" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_order_is_that_of_whole_keys(root: Path) -> None:
    put(root, "a.txt", "a/b", "a0", "a-/c", "a/b.c/d", "a/b2")
    assert keys_of(root) == ["a-/c", "a.txt", "a/b", "a/b.c/d", "a/b2", "a0"]
    assert keys_of(root, delimiter="/") == ["a-/", "a.txt", "a/", "a0"]


def test_an_object_is_told_as_getobject_tells_it(root: Path) -> None:
    put(root, "f/file")
    os.utime(root / "b/f/file", ns=(0, 1_700_000_000_999_999_999))
    (found,) = page_of(root, ListingQuery("objects-v2", "b")).found
    status = (root / "b/f/file").stat()
    assert (found.key, found.size_bytes, found.etag) == (b"f/file", 1, etag_of(version_of(status)))
    assert found.modified_s == int(status.st_mtime_ns / 1e9)


def test_what_is_not_served_is_not_listed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bucket = root / "b"
    put(root, "good", "folder/good")
    (bucket / "empty/empty").mkdir(parents=True)
    os.mkfifo(bucket / "pipe")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_bytes(b"x")
    (bucket / "broken").symlink_to("nothing")
    (bucket / "absolute").symlink_to(outside / "secret")
    (bucket / "out").symlink_to(os.path.relpath(outside, bucket))
    (bucket / "self").symlink_to("self")
    (bucket / "folder/up").symlink_to("../..")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(bucket / "sock"))
        (Path(os.fsdecode(os.fsencode(bucket) + b"/\xff"))).write_bytes(b"x")
        (Path(os.fsdecode(os.fsencode(bucket) + b"/\xfe"))).mkdir()
        (Path(os.fsdecode(os.fsencode(bucket) + b"/\xfe/x"))).write_bytes(b"x")
        deep = bucket / "/".join(["d" * 200] * 5)
        deep.mkdir(parents=True)
        (deep / ("k" * 19)).write_bytes(b"x")  # 1,024 bytes with its folders
        (deep / ("k" * 20)).write_bytes(b"x")
        expected = ["/".join(["d" * 200] * 5) + "/" + "k" * 19, "folder/good", "good"]
        assert keys_of(root) == expected
        assert keys_of(root, delimiter="/") == ["d" * 200 + "/", "folder/", "good"]
        (deep / ("k" * 19)).unlink()
        assert keys_of(root, delimiter="/") == ["folder/", "good"]


def test_links_that_stay_inside_are_followed_and_end(root: Path) -> None:
    put(root, "real/x")
    bucket = root / "b"
    (root / "other").mkdir()
    (root / "other/y").write_bytes(b"yy")
    (bucket / "linked").symlink_to("real")
    (bucket / "file").symlink_to("real/x")
    (bucket / "beside").symlink_to("../other")
    (bucket / "real/back").symlink_to("..")
    assert keys_of(root) == ["beside/y", "file", "linked/x", "real/x"]
    assert keys_of(root, delimiter="/") == ["beside/", "file", "linked/", "real/"]
    (found,) = page_of(root, ListingQuery("objects-v2", "b", "beside/")).found
    assert found.size_bytes == 2


def test_a_folder_with_only_a_way_back_has_no_key(root: Path) -> None:
    (root / "b/folder").mkdir()
    (root / "b/folder/back").symlink_to("../folder")
    put(root, "z")
    assert keys_of(root, delimiter="/") == ["z"]
    assert keys_of(root) == ["z"]


@pytest.mark.parametrize(
    "prefix", ["../", "./", "/", "f//", "f/../f/", "f/./", "f/x/", "missing/", "f\0/", "..", "x" * 5000 + "/"]
)
def test_prefixes_that_no_file_can_have(root: Path, prefix: str) -> None:
    put(root, "f/x")
    (root / "b2").mkdir()
    assert keys_of(root, prefix=prefix) == []


@pytest.fixture
def unreadable(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that may not be read: for root too, to whom nothing is forbidden."""
    put(root, "a", "closed/x", "z")

    def refusing(root_fd: int, path: bytes, *, folder: bool = False) -> int:
        if path.split(b"/")[1:2] == [b"closed"] and not folder:
            raise PermissionError(13, "Permission denied")
        return open_beneath(root_fd, path, folder=folder)

    if os.geteuid() == 0:
        monkeypatch.setattr(directory_listing, "open_beneath", refusing)
    (root / "b/closed").chmod(0)
    yield root
    (root / "b/closed").chmod(0o700)


def test_a_folder_that_may_not_be_read_ends_a_listing_that_needs_it(unreadable: Path) -> None:
    for query in (ListingQuery("objects-v2", "b"), ListingQuery("objects-v2", "b", "closed/", "/")):
        with pytest.raises(AccessDenied):
            page_of(unreadable, query)
    # but neither one that only names it, nor those beside it
    assert keys_of(unreadable, delimiter="/") == ["a", "closed/", "z"]
    assert keys_of(unreadable, prefix="z") == ["z"]


def test_no_bucket_and_no_directory(root: Path) -> None:
    (root / "file").write_bytes(b"x")
    (root / "out").symlink_to("/")
    for bucket in ("missing", "file"):
        with pytest.raises(NoSuchBucket):
            page_of(root, ListingQuery("objects-v2", bucket))
        assert not folder_exists(str(root), bucket)
    with pytest.raises(AccessDenied):
        page_of(root, ListingQuery("objects-v2", "out"))
    assert folder_exists(str(root), "out")
    assert folder_exists(str(root), "b")
    for call in (
        lambda: page_of(root / "gone", ListingQuery("objects-v2", "b")),
        lambda: folder_exists(str(root / "gone"), "b"),
    ):
        with pytest.raises(OriginUnavailable):
            call()


def test_folders_are_buckets(root: Path) -> None:
    (root / "file").write_bytes(b"x")
    (root / "out").symlink_to("/")
    (root / "in").symlink_to("b")
    (root / ".hidden").mkdir()
    os.utime(root / "b", (0, 1_700_000_000))
    found = list_folders(str(root), nothing, lambda name: not name.startswith("."))
    assert found == {"b": 1_700_000_000, "in": 1_700_000_000}


# ---------------------------------------------------------------- time


class Ending:
    """A check that ends the walk at its n-th call."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise OriginTimeout("over")


def test_a_page_that_takes_too_long_ends_early_and_goes_on(root: Path) -> None:
    put(root, *(f"f{number:03}" for number in range(50)))
    listed: list[bytes] = []
    after = None
    for _ in range(60):
        query = ListingQuery("objects-v2", "b", after=after)
        page, _ = list_page(str(root), query, NameCache(), Ending(10))
        listed += [found.key for found in page.found]
        after = page.last
        if not page.is_truncated:
            break
    assert listed == [b"f%03d" % number for number in range(50)]
    with pytest.raises(OriginTimeout):  # with nothing on it there would be no going on
        list_page(str(root), ListingQuery("objects-v2", "b"), NameCache(), Ending(0))


def test_no_descriptor_is_left_open(root: Path) -> None:
    put(root, "a/b/c", "a/d", "e/f", "g")
    (root / "b/link").symlink_to("a")
    before = len(os.listdir("/proc/self/fd"))
    for delimiter in ("", "/"):
        for max_keys in (1, 3, 1000):
            page_of(root, ListingQuery("objects-v2", "b", "", delimiter, max_keys))
    for calls in range(12):
        with pytest.raises(OriginTimeout):
            list_page(str(root), ListingQuery("objects-v2", "b", "x"), NameCache(), Ending(0))
        with contextlib.suppress(OriginTimeout):
            list_page(str(root), ListingQuery("objects-v2", "b"), NameCache(), Ending(calls))
    assert len(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------- cost


def test_a_page_reads_only_what_is_on_it(root: Path) -> None:
    put(root, *(f"d{folder:02}/f{file:02}" for folder in range(20) for file in range(10)))
    _, read = list_page(str(root), ListingQuery("objects-v2", "b", max_keys=10), NameCache(), nothing)
    assert read == 3  # the bucket, the first folder, and the second for whether there is more
    query = ListingQuery("objects-v2", "b", "d10/", max_keys=10, after=b"d10/f05")
    assert list_page(str(root), query, NameCache(), nothing)[1] == 1
    query = ListingQuery("objects-v2", "b", max_keys=10, after=b"d10/f05")
    assert list_page(str(root), query, NameCache(), nothing)[1] == 3


def test_names_are_kept_and_never_outlive_a_change(root: Path) -> None:
    put(root, *(f"f{number}" for number in range(9)))
    os.utime(root / "b", (0, 0))
    cache = NameCache()
    fd = os.open(root / "b", os.O_RDONLY)
    late = time.time_ns() + 10**10
    try:
        fresh = read_window(fd, b"", cache, nothing)  # the folder was changed just now
        assert cache.count == 0
        kept = read_window(fd, b"", cache, nothing, now_ns=lambda: late)
        assert kept is not fresh
        assert kept == fresh
        assert read_window(fd, b"f5", cache, nothing) is kept
        put(root, "new")
        assert b"new" in read_window(fd, b"", cache, nothing).names
    finally:
        os.close(fd)


def test_kept_names_are_bounded(root: Path) -> None:
    cache = NameCache(100)
    late = time.time_ns() + 10**10
    for number in range(30):
        put(root, *(f"{number}/{file}" for file in range(10)))
        fd = os.open(root / "b" / str(number), os.O_RDONLY)
        read_window(fd, b"", cache, nothing, now_ns=lambda: late)
        os.close(fd)
        assert cache.count <= 100
    assert cache.count > 50


def test_a_window_never_holds_more_than_it_may(root: Path) -> None:
    put(root, *(f"f{number:03}" for number in range(100)))
    fd = os.open(root / "b", os.O_RDONLY)
    try:
        window = read_window(fd, b"f050", NameCache(), nothing, names_max=7)
        assert window.names == [b"f%03d" % number for number in range(50, 57)]
        assert not window.is_last
        last = read_window(fd, b"f093", NameCache(), nothing, names_max=7)
        assert (len(last.names), last.is_last) == (7, True)
    finally:
        os.close(fd)
