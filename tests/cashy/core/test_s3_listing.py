"""Pages of listings against the plainest model: all keys, sorted, folded, cut."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.s3_errors import S3Error
from cashy.core.s3_listing import (
    MAX_KEYS,
    Found,
    ListingQuery,
    Page,
    PageBuilder,
    after_all_with_prefix,
    listing_query,
    make_token,
    parameters,
    position_of,
)

KEYS = st.sets(st.text("ab/-0é\U0001f600\x7f", min_size=1, max_size=6), max_size=30)
PARTS = st.text("ab/-0é", max_size=3)


def elements(keys: set[bytes], prefix: bytes, delimiter: bytes) -> list[bytes]:
    """What a listing lists, in order: keys, and the prefixes that stand for several."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if at < 0 else key[: at + len(delimiter)])
    return sorted(found)


def page_of(keys: set[bytes], query: ListingQuery) -> Page:
    """A page over keys in a sorted list: what the walk of a directory does, without one."""
    builder = PageBuilder(query)
    while builder.wants_more:
        rest = [key for key in keys if key >= builder.bound and (builder.stop is None or key < builder.stop)]
        if not rest:
            break
        builder.add(Found(min(rest)))
    return builder.page


def listed(page: Page) -> list[bytes]:
    return sorted([found.key for found in page.found] + page.prefixes)


@given(KEYS, PARTS, PARTS, st.none() | PARTS, st.integers(0, 40))
def test_a_page_is_what_the_model_says(
    names: set[str], prefix: str, delimiter: str, after: str | None, max_keys: int
) -> None:
    keys = {name.encode() for name in names}
    query = ListingQuery(
        "objects-v2", "b", prefix, delimiter, max_keys, None if after is None else after.encode()
    )
    page = page_of(keys, query)
    all_after = [
        one
        for one in elements(keys, prefix.encode(), delimiter.encode())
        if after is None or one > after.encode()
    ]
    assert listed(page) == all_after[:max_keys]
    assert page.is_truncated == (0 < max_keys < len(all_after))
    assert page.count == len(all_after[:max_keys])


@given(KEYS, PARTS, PARTS, st.integers(1, 5))
def test_pages_joined_are_the_whole_listing(
    names: set[str], prefix: str, delimiter: str, max_keys: int
) -> None:
    keys = {name.encode() for name in names}
    whole: list[bytes] = []
    after = None
    for _ in range(len(keys) + 2):
        query = ListingQuery("objects-v1", "b", prefix, delimiter, max_keys, after)
        page = page_of(keys, query)
        whole += listed(page)
        after = page.last
        if not page.is_truncated:
            break
        assert page.count == max_keys
    assert whole == elements(keys, prefix.encode(), delimiter.encode())


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_after_all_with_prefix(prefix: bytes, other: bytes) -> None:
    beyond = after_all_with_prefix(prefix)
    if beyond is None:
        assert prefix.strip(b"\xff") == b""
    else:
        assert prefix + other < beyond
        assert not beyond.startswith(prefix)
        # Nothing lies between: the least that is greater than all with the prefix.
        assert not (prefix + b"\xff" * 9 < other < beyond and not other.startswith(prefix))


def test_a_page_may_end_early_but_not_before_it_began() -> None:
    builder = PageBuilder(ListingQuery("objects-v2", "b"))
    assert not builder.end_early()
    assert not builder.page.is_truncated
    builder.add(Found(b"a"))
    assert builder.end_early()
    assert (builder.page.is_truncated, builder.page.last) == (True, b"a")


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"prefix=a%2Fb&delimiter=%2F", {"prefix": "a/b", "delimiter": "/"}),
        (b"prefix=a+b%2Bc", {"prefix": "a b+c"}),
        (b"versions", {"versions": ""}),
        (b"prefix=1&prefix=2", {"prefix": "1"}),
        (b"prefix=%E6%97%A5", {"prefix": "日"}),
        (b"pre%66ix=x", {"prefix": "x"}),
    ],
)
def test_parameters(query: bytes, expected: dict[str, str]) -> None:
    assert parameters(query) == expected


@pytest.mark.parametrize("query", [b"prefix=%ff", b"prefix=%4", b"%zz=1", b"prefix=\xff"])
def test_what_is_not_utf8_is_no_prefix(query: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        parameters(query)
    assert caught.value.code == "InvalidURI"


@pytest.mark.parametrize(
    ("given_", "max_keys"),
    [({}, 1000), ({"max-keys": ""}, 1000), ({"max-keys": "0"}, 0), ({"max-keys": "1000"}, 1000), ({"max-keys": "1001"}, 1000),
     ({"max-keys": "2147483647"}, 1000), ({"max-keys": "007"}, 7)],
)  # fmt: skip
def test_max_keys(given_: dict[str, str], max_keys: int) -> None:
    assert listing_query("objects-v2", "b", given_).max_keys == max_keys
    assert MAX_KEYS == 1000


@pytest.mark.parametrize(
    "given_",
    [
        {"max-keys": "blah"},
        {"max-keys": "-1"},
        {"max-keys": "1.5"},
        {"max-keys": "2147483648"},
        {"max-keys": "9" * 5000},
        {"max-keys": "\u0661"},  # a digit, but not ASCII's
        {"max-keys": " 5"},
        {"encoding-type": "base64"},
        {"continuation-token": ""},
        {"continuation-token": "x"},
        {"continuation-token": "a" * 100_000},
        {"continuation-token": "é"},
    ],
)
def test_wrong_arguments(given_: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        listing_query("objects-v2", "b", given_)
    assert caught.value.code == "InvalidArgument"
    assert caught.value.details[0][0] == "ArgumentName"
    assert caught.value.details[0][1] in given_


def test_a_version_marker_needs_its_key() -> None:
    with pytest.raises(S3Error) as caught:
        listing_query("versions", "b", {"version-id-marker": "null"})
    assert caught.value.code == "InvalidArgument"
    query = listing_query("versions", "b", {"version-id-marker": "null", "key-marker": "k"})
    assert query.after == b"k"


def test_a_token_goes_before_start_after() -> None:
    token = make_token(b"m", "b")
    query = listing_query("objects-v2", "b", {"continuation-token": token, "start-after": "z"})
    assert (query.after, query.marker, query.token) == (b"m", "z", token)
    # and means nothing to the older listing, as max-keys' owner means nothing to the newer
    old = listing_query("objects-v1", "b", {"continuation-token": token, "marker": "z"})
    assert (old.after, old.token, old.wants_owner) == (b"z", None, True)
    assert not query.wants_owner
    assert listing_query("objects-v2", "b", {"fetch-owner": "true"}).wants_owner


# ---------------------------------------------------------------- tokens


@given(st.binary(min_size=1, max_size=1024), st.text(max_size=8))
def test_tokens_come_back(position: bytes, scope: str) -> None:
    token = make_token(position, scope)
    assert position_of(token, scope) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_a_token_is_the_same_everywhere() -> None:
    """It goes to any worker of any host, also of the next version: what is made here today must be read tomorrow."""
    assert make_token(b"folder/key", "bucket") == make_token(b"folder/key", "bucket")
    assert position_of("AXVJmnJAeqHaZm9sZGVyL2tleQ==", "bucket") == b"folder/key"


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_token_that_was_touched_is_refused(position: bytes, data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(make_token(position, "b")))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    for wrong in (base64.urlsafe_b64encode(raw).decode(), make_token(position, "other"), "AQ=="):
        with pytest.raises(S3Error) as caught:
            position_of(wrong, "b")
        assert caught.value.code == "InvalidArgument"
