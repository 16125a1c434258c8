"""Errors, heads and conditions as pure functions."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1 import control_pb2 as pb
from cashy import errors
from cashy.client.meta import Meta
from cashy.core.conditions import evaluate_conditions
from cashy.core.ranges import ByteRange
from cashy.core.s3_errors import S3_ERRORS, S3Error, error_document, s3_error_of
from cashy.core.s3_response import (
    checksum_lines,
    common_headers,
    error_answer,
    http_date,
    object_head,
    render_object,
)

NOW_S = 1_700_000_000


@given(st.sampled_from(sorted(S3_ERRORS)), st.text(), st.text())
def test_every_error_is_a_document(code: str, message: str, resource: str) -> None:
    document = error_document(S3Error(code, message), resource, "ID")
    root = ElementTree.fromstring(document)
    assert root.tag == "Error"
    assert [child.tag for child in root] == ["Code", "Message", "Resource", "RequestId"]
    assert root.findtext("Code") == code


def test_statuses_are_https_own() -> None:
    assert all(HTTPStatus(status) >= 400 for status, _ in S3_ERRORS.values())


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_of_cashy_has_an_answer_that_tells_nothing_of_the_inside(name: str) -> None:
    kind = getattr(errors, name)
    if isinstance(kind, type):
        error = s3_error_of(kind("/secret/path"))
        assert "secret" not in error.message
        assert error.status >= 400


def described(**about: Any) -> Meta:
    return Meta.from_info(
        "s3://b/k",
        pb.ObjectInfo(
            content_id=b"c" * 32,
            size=10,
            block_bytes=65536,
            version='"e"',
            last_modified=NOW_S + 0.9,
            **about,
        ),
    )


def header_lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].decode("latin-1").split("\r\n")


def test_the_head_of_an_object() -> None:
    common = common_headers("ID", NOW_S, keep_alive=True)
    lines = header_lines(object_head(render_object(described(content_type="a/b")), None, common))
    assert lines == [
        "HTTP/1.1 200 OK", "Accept-Ranges: bytes", "Content-Type: a/b", 'ETag: "e"',
        "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT", "Content-Length: 10",
        "Date: Tue, 14 Nov 2023 22:13:20 GMT", "Server: cashy", "x-amz-request-id: ID",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("etag", "headers", "kept"),
    [
        ('"e"', {"x-amz-checksum-crc32": "AAAAAA=="}, True),
        ('"e-2"', {"x-amz-checksum-crc32": "AAAAAA==-2"}, True),
        ('"e-2"', {"x-amz-checksum-crc32": "AAAAAA==-2", "x-amz-checksum-type": "COMPOSITE"}, True),
        ('"e-2"', {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}, True),
        ('"e-2"', {"x-amz-checksum-crc32": "AAAAAA=="}, False),
        ('"e-2"', {"x-amz-checksum-type": "FULL_OBJECT"}, False),
    ],
)
def test_a_checksum_of_parts_is_never_taken_for_the_objects(
    etag: str, headers: dict[str, str], kept: bool
) -> None:
    assert bool(checksum_lines(headers.items(), etag)) is kept


def test_checksums_go_with_whole_objects_to_those_who_ask() -> None:
    rendered = render_object(described(headers=[pb.Header(name="x-amz-checksum-crc32", value="AAAAAA==")]))
    common = common_headers("ID", NOW_S, keep_alive=True)
    assert b"x-amz-checksum-crc32: AAAAAA==\r\n" in object_head(rendered, None, common, rendered.checksums)
    assert b"checksum" not in object_head(rendered, None, common)
    assert b"checksum" not in object_head(rendered, ByteRange(0, 1, 10), common, rendered.checksums)


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_stored_values_cannot_begin_another_header(name: str, value: str) -> None:
    rendered = render_object(
        described(
            headers=[pb.Header(name=name, value=value), pb.Header(name="content-language", value=value)],
            user_metadata=[pb.Header(name=name, value=value)],
            content_type=value,
        )
    )
    lines = header_lines(object_head(rendered, None, common_headers("ID", NOW_S, keep_alive=False)))
    names = [line.partition(":")[0].lower() for line in lines[1:]]
    stored = {name.lower(), f"x-amz-meta-{name.lower()}", "content-language"}
    own = [
        "accept-ranges",
        "content-type",
        "etag",
        "last-modified",
        "content-length",
        "date",
        "server",
        "x-amz-request-id",
        "connection",
    ]
    assert [one for one in names if one not in stored] == [one for one in own if one not in stored]
    assert not any(mark in line for line in lines for mark in "\r\n\0")


def test_head_errors_announce_a_body_and_have_none() -> None:
    common = common_headers("ID", NOW_S, keep_alive=False)
    arguments = {"resource": "/b/k", "request_id": "ID", "common": common}
    whole = error_answer(S3Error("NoSuchKey"), is_head=False, **arguments)  # type: ignore[arg-type]
    head = error_answer(S3Error("NoSuchKey"), is_head=True, **arguments)  # type: ignore[arg-type]
    assert whole.startswith(head)
    assert b"Content-Length: %d\r\n" % (len(whole) - len(head)) in head
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Connection: close\r\n" in head


@given(st.integers(0, 2**33))
def test_dates_come_back(seconds: int) -> None:
    field = http_date(seconds).encode()
    assert evaluate_conditions({b"if-modified-since": field}, '"e"', seconds + 0.5) == 304
    assert evaluate_conditions({b"if-modified-since": field}, '"e"', seconds + 1) is None
    assert evaluate_conditions({b"if-unmodified-since": field}, '"e"', seconds + 0.5) is None
    assert evaluate_conditions({b"if-unmodified-since": field}, '"e"', seconds + 1) == 412


@pytest.mark.parametrize(
    ("field", "etag", "match", "none_match"),
    [
        (b'"a"', '"a"', None, 304),
        (b"a", '"a"', None, 304),
        (b'W/"a"', '"a"', 412, 304),
        (b'"a"', 'W/"a"', 412, 304),
        (b'"b", "a"', '"a"', None, 304),
        (b'"b,a"', '"a"', 412, None),
        (b"*", '"a"', None, 304),
        (b"", '"a"', 412, None),
    ],
)
def test_entity_tags(field: bytes, etag: str, match: int | None, none_match: int | None) -> None:
    assert evaluate_conditions({b"if-match": field}, etag, 0) == match
    assert evaluate_conditions({b"if-none-match": field}, etag, 0) == none_match


@given(st.binary(max_size=40))
def test_any_condition_has_an_answer(field: bytes) -> None:
    for name in (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"):
        assert evaluate_conditions({name: field}, '"e"', NOW_S) in (None, 304, 412)
