"""What httptools says about one answer, noted down.

*Law.* Only notes: the parser's callbacks must not raise (it loses the place) and must not call anybody (who
might cancel the very answer that is being parsed), so nothing is decided here. One object serves for one
answer; a new parser costs 2 us [measured] and cannot be left in a wrong state by the answer before.
"""

from __future__ import annotations

import httptools

__all__ = ["AnswerNotes"]


class AnswerNotes:
    """Notes on one answer. Header names in lower case; repeated headers joined by ", " (RFC 9110, 5.3);
    trailers are ignored.
    """

    __slots__ = (
        "_parser", "has_surplus", "head_done", "headers", "interims", "keep_alive", "message_done", "pieces", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        """Parts of the body since they were last taken."""
        self.interims = 0
        """1xx answers that came before."""
        self.head_done = False
        self.message_done = False
        self.has_surplus = False
        """More came after the end: the connection must not be used again."""
        self.keep_alive = False

    def feed(self, data: memoryview) -> None:
        """Parses further bytes; raises ValueError if they are no HTTP answer."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ValueError("it wants to switch to another protocol") from None
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from None

    def stop(self) -> None:
        """Nothing further will be fed: drops the parser (it refers to us and we to it, which is work for the
        collector).
        """
        self._parser = None

    def on_message_begin(self) -> None:
        """A message starts; one after the answer's end was not asked for."""
        if self.message_done:
            self.has_surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if self.head_done:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        known = self.headers.get(key)
        self.headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """The head is complete; that of an interim answer is forgotten."""
        if self.head_done or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.interims += 1
            self.headers = {}
            return
        self.status = status
        self.head_done = True
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A part of the body that came through the parser."""
        if not self.message_done:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        """The message ends, if it was not an interim one."""
        if self.head_done:
            self.message_done = True
