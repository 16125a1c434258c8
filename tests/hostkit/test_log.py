"""The log: levels, formats, and no secret in it, whichever way it comes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from hostkit.log import REDACTED, configure_logging, get_logger

SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    structlog.reset_defaults()


def test_json_lines(stream: io.StringIO) -> None:
    configure_logging("info", "json", stream)
    log = get_logger(program="cashy test")
    log.debug("not shown")
    log.info("object read", size_bytes=5, path=b"/x", name="a\nb")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "object read", "level": "info", "program": "cashy test", "size_bytes": 5, "path": "/x", "name": "a\nb",
    }  # fmt: skip


def test_console_lines(stream: io.StringIO) -> None:
    configure_logging("debug", "console", stream)
    get_logger().debug("object read", size_bytes=5)
    assert "object read" in stream.getvalue()
    assert "size_bytes=5" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue(), "no colours when it is no terminal"


@pytest.mark.parametrize("line_format", ["json", "console"])
@pytest.mark.parametrize(
    "values",
    [
        {"secret": SECRET},
        {"aws_secret_access_key": SECRET},
        {"headers": {"Authorization": SECRET, "x-amz-security-token": SECRET}},
        {"credentials": {"key": SECRET}},
        {"url": f"http://h/b/k?X-Amz-Signature={SECRET}&X-Amz-Date=1"},
        {"line": f"GET /k?x-amz-security-token={SECRET} HTTP/1.1".encode()},
        {"parts": ("a", [f"AWS4-HMAC-SHA256 Credential=x, Signature={SECRET}"])},
        {"event": f"got X-Amz-Signature={SECRET}"},
    ],
)
def test_secrets_are_never_written(stream: io.StringIO, line_format: str, values: dict[str, object]) -> None:
    configure_logging("debug", line_format, stream)
    get_logger().info(**{"event": "something", **values})
    assert SECRET not in stream.getvalue()
    assert REDACTED in stream.getvalue()


def test_secret_in_a_traceback_is_not_written(stream: io.StringIO) -> None:
    configure_logging("debug", "json", stream)
    try:
        raise ValueError(f"bad url ?X-Amz-Signature={SECRET}")
    except ValueError:
        get_logger().exception("failed")
    assert "ValueError" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_where_credentials_lie_may_be_told(stream: io.StringIO) -> None:
    configure_logging("info", "json", stream)
    get_logger().info("reading keys", credentials_file="/etc/aviary/keys.toml")
    assert "/etc/aviary/keys.toml" in stream.getvalue()
