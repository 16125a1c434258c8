"""A body is let in only when its head proves which bytes of which version it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.errors import AccessDenied, CashyError, OriginInvalid, OriginUnavailable, SlowDown, VersionChanged
from cashy.origin.s3_answer import VERSION_CHARACTERS_MAX, AnswerHead, Asked, accept_read, error_of

SMALL = st.integers(0, 12)


def head(status: int, **headers: str) -> AnswerHead:
    return AnswerHead(
        status, {"etag": '"v"', **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


@given(
    first=SMALL, last=SMALL, size=SMALL, offset=SMALL, length=st.integers(1, 12), announced=st.none() | SMALL
)
def test_only_exactly_the_asked_range_passes(
    first: int, last: int, size: int, offset: int, length: int, announced: int | None
) -> None:
    headers = {"content_range": f"bytes {first}-{last}/{size}"}
    if announced is not None:
        headers["content_length"] = str(announced)
    right = range(offset, min(offset + length, size))
    is_right = (
        len(right) > 0 and (first, last + 1) == (right.start, right.stop) and announced in (None, len(right))
    )
    try:
        meta, count = accept_read(head(206, **headers), Asked("o", offset, length, None))
    except OriginInvalid:
        assert not is_right
    else:
        assert is_right
        assert (meta.size_bytes, count) == (size, len(right))


@given(size=st.none() | SMALL, offset=SMALL, length=st.integers(1, 12))
def test_whole_object_passes_only_if_it_fits(size: int | None, offset: int, length: int) -> None:
    headers = {} if size is None else {"content_length": str(size)}
    is_right = size is not None and offset == 0 and size <= length
    try:
        meta, count = accept_read(head(200, **headers), Asked("o", offset, length, '"v"'))
    except OriginInvalid:
        assert not is_right
    else:
        assert is_right
        assert meta.size_bytes == count == size


@pytest.mark.parametrize(
    "etag",
    ["", "v", 'W/"v"', '""', '"a", "b"', '"a"b"', '"sp ace"', '"' + "v" * VERSION_CHARACTERS_MAX + '"'],
)
def test_only_one_strong_etag_will_do(etag: str) -> None:
    with pytest.raises(OriginInvalid, match="ETag"):
        accept_read(head(200, content_length="1", etag=etag), Asked("o", 0, 1, None))


def test_longest_etag() -> None:
    etag = '"' + "v" * (VERSION_CHARACTERS_MAX - 2) + '"'
    meta, _ = accept_read(head(200, content_length="1", etag=etag), Asked("o", 0, 1, etag))
    assert meta.version == etag


def test_other_version() -> None:
    with pytest.raises(VersionChanged, match="read again"):
        accept_read(head(200, content_length="1"), Asked("o", 0, 1, '"w"'))


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Oct 2015 07:28:00 GMT", "0"])
def test_unreadable_date_is_no_reason_to_refuse(date: str) -> None:
    meta, _ = accept_read(head(200, content_length="1", last_modified=date), Asked("o", 0, 1, None))
    assert meta.last_modified == 0.0


@given(status=st.integers(100, 599), body=st.binary(max_size=300))
def test_any_answer_gives_some_error(status: int, body: bytes) -> None:
    assert isinstance(error_of(AnswerHead(status, {}), body, "o"), CashyError)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AccessDenied), (403, "", AccessDenied), (401, "", AccessDenied),
        (503, "SlowDown", SlowDown), (429, "", SlowDown), (500, "SlowDown", SlowDown),
        (500, "", OriginUnavailable), (504, "", OriginUnavailable), (400, "Whatever", OriginInvalid),
    ],
)  # fmt: skip
def test_kinds_of_errors(status: int, code: str, kind: type[CashyError]) -> None:
    body = f"<Error><Code>{code}</Code><Message>a &lt;b&gt;</Message></Error>".encode() if code else b""
    error = error_of(AnswerHead(status, {}), body, "bucket/key")
    assert type(error) is kind
    assert "bucket/key" in str(error)
    assert ("a <b>" in str(error)) == bool(code)


def test_wrong_region_is_named() -> None:
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-3</Region></Error>"
    assert "eu-west-3" in str(error_of(AnswerHead(400, {}), body, "o"))
