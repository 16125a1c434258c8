"""An S3 store whose objects are overwritten, and that fails in the ways that stores fail, on command."""

from __future__ import annotations

import re
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Self

from . import contents

__all__ = ["IN_A_ROW_MAX", "Ailment", "AilingStore"]

#: refuses: 500 or 503. truncates: closes in the middle of a body. hangs: says nothing for a while. away: closes each connection at once.
Ailment = Literal["refuses", "truncates", "hangs", "away"]
#: Longer than whoever asks waits.
_HANGS_S = 6.0
#: The same question meets an ailment so often in a row, and is then answered: less often than a reader of a store tries again (four times), so that
#: no read may fail.
IN_A_ROW_MAX = 3
_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


class AilingStore:
    """A context manager. ``one_in`` says of an ailment how many requests meet it: 1 all, 3 each third."""

    def __init__(self, address: str) -> None:
        #: Overwritten objects have a higher one.
        self.generation: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.ailed: Counter[str] = Counter()
        self._ailment: Ailment | None = None
        self._one_in = 1
        self._asked = 0
        self._in_a_row: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        store = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionError):
                    store._serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self._server = Server((address, 0), Handler)
        self.url = f"http://{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def ailing(self, ailment: Ailment, one_in: int) -> Iterator[None]:
        """For as long as the block lasts."""
        self._one_in, self._ailment = one_in, ailment
        try:
            yield
        finally:
            self._ailment = None

    def overwrite(self, keys: tuple[str, ...]) -> None:
        """Each of them is another version from now on."""
        for key in keys:
            self.generation[key] += 1

    # --- answers ---

    def _serve(self, handler: socketserver.StreamRequestHandler) -> None:
        while head := self._head(handler):
            asked, ailment = self._meets(handler.client_address[0], head)
            if ailment == "away":
                return
            if ailment == "hangs" and self._over.wait(_HANGS_S):
                return
            if ailment == "refuses":
                status = ("500 Internal Server Error", "503 Slow Down")[asked % 2]
                handler.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            elif not self._answer(handler, head, is_cut=ailment == "truncates"):
                return

    def _meets(self, client: str, head: str) -> tuple[int, Ailment | None]:
        """The question's number, and what befalls it. It is the same where one client wants one target up to one byte: the rest of a body counts."""
        target = head.split(" ", 2)[1].split("?")[0]
        wanted = re.search(r"^range: .*-(\d*)", head, re.IGNORECASE | re.MULTILINE)
        question = f"{client} {target} {wanted[1] if wanted else ''}"
        with self._lock:
            self._asked += 1
            is_met = self._asked % self._one_in == 0 and (
                self._one_in == 1 or self._in_a_row[question] < IN_A_ROW_MAX
            )
            ailment = self._ailment if is_met else None
            if ailment is None:
                del self._in_a_row[question]
            else:
                self.ailed[ailment] += 1
                self._in_a_row[question] += 1
            return self._asked, ailment

    def _head(self, handler: socketserver.StreamRequestHandler) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = handler.rfile.readline(65536)
            if not line:
                return ""
            head += line
        return head.decode()

    def _answer(self, handler: socketserver.StreamRequestHandler, head: str, *, is_cut: bool) -> bool:
        method, target, _ = head.split(" ", 2)
        key = target.removeprefix(f"/{contents.BUCKET}/").split("?")[0]
        if key not in contents.KEYS:
            handler.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        generation = self.generation[key]
        tag = contents.etag(key, generation)
        about = f"ETag: {tag}\r\nLast-Modified: {_DATE}\r\nAccept-Ranges: bytes\r\n"
        matched = re.search(r"^if-match: (.*)$", head, re.IGNORECASE | re.MULTILINE)
        if matched is not None and matched[1].strip() != tag:
            handler.wfile.write(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n")
            return True
        if method == "HEAD":
            handler.wfile.write(
                f"HTTP/1.1 200 OK\r\nContent-Length: {contents.OBJECT_BYTES}\r\n{about}\r\n".encode()
            )
            return True
        wanted = re.search(r"^range: bytes=(\d+)-(\d*)", head, re.IGNORECASE | re.MULTILINE)
        assert wanted is not None, head
        first = int(wanted[1])
        last = min(int(wanted[2] or contents.OBJECT_BYTES), contents.OBJECT_BYTES - 1)
        body = b"".join(
            contents.block(key, generation, index)
            for index in range(first // contents.BLOCK_BYTES, last // contents.BLOCK_BYTES + 1)
        )[first % contents.BLOCK_BYTES :][: last + 1 - first]
        handler.wfile.write(
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(body)}\r\n{about}"
            f"Content-Range: bytes {first}-{last}/{contents.OBJECT_BYTES}\r\n\r\n".encode()
        )
        self.given[key] += 1
        if is_cut:
            handler.wfile.write(body[: len(body) // 2])
            return False
        handler.wfile.write(body)
        return True
