"""The way to a store behind https."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cashy.origin.test_s3_tls import certificate
from tests.cashy.s3.conftest import WRITER_KEY, Running
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import ScriptedStore, answer
from tests.cashy.s3.signed_requests import signed, wait_for_end

__all__ = ["certificate"]  # a fixture

CONTENT = b"0123456789" * 300_000


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_both_ways(start: Callable[..., Running], serving: ssl.SSLContext, certificate: Path) -> None:
    with ScriptedStore(answer(), tls=serving) as store:
        trusting = ssl.create_default_context(cafile=str(certificate))
        running = start(MemorySession(), anonymous=False, origins=[store.settings], tls=trusting)
        client = running.client(WRITER_KEY)
        client.put_object(Bucket="data-1", Key="k", Body=CONTENT)
        assert store.requests[0].body == CONTENT
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)
        store.behave = answer(head + CONTENT)
        got = client.get_object(Bucket="data-1", Key="k", VersionId="v")
        assert got["Body"].read() == CONTENT
        assert store.connections == 1


def test_a_cut_off_upload_leaves_nothing(
    start: Callable[..., Running],
    serving: ssl.SSLContext,
    certificate: Path,
) -> None:
    with ScriptedStore(answer(), tls=serving) as store:
        trusting = ssl.create_default_context(cafile=str(certificate))
        running = start(MemorySession(), anonymous=False, origins=[store.settings], tls=trusting)
        head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
        with running.connect() as raw:
            raw.sendall(head + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT[:-1])
        wait_for_end(running)
        assert not any(request.is_whole for request in store.requests)


def test_an_unknown_certificate_is_refused(start: Callable[..., Running], serving: ssl.SSLContext) -> None:
    with ScriptedStore(answer(), tls=serving) as store:
        running = start(MemorySession(), anonymous=False, origins=[store.settings])
        head, _ = signed(running, "PUT", "/data-1/k", {}, "UNSIGNED-PAYLOAD")
        got = running.exchange(head + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello")
        assert got.startswith(b"HTTP/1.1 503 ")
        assert not store.requests
