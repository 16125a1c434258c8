"""Uploads by HTML form: what the store gets, and what is refused before it gets anything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cashy.s3.conftest import (
    KEY,
    NARROW_WRITER_KEY,
    WRITER_KEY,
    Running,
    receive_answer,
)
from tests.cashy.s3.forms import form_body, post_form
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import Received, ScriptedStore, answer
from tests.cashy.s3.signed_requests import signed, wait_for_end

from cashy.core.post_form import FormReader
from cashy.core.post_policy import allowed_by
from cashy.core.sigv4 import authenticate_policy
from cashy.s3.credentials import Key
from cashy.settings import DirectoryOriginSettings

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 15\r\nLocation: http://s/b/k\r\n\r\n<PostResponse/>"


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(answer(CREATED)) as store:
        yield store


@pytest.fixture
def running(start: Callable[..., Running], store: ScriptedStore) -> Running:
    return start(MemorySession(), anonymous=True, rights="here", origins=[store.settings])


def presigned(running: Running, key: Key = WRITER_KEY, name: str = "k", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = running.client(key).generate_presigned_post("data-1", name, **more)
    return made


def code_of(answered: tuple[int, bytes]) -> tuple[int, str]:
    found = re.search(rb"<Code>(\w+)</Code>", answered[1])
    return answered[0], found[1].decode() if found else ""


def as_the_store_reads_it(request: Received) -> tuple[dict[str, str], bytes, str]:
    """Fields, file and signer of the form, verified as a store does."""
    reader = FormReader(request.headers["content-type"].encode())
    form = reader.feed(bytes(request.body))
    assert form is not None
    secrets = {WRITER_KEY.key_id: WRITER_KEY.secret, "AKIDMAPPED": "mapped-secret"}
    signer = authenticate_policy(form.fields, now_s=time.time(), secret_of=secrets.get)
    allowed_by(form.fields, "data-1", time.time())
    content, delimiter, after = reader.rest().partition(b"\r\n--" + form.boundary)
    assert delimiter
    assert after.strip() == b"--", "nothing follows the file"
    return form.fields, content, signer


@pytest.mark.parametrize("file", [b"", b"x", b"\r\n--" * 200_000])
def test_the_store_gets_the_file_under_a_signature_of_its_own(
    running: Running, store: ScriptedStore, file: bytes
) -> None:
    fields = {"acl": "private", "Content-Type": "text/x", "x-amz-meta-a": "ü", "success_action_status": "201"}
    conditions: list[Any] = [{name: value} for name, value in fields.items()]
    conditions += [["starts-with", "$submit", ""], ["content-length-range", 0, 2_000_000]]
    form = presigned(running, NARROW_WRITER_KEY, "in/${filename}", Fields=fields, Conditions=conditions)
    assert post_form(form, file, "a/b+c ü.txt", submit="Upload") == (201, b"<PostResponse/>")
    (request,) = store.requests
    assert request.line == b"POST /data-1 HTTP/1.1"
    assert "authorization" not in request.headers
    sent, content, signer = as_the_store_reads_it(request)
    assert content == file
    assert signer == "AKIDMAPPED"
    assert sent["key"] == "in/b+c ü.txt"
    assert {name.lower(): value for name, value in fields.items()}.items() <= sent.items()
    assert "submit" not in sent


def test_what_follows_the_file_does_not_go_on(running: Running, store: ScriptedStore) -> None:
    form = presigned(running)
    body, headers = form_body(form["fields"], b"file")
    more, _ = form_body({"key": "another", "bucket": "other"}, None)
    body = body.replace(b"--0123456789abcdef--\r\n", more)
    head = f"POST /data-1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
    assert running.exchange(head.encode() + body).startswith(b"HTTP/1.1 201 ")
    sent, content, _ = as_the_store_reads_it(store.requests[0])
    assert (sent["key"], content) == ("k", b"file")
    assert b"another" not in store.requests[0].body


@pytest.mark.parametrize(
    ("key", "more", "changed", "expected"),
    [
        (KEY, {}, {}, (403, "AccessDenied")),  # may read only
        (WRITER_KEY, {"ExpiresIn": -1}, {}, (403, "AccessDenied")),
        (WRITER_KEY, {}, {"key": "other"}, (403, "AccessDenied")),
        (WRITER_KEY, {}, {"acl": "public-read"}, (403, "AccessDenied")),
        (WRITER_KEY, {}, {"policy": ""}, (403, "AccessDenied")),  # nobody's
        (WRITER_KEY, {}, {"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
        (WRITER_KEY, {}, {"x-amz-signature": ""}, (400, "InvalidArgument")),
        (WRITER_KEY, {}, {"x-amz-security-token": "t"}, (400, "InvalidToken")),
        (WRITER_KEY, {}, {"AWSAccessKeyId": "AKID", "signature": "s"}, (400, "InvalidRequest")),
        (WRITER_KEY, {}, {"key": ""}, (400, "InvalidArgument")),
        (WRITER_KEY, {"name": "k" * 1025}, {}, (400, "KeyTooLongError")),
        (WRITER_KEY, {"name": "../other/k"}, {}, (400, "InvalidURI")),
        (WRITER_KEY, {"Conditions": [["content-length-range", 5, 9]]}, {}, (400, "EntityTooSmall")),
        (WRITER_KEY, {"Conditions": [["content-length-range", 0, 3]]}, {}, (400, "EntityTooLarge")),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing_at_the_store(
    running: Running, store: ScriptedStore, key: Key, more: dict[str, Any], changed: dict[str, str], expected: tuple[int, str]
) -> None:  # fmt: skip
    assert code_of(post_form(presigned(running, key, **more), b"file", **changed)) == expected
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


def test_a_form_without_a_file(running: Running, store: ScriptedStore) -> None:
    assert code_of(post_form(presigned(running), None)) == (400, "InvalidArgument")
    assert not store.requests


@pytest.mark.parametrize(
    ("target", "content_type", "length", "code"),
    [
        ("/data-1", "text/plain", "Content-Length: 1", b"PreconditionFailed"),
        ("/data-1", "multipart/mixed; boundary=x", "Content-Length: 1", b"PreconditionFailed"),
        ("/data-1", "multipart/form-data; boundary=x", "Content-Length: 1", b"MalformedPOSTRequest"),
        ("/data-1", "multipart/form-data; boundary=x", "Content-Length: 0", b"MalformedPOSTRequest"),
        ("/data-1?uploads", "multipart/form-data; boundary=x", "Content-Length: 1", b"MalformedPOSTRequest"),
        ("/data-1", "multipart/form-data; boundary=x", "Transfer-Encoding: chunked", b"MissingContentLength"),
        ("/data-1", "multipart/form-data; boundary=x", f"Content-Length: {6 << 30}", b"EntityTooLarge"),
        ("/data-1/k", "multipart/form-data; boundary=x", "Content-Length: 1", b"MethodNotAllowed"),
        ("/", "multipart/form-data; boundary=x", "Content-Length: 1", b"MalformedPOSTRequest"),
    ],
)  # fmt: skip
def test_what_is_no_form(
    running: Running, store: ScriptedStore, target: str, content_type: str, length: str, code: bytes
) -> None:
    for is_signed in (False, True):
        head = f"POST {target} HTTP/1.1\r\nHost: h\r\n".encode()
        if is_signed:
            head, _ = signed(running, "POST", target, {}, "UNSIGNED-PAYLOAD")
        elif "text" in content_type:
            continue  # nobody may
        got = running.exchange(
            head + f"Content-Type: {content_type}\r\nConnection: close\r\n{length}\r\n\r\nx".encode()
        )
        wanted = (
            b"NotImplemented" if is_signed and "multipart" in content_type and target != "/data-1/k" else code
        )
        assert b"<Code>" + wanted + b"</Code>" in got
    assert not store.requests


def test_a_directory_takes_no_form(start: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "data-1").mkdir()
    running = start(MemorySession(), anonymous=False, origins=[DirectoryOriginSettings(path=tmp_path)])
    assert code_of(post_form(presigned(running), b"file")) == (405, "MethodNotAllowed")


def test_a_form_that_stops_leaves_nothing(running: Running, store: ScriptedStore) -> None:
    body, headers = form_body(presigned(running)["fields"], b"x" * 100_000)
    head = f"POST /data-1 HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
    for cut in (10, 1000, len(body) - 3):
        with running.connect() as raw:
            raw.sendall(head.encode() + body[:cut])
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


def test_a_form_is_asked_for_once_it_is_announced(running: Running, store: ScriptedStore) -> None:
    body, headers = form_body(presigned(running)["fields"], b"file")
    head = f"POST /data-1 HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n"
    with running.connect() as raw:
        raw.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for at in range(0, len(body), 100):
            raw.sendall(body[at : at + 100])
        assert receive_answer(raw)[0] == 201
        raw.sendall(b"GET /data-1/absent HTTP/1.1\r\nHost: h\r\n\r\n")  # the connection goes on
        assert receive_answer(raw)[0] == 404
