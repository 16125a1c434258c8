"""A FIX client made by hand: bytes on a socket, so that it can say what no library lets one say."""

from __future__ import annotations

import socket
import time
from typing import Self

from tests.toucan.exchange.running import PATIENCE_S

from toucan.fix.core.amounts import time_text
from toucan.fix.core.message import SOH, FixMessage

__all__ = ["RawClient", "RawVenue"]

Pair = tuple[int, str | int]


class RawClient:
    """``next_seq`` is the number of what it sends next."""

    def __init__(self, port: int, comp_id: str, *, target: str = "AVIARY") -> None:
        self.comp_id = comp_id
        self.target = target
        self.symbol = "ABC"
        self.next_seq = 1
        #: The number of the newest message that came in its turn.
        self.last_seq = 0
        self.received: list[FixMessage] = []
        self._buffer = b""
        self._socket = self._opened(port)

    def _opened(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Without a Logout."""
        self._socket.close()

    # ------------------------------------------------------------ sent

    def bytes_of(
        self, kind: str, *pairs: Pair, seq: int | None = None, sender: str = "", begin: str = "FIX.4.4"
    ) -> bytes:
        """A whole message, under the next number if none is given."""
        if seq is None:
            seq, self.next_seq = self.next_seq, self.next_seq + 1
        header: list[Pair] = [
            (35, kind),
            (34, seq),
            (49, sender or self.comp_id),
            (52, time_text(time.time_ns())),
            (56, self.target),
        ]
        text = "".join(f"{tag}={value}{SOH}" for tag, value in [*header, *pairs])
        body = text.encode("utf-8", "surrogateescape")
        head = f"8={begin}{SOH}9={len(body)}{SOH}".encode()
        return head + body + f"10={sum(head + body) % 256:03d}{SOH}".encode()

    def send(self, kind: str, *pairs: Pair, seq: int | None = None, sender: str = "") -> None:
        self.send_bytes(self.bytes_of(kind, *pairs, seq=seq, sender=sender))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def log_on(self, *pairs: Pair, heartbeat_s: int = 30) -> FixMessage:
        """Gives the answer."""
        self.send("A", (98, 0), (108, heartbeat_s), *pairs)
        return self.next("A")

    def order(
        self, name: str, side: int = 1, quantity: str = "10", price: str = "0.50", *pairs: Pair
    ) -> None:
        """A limit order."""
        self.send("D", *self.order_pairs(name, side, quantity, price), *pairs)

    def order_pairs(self, name: str, side: int = 1, quantity: str = "10", price: str = "0.50") -> list[Pair]:
        now = time_text(time.time_ns())
        return [
            (11, name),
            (1, "a"),
            (55, self.symbol),
            (54, side),
            (60, now),
            (38, quantity),
            (40, 2),
            (44, price),
            (59, 1),
        ]

    # ------------------------------------------------------------ received

    def next(self, *kinds: str) -> FixMessage:
        """The next message, or the next of some kinds; the others are left out."""
        while True:
            message = self._read()
            self.received.append(message)
            self.last_seq = max(self.last_seq, message.whole(34))
            if not kinds or message.type in kinds:
                return message

    def is_closed(self) -> bool:
        """Waits until the other side ends the connection; False: it says something first, or nothing."""
        try:
            return self._socket.recv(1) == b"" and self._buffer == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def until_closed(self) -> list[str]:
        """The kinds of what the other side says before it ends the connection."""
        kinds = []
        try:
            while True:
                kinds.append(self.next().type)
        except (EOFError, ConnectionError):
            return kinds

    def nothing_for(self, seconds: float) -> bool:
        """Whether nothing comes for some time."""
        if self._buffer:
            return False
        self._socket.settimeout(seconds)
        try:
            self._buffer += self._socket.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(PATIENCE_S)
        return False

    def _read(self) -> FixMessage:
        while (
            b"\x0110=" not in self._buffer or not self._buffer.partition(b"\x0110=")[2].partition(b"\x01")[1]
        ):
            data = self._socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._buffer += data
        end = self._buffer.index(b"\x01", self._buffer.index(b"\x0110=") + 1) + 1
        whole, self._buffer = self._buffer[:end], self._buffer[end:]
        assert int(whole[-4:-1]) == sum(whole[:-7]) % 256, "a wrong checksum"
        return FixMessage.parse(whole.decode("utf-8", "surrogateescape"))


class RawVenue(RawClient):
    """The other side: listens on a port, and lets one client log on."""

    def __init__(self, port: int, comp_id: str, target: str, *, next_seq: int = 1) -> None:
        super().__init__(port, comp_id, target=target)
        self.next_seq = next_seq
        self.logon = self.next("A")
        self.send("A", (98, 0), (108, 30))

    def _opened(self, port: int) -> socket.socket:
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(PATIENCE_S)
            connection, _ = listener.accept()
        connection.settimeout(PATIENCE_S)
        return connection
