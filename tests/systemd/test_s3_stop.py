"""An orderly stop of an S3 worker, as seen by a client that was just taken in: what a restart under load must not lose."""

from __future__ import annotations

import time

from tests.cashy.s3.conftest import Running, Start, receive_all, receive_answer, start
from tests.cashy.s3.memory_session import MemorySession

from cashy.s3.limits import STOP_FIRST_REQUEST_S

__all__ = ["start"]

GET = b"GET /bucket/key HTTP/1.1\r\nHost: localhost\r\n\r\n"


def begin_stop(running: Running) -> None:
    running._loop.call_soon_threadsafe(running._stop.set)
    deadline = time.monotonic() + 20
    while not running.on_loop(lambda: running.worker is not None and running.worker.is_stopping):
        assert time.monotonic() < deadline


def a_worker(start: Start) -> Running:
    session = MemorySession()
    session.put("s3://bucket/key", b"content", warm=True)
    return start(session, last_request_s=STOP_FIRST_REQUEST_S)


def test_the_first_request_of_a_new_connection_is_still_answered(start: Start) -> None:
    running = a_worker(start)
    with running.connect() as fresh, running.connect() as served, running.connect() as halfway:
        served.sendall(GET)
        assert receive_answer(served)[0] == 200
        halfway.sendall(GET[:20])
        running.on_loop(lambda: None)
        while len(running.on_loop(lambda: list(running.worker.connections))) < 3:  # type: ignore[union-attr]
            pass
        begin_stop(running)
        fresh.sendall(GET)
        halfway.sendall(GET[20:])
        for connection in (fresh, halfway):
            status, headers, body = receive_answer(connection)
            assert (status, headers["connection"], body) == (200, "close", b"content")
            assert receive_all(connection) == b""
        assert receive_all(served) == b"", "it had its answer, and nothing came"


def test_a_kept_connection_learns_with_its_next_answer_that_it_was_the_last(start: Start) -> None:
    running = a_worker(start)
    with running.connect() as kept, running.connect() as newcomer:
        kept.sendall(GET)
        assert "connection" not in receive_answer(kept)[1]
        begin_stop(running)
        kept.sendall(GET)
        newcomer.sendall(GET)  # taken in during the stop
        for connection in (kept, newcomer):
            status, headers, body = receive_answer(connection)
            assert (status, headers["connection"], body) == (200, "close", b"content")
            assert receive_all(connection) == b""


def test_connections_go_on_to_be_taken_in_while_others_are_seen_off(start: Start) -> None:
    running = a_worker(start)
    with running.connect() as idle:
        while not running.on_loop(lambda: list(running.worker.connections)):  # type: ignore[union-attr]
            pass
        begin_stop(running)
        for _ in range(20):
            with running.connect() as late:
                late.sendall(GET)
                assert receive_answer(late)[0] == 200
        assert receive_all(idle) == b""


def test_a_new_connection_that_says_nothing_holds_up_the_stop_for_a_moment_only(start: Start) -> None:
    running = a_worker(start)
    with running.connect() as silent:
        while not running.on_loop(lambda: list(running.worker.connections)):  # type: ignore[union-attr]
            pass
        began = time.monotonic()
        begin_stop(running)
        assert receive_all(silent) == b""
        assert time.monotonic() - began >= STOP_FIRST_REQUEST_S * 0.9
        running._thread.join(20)
        assert not running._thread.is_alive()


def test_an_answer_that_did_not_say_so_yet_is_not_the_last(start: Start) -> None:
    session = MemorySession()
    session.put("s3://bucket/key", b"content")
    session.gates["s3://bucket/key", 0] = 3
    running = start(session, last_request_s=STOP_FIRST_REQUEST_S)
    with running.connect() as asking, running.connect() as silent:
        for connection in (asking, silent):
            connection.sendall(GET)
        while running.counters["bytes_sent_total"] < 6:
            pass
        begin_stop(running)
        session.gates.clear()
        running.on_loop(lambda: session.let_through("s3://bucket/key", 0))
        for connection in (asking, silent):
            status, headers, body = receive_answer(connection)
            assert (status, headers.get("connection"), body) == (200, None, b"content")
        asking.sendall(GET)
        status, headers, body = receive_answer(asking)
        assert (status, headers["connection"], body) == (200, "close", b"content")
        assert receive_all(asking) == receive_all(silent) == b""
        running._thread.join(20)
        assert running.worker is not None
        assert not running.worker.counters["bodies_cut_off_total"]
