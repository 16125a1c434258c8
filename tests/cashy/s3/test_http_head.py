"""Requests out of bytes: limits at the limit and one above, whatever the pieces."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.http_head import (
    BODY_IGNORED_BYTES_MAX,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    TARGET_BYTES_MAX,
    RequestReader,
    decode_component,
    split_path,
)
from cashy.core.s3_errors import S3Error

SIMPLE = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"


def read(data: bytes, step: int = 4096) -> RequestReader:
    reader = RequestReader()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    return reader


def error_code(data: bytes) -> str:
    reader = read(data)
    assert reader.is_over
    assert not reader.requests
    assert reader.error is not None
    return reader.error.code


@given(st.integers(1, 40))
def test_pieces_do_not_matter(step: int) -> None:
    reader = read(
        SIMPLE + b"HEAD /b/k?a=b&c HTTP/1.1\r\nHoSt: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n" + b"GET /part", step
    )
    first, second = reader.requests
    assert (first.method, first.path, first.query, first.keep_alive) == (b"GET", b"/b/k", b"", True)
    assert (second.method, second.query) == (b"HEAD", b"a=b&c")
    assert second.headers == {b"host": b"h", b"x-a": b"1,2"}
    assert reader.in_request
    assert not reader.is_over


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive, close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\n", False),
    ],
)
def test_how_long_a_connection_lives(head: bytes, keep_alive: bool) -> None:
    reader = read(head + b"\r\n" + SIMPLE)
    assert reader.requests[0].keep_alive is keep_alive
    assert len(reader.requests) == 1 + keep_alive
    assert reader.error is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "BadRequest"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "BadRequest"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", "BadRequest"),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n", "BadRequest"),
        (b"GET http:///b/k HTTP/1.1\r\nHost: h\r\n\r\n", "BadRequest"),
        (b"GET http://h/#a HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET h/b HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", "InvalidURI"),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "BadRequest"),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", "BadRequest"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "BadRequest",
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "BadRequest"),
        (b"GET / HTTP/1.1\nHost: h\n\n", "BadRequest"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", "BadRequest"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n folded\r\n\r\n", "BadRequest"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "BadRequest"),
        (b"\r\n" * 100_000, "RequestHeaderSectionTooLarge"),
        (b"GET /" + b"a" * 1_000_000, "InvalidURI"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 1_000_000, "RequestHeaderSectionTooLarge"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * 1_000_000, "RequestHeaderSectionTooLarge"),
    ],
)
def test_bad_requests(data: bytes, code: str) -> None:
    assert error_code(data) == code


@given(st.binary(max_size=300))
def test_garbage_never_raises(data: bytes) -> None:
    reader = read(data, 7)
    assert reader.error is None or reader.is_over


def test_the_target_has_a_limit() -> None:
    def request(length: int) -> bytes:
        return b"GET /" + b"a" * (length - 1) + b" HTTP/1.1\r\nHost: h\r\n\r\n"

    assert len(read(request(TARGET_BYTES_MAX)).requests) == 1
    assert error_code(request(TARGET_BYTES_MAX + 1)) == "InvalidURI"


def test_headers_have_a_limit_in_number() -> None:
    def request(count: int) -> bytes:
        return b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"

    assert len(read(request(HEADERS_MAX)).requests) == 1
    assert error_code(request(HEADERS_MAX + 1)) == "RequestHeaderSectionTooLarge"


def test_headers_have_a_limit_in_bytes() -> None:
    def request(length: int) -> bytes:
        return (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * (length - len(b"Host: h\r\nX: \r\n")) + b"\r\n\r\n"
        )

    assert len(read(request(HEAD_BYTES_MAX)).requests) == 1
    assert error_code(request(HEAD_BYTES_MAX + 1)) == "RequestHeaderSectionTooLarge"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gets_body_is_hashed_and_dropped_up_to_a_limit(framing: str) -> None:
    def request(body: bytes) -> bytes:
        head = b"GET / HTTP/1.1\r\nHost: h\r\n"
        if framing == "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        return (
            head
            + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
            + body
            + b"\r\n0\r\nTrailer: x\r\n\r\n"
        )

    body = b"b" * BODY_IGNORED_BYTES_MAX
    reader = read(request(body) + SIMPLE)
    assert [one.keep_alive for one in reader.requests] == [True, True]
    assert reader.requests[0].body_sha256 == sha256(body).hexdigest().encode()
    reader = read(request(body + b"b") + SIMPLE)
    assert [one.keep_alive for one in reader.requests] == [False]
    assert reader.requests[0].body_sha256 is None


def test_a_get_that_expects_to_be_told_ends_the_connection() -> None:
    reader = read(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
    assert len(reader.requests) == 1
    assert not reader.requests[0].keep_alive
    assert reader.is_over


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.booleans(), st.booleans(), st.integers(1, 50)
)
def test_other_bodies_come_while_they_are_fed(
    parts: list[bytes], is_chunked: bool, closes: bool, step: int
) -> None:
    content = b"".join(parts)
    head = b"PUT /b/k HTTP/1.1\r\nHost: h\r\n" + b"Connection: close\r\n" * closes
    if is_chunked:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n"
        data += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(content) + content
    reader = read(data + SIMPLE, step)
    request = reader.requests[0]
    if is_chunked or content:
        assert request.body is not None
        assert request.body.take() == content
        assert request.body.take() == b""
        assert request.body.due == (None if is_chunked else 0)
        assert request.body_sha256 is None
    else:
        assert request.body is None
    assert request.is_read
    assert request.keep_alive is not closes
    assert len(reader.requests) == 1 + (not closes)
    assert reader.is_over is closes


def test_a_body_is_given_before_it_has_come() -> None:
    reader = read(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n1234")
    (request,) = reader.requests
    body = request.body
    assert body is not None
    assert reader.body is body
    assert (body.waiting_bytes, body.due, body.is_complete, request.is_read) == (4, 6, False, False)
    reader.feed(b"567890" + SIMPLE)
    assert body.take() == b"1234567890"
    assert (body.waiting_bytes, body.is_complete, request.is_read) == (0, True, True)
    assert reader.body is None
    assert len(reader.requests) == 2


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length :5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\n\r\n",
        b"Transfer-Encoding\r\n: chunked\r\n",
        b"Transfer-Encoding: chunked\r\n \r\n",
    ],
)
def test_framings_that_two_readers_could_read_differently_are_refused(framing: bytes) -> None:
    reader = read(b"PUT /b/k HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n5\r\nhello\r\n0\r\n\r\n" + SIMPLE)
    assert reader.error is not None
    assert reader.error.status == 400
    assert not reader.requests


def test_http_1_0_has_no_chunks() -> None:
    assert error_code(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == "BadRequest"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5 \r\nhello\r\n",
        b"ffffffffffffffffff\r\nhello\r\n",
        b"5;" + b"a" * 100_000,
        b"0\r\n" + b"a: b\r\n" * 100_000,
    ],
)
def test_bad_chunks_of_a_body_are_refused(body: bytes) -> None:
    reader = read(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body + SIMPLE)
    assert len(reader.requests) == 1
    assert not reader.requests[0].is_read
    assert reader.error is not None
    assert reader.is_over


HEAD = b"PUT /b/k HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

#: Shapes by which two readers of one connection have been made to disagree on where a request ends, or what it says.
SMUGGLING: dict[str, bytes] = {
    "length empty": HEAD + b"Content-Length:\r\n\r\n",
    "length folded": HEAD + b"Content-Length:\r\n 5\r\n\r\nhello",
    "length list": HEAD + b"Content-Length: 5,5\r\n\r\nhello",
    "length underscore": HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "length decimal": HEAD + b"Content-Length: 5.0\r\n\r\nhello",
    "length exponent": HEAD + b"Content-Length: 1e1\r\n\r\n0123456789",
    "length arabic digit": HEAD + b"Content-Length: \xd9\xa5\r\n\r\nhello",
    "length nul": HEAD + b"Content-Length: 5\0\r\n\r\nhello",
    "length zero and coding": HEAD + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding after space": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "coding after tab": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "coding on line with space": HEAD + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding folded": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "coding after vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding quoted": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding with parameter": HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "coding twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding empty": HEAD + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "coding after comma": HEAD + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "coding before comma": HEAD + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "coding gzip": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding nul": HEAD + b"Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
    "chunk size plus": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "chunk size after space": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk size underscore": CHUNKED + b"5_0\r\nhello\r\n0\r\n\r\n",
    "chunk size empty": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk size over 64 bits": CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk ended by line feed": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "chunk ended by other bytes": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "chunk extension with line feed": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk extension with return": CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "chunk extension with nul": CHUNKED + b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "chunk extension without end": CHUNKED + b"5;" + b"a" * 100_000,
    "last chunk ended by line feed": CHUNKED + b"0\r\n\n",
    "trailer without colon": CHUNKED + b"0\r\nbad\r\n\r\n",
    "trailer length": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer coding": CHUNKED + b"0\r\nTransfer-Encoding: identity\r\n\r\n",
    "trailer too many": CHUNKED + b"0\r\n" + b"X: y\r\n" * (HEADERS_MAX + 1) + b"\r\n",
    "trailer too long": CHUNKED + b"0\r\nX: " + b"y" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n",
    "line feed after host": b"GET /b/k HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "return in value": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
    "returns only": b"GET /b/k HTTP/1.1\rHost: h\r\r",
    "nul in name": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n",
    "nul in path": b"GET /b\0/k HTTP/1.1\r\nHost: h\r\n\r\n",
    "no colon": b"GET /b/k HTTP/1.1\r\nHost: h\r\nXfoo\r\n\r\n",
    "no name": b"GET /b/k HTTP/1.1\r\nHost: h\r\n: foo\r\n\r\n",
    "space in name": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX foo: a\r\n\r\n",
    "space before first header": b"GET /b/k HTTP/1.1\r\n Host: h\r\n\r\n",
    "high byte in name": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX\xe4: a\r\n\r\n",
    "control in value": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n",
    "delete in value": b"GET /b/k HTTP/1.1\r\nHost: h\r\nX: \x7f\r\n\r\n",
    "host with space": b"GET /b/k HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host empty": b"GET /b/k HTTP/1.1\r\nHost:\r\n\r\n",
    "host with path": b"GET /b/k HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host list": b"GET /b/k HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host user": b"GET /b/k HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host port": b"GET /b/k HTTP/1.1\r\nHost: a:80a\r\n\r\n",
    "host too long": b"GET /b/k HTTP/1.1\r\nHost: " + b"a" * 255 + b"\r\n\r\n",
    "host twice in 1.0": b"GET /b/k HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "no host": b"GET /b/k HTTP/1.1\r\nX: y\r\n\r\n",
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 0.9": b"GET /b/k\r\n\r\n",
    "http 1.2": b"GET /b/k HTTP/1.2\r\nHost: h\r\n\r\n",
    "http 1.10": b"GET /b/k HTTP/1.10\r\nHost: h\r\n\r\n",
    "http in small letters": b"GET /b/k http/1.1\r\nHost: h\r\n\r\n",
    "method in small letters": b"get /b/k HTTP/1.1\r\nHost: h\r\n\r\n",
    "method too long": b"G" * 5000 + b" /b/k HTTP/1.1\r\nHost: h\r\n\r\n",
    "tab for space": b"GET\t/b/k\tHTTP/1.1\r\nHost: h\r\n\r\n",
    "space after version": b"GET /b/k HTTP/1.1 \r\nHost: h\r\n\r\n",
    "space before method": b" GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("step", [1, 4096])
@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling_shapes_are_refused_however_they_come(name: str, step: int) -> None:
    reader = read(SMUGGLING[name] + SIMPLE, step)
    assert reader.error is not None
    assert reader.error.status == 400
    assert reader.is_over
    assert not any(request.is_read for request in reader.requests)


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"http://a.b/k", b"a.b", b"/k", b""),
        (b"HTTPS://a.b:9000/k?x=http://c/", b"a.b:9000", b"/k", b"x=http://c/"),
        (b"http://[::1]:9/k", b"[::1]:9", b"/k", b""),
        (b"http://a.b", b"a.b", b"/", b""),
        (b"http://a.b?x", b"a.b", b"/", b"x"),
        (b"http://a.b//k", b"a.b", b"//k", b""),
    ],
)
def test_of_an_absolute_target_the_host_counts(target: bytes, host: bytes, path: bytes, query: bytes) -> None:
    reader = read(b"GET " + target + b" HTTP/1.1\r\nHost: other\r\n\r\n" + SIMPLE)
    request = reader.requests[0]
    assert (request.headers[b"host"], request.path, request.query) == (host, path, query)
    assert len(reader.requests) == 2


def test_options_for_the_server_as_a_whole() -> None:
    reader = read(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" + SIMPLE)
    assert [request.path for request in reader.requests] == [b"*", b"/b/k"]


@pytest.mark.parametrize("step", [1, 7, 4096])
@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
    ],
)
def test_a_body_after_a_request_to_switch_protocols_is_read_and_ends_the_connection(
    framed: bytes, step: int
) -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(HEADERS_MAX - 5))
    reader = read(HEAD + many + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + framed + SIMPLE, step)
    (request,) = reader.requests
    assert request.body is not None
    assert request.body.take() == b"hello"
    assert request.is_read
    assert not request.keep_alive
    assert reader.is_over
    assert reader.error is None


def test_a_gets_body_after_a_request_to_switch_protocols_is_not_taken_for_none() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n"
    (request,) = read(head + b"hello" + SIMPLE).requests
    assert request.body_sha256 is None
    assert not request.keep_alive


def test_good_requests_before_a_bad_one_are_given() -> None:
    reader = read(SIMPLE + SIMPLE + b"nonsense\r\n\r\n")
    assert len(reader.requests) == 2
    assert reader.error is not None


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        (b"/", "", ""),
        (b"/b", "b", ""),
        (b"/b/", "b", ""),
        (b"/b/k", "b", "k"),
        (b"/b//k/", "b", "/k/"),
        (b"/b/a%2Fb", "b", "a/b"),
        (b"/b/a+b%20c", "b", "a+b c"),
        (b"/b/%C3%BC", "b", "ü"),
        (b"/b/../x", "b", "../x"),
        (b"/b/%252F", "b", "%2F"),
    ],
)
def test_paths_are_decoded_once_and_never_normalised(path: bytes, bucket: str, key: str) -> None:
    assert split_path(path) == (bucket, key)


@pytest.mark.parametrize("encoded", [b"%", b"%2", b"%zz", b"%ff", b"%C3", b"%ED%A0%80"])
def test_names_that_are_no_text_are_refused(encoded: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        decode_component(encoded)
    assert caught.value.code == "InvalidURI"
