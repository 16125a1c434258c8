"""An exchange as a process of its own, and a firm that speaks to it over a plain socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from toucan.core.venue_messages import Book, FromVenue, Quote, Report, Resume, ResumeEnd, ToVenue, Welcome
from toucan.exchange.core.wire import encode_all, venue_reader

__all__ = ["INSTRUMENTS_TOML", "RawFirm", "RunningExchange", "running_exchange"]

#: No test waits so long unless something is broken.
PATIENCE_S = 20.0

INSTRUMENTS_TOML = """\
[[instrument]]
symbol = "ABC"
currency = "USD"
venue = "exchange"

[[instrument]]
symbol = "BTC-USD"
currency = "USD"
venue = "exchange"
quantity_decimals = 8
"""


class RunningExchange:
    """The process. It is killed when the ``with`` ends, if it still runs."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.path = folder / "exchange.sock"
        self.operator_path = folder / "operator.sock"
        instruments = folder / "instruments.toml"
        instruments.write_text(INSTRUMENTS_TOML)
        self.log_path = folder / "exchange.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-W", "error", "-m", "toucan.exchange", "--listen", str(self.path),
                    "--operator", str(self.operator_path), "--instruments", str(instruments), "--ready", *options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log_path.read_text()
        self.ready: dict[str, Any] = json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> int:
        """Asks it to end; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._gone()

    def kill(self) -> None:
        """kill -9."""
        if self.process.poll() is None:
            self.process.kill()
            self._gone()

    def _gone(self) -> int:
        assert self.process.stdout is not None
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return code

    def command(self, **fields: object) -> dict[str, Any]:
        """One line to the operator's channel, and its answer."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE_S)
            channel.connect(str(self.operator_path))
            channel.sendall(json.dumps(fields).encode() + b"\n")
            with channel.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
                return answer

    def told(self, **fields: object) -> list[Any]:
        """A command that must succeed; what firms were told because of it."""
        answer = self.command(**fields)
        assert answer["ok"], answer
        told: list[Any] = answer["told"]
        return told


@contextmanager
def running_exchange(folder: Path, *options: str) -> Iterator[RunningExchange]:
    """Starts it, and sees to it that it is gone in the end; it must have left nothing on its log but what is expected."""
    with RunningExchange(folder, *options) as exchange:
        yield exchange
    assert "Traceback" not in exchange.log_path.read_text(), exchange.log_path.read_text()


class RawFirm:
    """A firm's socket; ``market_data`` has the newest of each symbol, everything else comes by :meth:`receive`."""

    def __init__(self, address: Path | tuple[str, int]) -> None:
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address if isinstance(address, tuple) else os.fspath(address))
        self.quotes: list[Quote] = []
        self.books: list[Book] = []
        self._reader = venue_reader()
        self._waiting: list[FromVenue] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *messages: ToVenue) -> None:
        self.socket.sendall(encode_all(messages))

    def receive(self) -> FromVenue:
        """The next message that is no market data; raises EOFError at the end."""
        while not self._waiting:
            self._read()
        return self._waiting.pop(0)

    def receive_until(self, is_last: Callable[[FromVenue], bool]) -> list[FromVenue]:
        """Messages up to the one that is wanted."""
        received = [self.receive()]
        while not is_last(received[-1]):
            received.append(self.receive())
        return received

    def wait_for_market(self, is_enough: Callable[[Self], bool]) -> None:
        """Reads until market data is as wanted."""
        while not is_enough(self):
            self._read()

    def resume(self, firm: str, life: str = "", venue_seq: int = 0) -> tuple[Welcome, list[Report]]:
        """Says who it is, and takes in all that it is told for that."""
        self.send(Resume(firm, life, venue_seq))
        welcome, *reports, end = self.receive_until(lambda message: message == ResumeEnd())
        assert isinstance(welcome, Welcome)
        assert end == ResumeEnd()
        return welcome, [report for report in reports if isinstance(report, Report)]

    def reports(self, count: int) -> Sequence[Report]:
        """The next so many reports."""
        received = [self.receive() for _ in range(count)]
        assert all(isinstance(message, Report) for message in received)
        return [message for message in received if isinstance(message, Report)]

    def _read(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        for message in self._reader.feed(data):
            if isinstance(message, Quote):
                self.quotes.append(message)
            elif isinstance(message, Book):
                self.books.append(message)
            else:
                self._waiting.append(message)
