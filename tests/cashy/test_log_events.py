"""What the daemons log is in the table, and what is in the table is logged; a line about a read says which."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.http_head import Request
from cashy.core.trace_context import trace_of
from cashy.log_events import LOG_EVENTS, READ_FIELDS, logs_page
from cashy.master.read_log import PAUSE_S, SOURCES_MAX, ReadLog
from cashy.s3.log_fields import PATH_CHARACTERS_MAX, about
from hostkit.log import configure_logging

DAEMONS = Path(__file__).resolve().parents[2] / "daemons"
PLACES = (
    "cashy",
    "cashy/master",
    "cashy/peer",
    "cashy/s3",
    "cashy/origin",
    "cashy/metrics",
    "hostkit/supervisor.py",
)
_LEVELS = ("debug", "info", "warning", "error", "exception")
#: Loggers that add fields of their own to what they are called with.
_OF_LOGGER = {
    "reports": {"peer", "reason", "not_logged"},
    "_warn": {"peer", "reason", "address", "not_logged"},
    "routes.log": {"not_logged"},
}
#: Helpers whose result is given as `**`.
_OF_HELPER = {"about": {"request_id", "method", "path", "trace"}}


class Written(NamedTuple):
    name: str
    level: str
    fields: frozenset[str]


def _logged(tree: ast.AST) -> Iterator[Written]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        base, method = ast.unparse(node.func.value), node.func.attr
        is_log = base.split(".")[-1].endswith(("log", "reports")) and method in _LEVELS
        if not is_log and method != "_warn":
            continue
        fields = {keyword.arg for keyword in node.keywords if keyword.arg}
        for keyword in node.keywords:
            if keyword.arg is None and isinstance(keyword.value, ast.Call):
                fields |= _OF_HELPER.get(ast.unparse(keyword.value.func), set())
            elif keyword.arg is None and ast.unparse(keyword.value) == "fields":
                fields |= _OF_HELPER["about"]
        for ending, more in _OF_LOGGER.items():
            if (method if ending == "_warn" else base).endswith(ending):
                fields |= more if method != "info" else more - {"reason"}
        if "exc_info" in fields or method == "exception":
            fields = fields - {"exc_info"} | {"exception"}
        level = {"exception": "error", "_warn": "warning"}.get(method, method)
        for name in _constants(node.args[0]):
            yield Written(name, level, frozenset(fields))


def _constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _constants(node.body)
        yield from _constants(node.orelse)


def _all_written() -> list[Written]:
    sources = [
        path
        for place in PLACES
        for path in ([DAEMONS / place] if place.endswith(".py") else sorted((DAEMONS / place).glob("*.py")))
    ]
    return [written for path in sources for written in _logged(ast.parse(path.read_text(encoding="utf-8")))]


def test_every_event_is_in_the_table_with_its_level_and_fields() -> None:
    table = {event.name: event for event in LOG_EVENTS}
    assert len(table) == len(LOG_EVENTS)
    written = _all_written()
    assert {one.name for one in written} == set(table), (
        "cashy/log_events.py has what the daemons write, no more and no less"
    )
    for one in written:
        assert one.level == table[one.name].level, one
        assert one.fields <= set(table[one.name].fields), one
    for event in LOG_EVENTS:
        fields = frozenset().union(*(one.fields for one in written if one.name == event.name))
        assert set(event.fields) - fields <= {"peer", "metrics"}, (
            f"{event.name}: these fields are never written"
        )


def test_fields_about_reads_have_one_name() -> None:
    page = logs_page()
    for name in READ_FIELDS:
        assert f"| `{name}` | " in page
        assert any(name in event.fields for event in LOG_EVENTS)
    for event in LOG_EVENTS:
        assert f"| `{event.name}` | {event.level} | " in page


# --- few lines however much goes wrong ---


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    made = io.StringIO()
    configure_logging("info", "json", made)
    yield made
    configure_logging("info", "console")


def test_one_line_for_each_source_and_the_others_are_counted(stream: io.StringIO) -> None:
    now = [100.0]
    log = ReadLog(lambda: now[0])
    for number in range(5):
        log.warning("source_failed", "a", url="s3://b/k", block=number, peer="")
    log.warning("source_failed", "b", url="", block=0, peer="b")
    now[0] += PAUSE_S
    log.warning("source_failed", "a", block=9)
    found = [
        {name: line[name] for name in line if name not in ("timestamp", "level", "event")}
        for line in lines_of(stream)
    ]
    assert found == [
        {"url": "s3://b/k", "block": 0},
        {"block": 0, "peer": "b"},
        {"block": 9, "not_logged": 4},
    ]


def test_sources_without_end_are_forgotten(stream: io.StringIO) -> None:
    log = ReadLog(lambda: 100.0)
    for number in range(SOURCES_MAX + 1):
        log.warning("request_failed", str(number))
    log.warning("request_failed", "1")
    assert len(stream.getvalue().splitlines()) == SOURCES_MAX + 1
    log.warning("request_failed", "0")
    assert len(stream.getvalue().splitlines()) == SOURCES_MAX + 2


# --- whose trace a request is ---

W3C = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AMAZON = b"Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678;Sampled=1"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({}, ""),
        ({b"traceparent": W3C}, "0af7651916cd43dd8448eb211c80319c"),
        ({b"traceparent": W3C, b"x-amzn-trace-id": AMAZON}, "0af7651916cd43dd8448eb211c80319c"),
        ({b"x-amzn-trace-id": AMAZON}, "1-67891233-abcdef012345678912345678"),
        (
            {b"x-amzn-trace-id": b"Root=1-67891233-abcdef012345678912345678"},
            "1-67891233-abcdef012345678912345678",
        ),
        ({b"traceparent": W3C + b"-more"}, "0af7651916cd43dd8448eb211c80319c"),
        ({b"traceparent": W3C.upper()}, ""),
        ({b"traceparent": b"ff" + W3C[2:]}, ""),
        ({b"traceparent": b"00-" + b"0" * 32 + W3C[35:]}, ""),
        ({b"traceparent": W3C[:-20] + b"0" * 16 + b"-01"}, ""),
        ({b"traceparent": b"x", b"x-amzn-trace-id": b"Root=2-x"}, ""),
    ],
)
def test_whose_trace_a_request_is(headers: dict[bytes, bytes], trace: str) -> None:
    assert trace_of(headers) == trace


@given(value=st.binary(max_size=200), name=st.sampled_from([b"traceparent", b"x-amzn-trace-id"]))
def test_nothing_but_an_id_comes_out(value: bytes, name: bytes) -> None:
    trace = trace_of({name: value})
    assert trace == "" or (len(trace) in (32, 35) and set(trace) <= set("0123456789abcdefABCDEF-"))


def test_a_line_about_a_request_says_which() -> None:
    request = Request(
        b"GET", b"/bucket/" + b"k" * 5000 + b"?X-Amz-Signature=secret", {b"traceparent": W3C}, True
    )
    fields = about(request, "R1")
    assert (fields["request_id"], fields["method"], fields["trace"]) == (
        "R1",
        "GET",
        "0af7651916cd43dd8448eb211c80319c",
    )
    assert len(fields["path"]) == PATH_CHARACTERS_MAX
    assert "secret" not in str(fields)
    assert about(None, "R2") == {"request_id": "R2"}
