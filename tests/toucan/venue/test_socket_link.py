"""The way over a socket: it connects again by itself, never keeps who sends waiting, begins where it was told to, and ends at once."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.toucan.exchange.running import PATIENCE_S, running_exchange

from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import NewOrder, Report, Resume, ResumeEnd, StatusRequest, ToVenue, Welcome
from toucan.exchange.core.wire import FRAME_BYTES_MAX, WireError, encode_all, firm_reader
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.limits import OUT_BYTES_MAX
from toucan.venue.socket_link import SocketVenueLink

pytestmark = pytest.mark.system


class Inbox:
    """Takes everything over, or nothing while ``is_full``."""

    def __init__(self) -> None:
        self.events: list[VenueEvent] = []
        self.is_full = False
        self.refused = 0
        self.changed = threading.Condition()

    def deliver(self, events: list[VenueEvent]) -> bool:
        with self.changed:
            if self.is_full:
                self.refused += 1
            else:
                self.events += events
            self.changed.notify_all()
            return not self.is_full

    def wait(self, kind: type[VenueEvent], count: int = 1) -> list[VenueEvent]:
        """Until so many events of a kind have come; gives them."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.all(kind)) >= count, PATIENCE_S), self.events
            return self.all(kind)

    def all(self, kind: type[VenueEvent]) -> list[VenueEvent]:
        return [event for event in self.events if isinstance(event, kind)]


class RawVenue:
    """A listening socket behind which the test itself is the venue."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE_S)
        self._listener.bind(str(path))
        self._listener.listen()
        self.connection = socket.socket(socket.AF_UNIX)

    def accept(self) -> list[ToVenue]:
        """The next connection; gives its first messages."""
        old = self.connection
        self.connection, _ = self._listener.accept()
        old.close()  # only now: that the link has left it is not this side's doing
        self.connection.settimeout(PATIENCE_S)
        return list(firm_reader().feed(self.connection.recv(1 << 16)))

    def close(self) -> None:
        self.connection.close()
        self._listener.close()


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawVenue]:
    venue = RawVenue(tmp_path / "raw.sock")
    yield venue
    venue.close()


@pytest.fixture
def link(tmp_path: Path) -> Iterator[SocketVenueLink]:
    link = SocketVenueLink(tmp_path / "raw.sock", "firm", chance=Random(1))
    yield link
    link.stop()


def test_a_venue_that_comes_back_is_found_and_is_another_life(tmp_path: Path) -> None:
    link, inbox = SocketVenueLink(tmp_path / "exchange.sock", "firm"), Inbox()
    link.start(inbox.deliver)
    try:
        (gone,) = inbox.wait(Disconnected)
        assert isinstance(gone, Disconnected)
        assert "cannot connect" in gone.reason
        with running_exchange(tmp_path) as exchange:
            inbox.wait(ResumeEnd)
            assert link.send([NewOrder("x", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50)])
            inbox.wait(Report)
            link.resume_from(exchange.ready["life"], 1)
            exchange.kill()
            inbox.wait(Disconnected, 2)
            assert link.send([StatusRequest("x")]) is False
        with running_exchange(tmp_path):
            first, second = inbox.wait(Welcome, 2)
            inbox.wait(ResumeEnd, 2)
        assert isinstance(first, Welcome)
        assert isinstance(second, Welcome)
        assert first.life != second.life
        kinds = [type(event) for event in inbox.events]
        assert kinds.index(Welcome) == kinds.index(Connected) + 1
    finally:
        link.stop()


class CountingChance(Random):
    """Says when it was asked three times for a pause."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = 0
        self.is_enough = threading.Event()

    def uniform(self, a: float, b: float) -> float:
        self.asked += 1
        if self.asked == 3:
            self.is_enough.set()
        return super().uniform(a, b)


def test_that_there_is_still_nobody_is_told_once(tmp_path: Path) -> None:
    inbox, chance = Inbox(), CountingChance()
    link = SocketVenueLink(tmp_path / "raw.sock", "firm", chance=chance)
    link.start(inbox.deliver)
    assert chance.is_enough.wait(PATIENCE_S)
    venue = RawVenue(tmp_path / "raw.sock")
    try:
        assert venue.accept() == [Resume("firm", "", 0)]
        inbox.wait(Connected)
        assert len(inbox.all(Disconnected)) == 1
    finally:
        link.stop()
        venue.close()


def test_a_venue_that_lets_nobody_in_is_one_reason_however_it_does_it(
    raw: RawVenue, link: SocketVenueLink
) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    raw.connection.close()  # an orderly end
    raw.accept()
    raw.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.connection.close()
    raw.accept()
    raw.connection.sendall(encode_all([Welcome("life", 0)]))
    inbox.wait(Welcome)
    raw.connection.close()
    reasons = [event.reason for event in inbox.wait(Disconnected, 3) if isinstance(event, Disconnected)]
    assert reasons[:2] == ["the venue closes each connection at once"] * 2
    assert reasons[2] == "the venue has closed the connection"


def test_who_sends_never_waits_for_a_venue_that_does_not_read(raw: RawVenue, link: SocketVenueLink) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    inbox.wait(Connected)
    message = StatusRequest("x" * 60_000)
    taken = 0
    while link.send([message]):
        taken += 1
        assert taken < 1000
    assert taken * 60_000 > OUT_BYTES_MAX - 60_100
    assert link.send([StatusRequest("a small one")] * 2000) is False  # all or none
    raw.connection.close()
    inbox.wait(Disconnected)
    assert raw.accept() == [Resume("firm", "", 0)]  # nothing of the old connection


