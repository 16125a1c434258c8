"""Commands from standard input: one a line, until the first that fails."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.toucan.client.mini_server import MiniServer

from toucan.cli.lines import words_of


def run(server: MiniServer, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toucan.cli", *options],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_each_line_is_a_command_of_one_session(server: MiniServer) -> None:
    done = run(
        server,
        '# a comment\n\nbuy 1 AAPL @ 1 --note "a b"\ntoucan sell 1 AAPL @ 900  # as copied\norders --json\nexit\nnonsense\n',
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert server.engine.orders[1].terms.note == "a b"
    assert len({session for _, session, _, _ in server.engine.executed}) == 1


def test_the_first_error_stops_it(server: MiniServer) -> None:
    done = run(server, "buy 1 AAPL @ 1\nbuy 10001 AAPL @ 1\nbuy 1 AAPL @ 1\n")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "toucan: error: denied: the quantity 10001 is above 10000 (MAX_ORDER_QUANTITY)",
        "toucan: stopped at line 2: buy 10001 AAPL @ 1",
    ]
    assert len(server.engine.orders) == 1


def test_told_to_it_goes_on_and_fails_with_the_first_error(server: MiniServer) -> None:
    done = run(server, "cancel 99\nbuy 10001 AAPL @ 1\nbuy 1 AAPL @ 1\n", "--keep-going")
    assert done.returncode == 4
    assert len(server.engine.orders) == 1


def test_soft_limits_are_not_passed_over(server: MiniServer) -> None:
    done = run(server, "buy 1000 AAPL @ 189\n")
    assert done.returncode == 8
    assert server.engine.orders == {}


def test_the_connection_is_that_of_the_start(server: MiniServer) -> None:
    done = run(server, "orders --server 127.0.0.1:1\n")
    assert done.returncode == 2
    assert "stays with the server and user that it was started with" in done.stderr
    assert run(server, "--keep-going\n").returncode == 2


@pytest.mark.parametrize("line", ["buy 1 'AAPL", 'x "'])
def test_open_quotes_are_wrong_usage(server: MiniServer, line: str) -> None:
    done = run(server, f"{line}\n")
    assert done.returncode == 2
    assert "No closing quotation" in done.stderr


def test_words_are_those_of_a_shell() -> None:
    assert words_of("toucan buy 1 'A B' # note") == ["buy", "1", "A B"]
    assert words_of("  ") == []
