"""What a host asks a daemon for its health: connections and GETs, to servers of the test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from labtest.agent.program.failures import Failed
from labtest.agent.program.health import try_http, try_tcp


class _Handler(BaseHTTPRequestHandler):
    """Answers ``/503?x`` with 503."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:4]))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_answer_of_2xx_is_health_and_no_other_is() -> None:
    with serving() as port:
        for status, is_good in ((200, True), (204, True), (301, False), (404, False), (503, False)):
            problem = try_http(f"http://127.0.0.1:{port}/{status}?why", 5.0)
            assert problem == "" if is_good else f"status {status}" in problem


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving() as port:
        assert try_http(f"http://localhost:{port}/200", 5.0) == ""


def test_a_port_that_listens_is_health() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert try_tcp(f"127.0.0.1:{port}", 5.0) == ""
        assert "timed out" in try_http(f"http://127.0.0.1:{port}/", 0.1)
    assert "refused" in try_tcp(f"127.0.0.1:{port}", 5.0)
    assert "refused" in try_http(f"http://127.0.0.1:{port}/", 5.0)


@pytest.mark.parametrize("target", ["", "host", "host:", "host:http"])
def test_what_is_no_address_is_told_at_once(target: str) -> None:
    with pytest.raises(Failed, match="HOST:PORT"):
        try_tcp(target, 5.0)


@pytest.mark.parametrize(
    "target", ["", "host:80", "ftp://host/", "http:///path", "http://host:port/", "http://[1/"]
)
def test_what_is_no_url_is_told_at_once(target: str) -> None:
    with pytest.raises(Failed, match="no URL"):
        try_http(target, 5.0)