def test_what_a_socket_does_not_take_at_once_arrives_in_order(raw: RawVenue, link: SocketVenueLink) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    inbox.wait(Connected)
    asked = [
        StatusRequest(f"{number:06}" + "x" * 3_000) for number in range(300)
    ]  # more than a unix socket holds
    for one in asked:
        assert link.send([one])
    reader = firm_reader()
    came: list[ToVenue] = []
    while len(came) < len(asked):
        came += reader.feed(raw.connection.recv(1 << 16))
    assert came == asked


def test_a_message_that_fits_no_frame_is_an_error_and_sends_nothing(
    raw: RawVenue, link: SocketVenueLink
) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    inbox.wait(Connected)
    with pytest.raises(WireError):
        link.send([StatusRequest("y"), StatusRequest("x" * FRAME_BYTES_MAX)])
    assert link.send([StatusRequest("z")])
    assert list(firm_reader().feed(raw.connection.recv(1 << 16))) == [StatusRequest("z")]


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", encode_all([StatusRequest("x")])]
)
def test_a_venue_that_speaks_otherwise_is_left_and_tried_again(
    raw: RawVenue, link: SocketVenueLink, data: bytes
) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    raw.connection.sendall(encode_all([Welcome("L", 0)]) + data)
    (gone,) = inbox.wait(Disconnected)
    assert isinstance(gone, Disconnected)
    assert "frame" in gone.reason
    assert inbox.all(Welcome) == [Welcome("L", 0)]  # what came before still counts
    assert raw.accept() == [Resume("firm", "", 0)]


def test_a_connection_begins_with_what_was_said_before_it_was_dropped(
    raw: RawVenue, link: SocketVenueLink
) -> None:
    inbox = Inbox()
    link.resume_from("L", 7)
    link.start(inbox.deliver)
    assert raw.accept() == [Resume("firm", "L", 7)]
    for number in range(8, 20):
        link.resume_from("L", number)
        link.reconnect()
        seen = raw.accept()
        while seen != [Resume("firm", "L", number)]:
            seen = raw.accept()  # one that had begun before
    inbox.wait(Disconnected, 12)


def test_what_the_engine_does_not_take_is_told_again(raw: RawVenue, link: SocketVenueLink) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    inbox.wait(Connected)
    with inbox.changed:
        inbox.is_full = True
    raw.connection.sendall(encode_all([Welcome("L", 1), Report(ExecType.NEW, "x", 1), ResumeEnd()]))
    with inbox.changed:
        # The messages, and then at least twice that the connection is gone.
        assert inbox.changed.wait_for(lambda: inbox.refused >= 3, PATIENCE_S)
        assert inbox.all(Welcome) == inbox.all(Disconnected) == []
        inbox.is_full = False
    inbox.wait(Disconnected)
    assert raw.accept() == [Resume("firm", "", 0)]
    raw.connection.sendall(encode_all([Welcome("L", 1), Report(ExecType.NEW, "x", 1), ResumeEnd()]))
    inbox.wait(ResumeEnd)
    assert [type(event) for event in inbox.events] == [
        Connected, Disconnected, Connected, Welcome, Report, ResumeEnd,
    ]  # fmt: skip


def test_many_threads_can_send_and_each_ones_messages_stay_in_order(tmp_path: Path) -> None:
    with running_exchange(tmp_path) as exchange:
        link, inbox = SocketVenueLink(str(exchange.path), "firm"), Inbox()
        link.start(inbox.deliver)
        inbox.wait(ResumeEnd)

        def send(name: str) -> None:
            for number in range(200):
                assert link.send([StatusRequest(f"{name}-{number}")])

        threads = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reports = [report for report in inbox.wait(Report, 800) if isinstance(report, Report)]
        link.stop()
        for name in "abcd":
            own = [report.cl_ord_id for report in reports if report.cl_ord_id.startswith(name)]
            assert own == [f"{name}-{number}" for number in range(200)]
        assert [report.venue_seq for report in reports] == list(range(1, 801))


def test_it_goes_over_tcp_too(tmp_path: Path) -> None:
    with running_exchange(tmp_path, "--tcp", "127.0.0.1:0") as exchange:
        host, port = exchange.ready["tcp"].rsplit(":", 1)
        link, inbox = SocketVenueLink((host, int(port)), "firm"), Inbox()
        link.start(inbox.deliver)
        inbox.wait(ResumeEnd)
        link.stop()
    link, inbox = SocketVenueLink((host, int(port)), "firm"), Inbox()
    link.start(inbox.deliver)
    (gone,) = inbox.wait(Disconnected)
    link.stop()
    assert isinstance(gone, Disconnected)
    assert f"127.0.0.1:{port}" in gone.reason


def test_the_end_is_the_end(raw: RawVenue, link: SocketVenueLink) -> None:
    inbox = Inbox()
    link.start(inbox.deliver)
    raw.accept()
    inbox.wait(Connected)
    link.stop()
    told = list(inbox.events)
    assert link.send([StatusRequest("x")]) is False
    link.reconnect()
    link.stop()
    assert raw.connection.recv(1) == b""
    assert inbox.events == told
    assert not [thread for thread in threading.enumerate() if thread.name == "venue-firm"]
    with pytest.raises(ValueError, match="started before"):
        link.start(inbox.deliver)


def test_it_ends_at_once_while_it_waits_to_try_again(link: SocketVenueLink) -> None:
    inbox = Inbox()
    with inbox.changed:
        inbox.is_full = True
    link.start(inbox.deliver)
    with inbox.changed:
        assert inbox.changed.wait_for(lambda: inbox.refused >= 3, PATIENCE_S)
    link.stop()
    assert inbox.events == []
