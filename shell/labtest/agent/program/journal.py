"""Messages of units, from ``journalctl``: what is there already in full, then what comes, as much of it as anybody can read.

What is there (the *backlog*) waits for its reader: journalctl is simply not read. What comes does not wait. The newest lines of every 20 ms are
kept, the others are counted and thrown away unparsed, here where they arise, so a daemon that logs in a loop costs one host's agent a bounded
share of a core and the shell nothing.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from .failures import Failed
from .limits import (
    BACKLOG_LINES_MAX,
    BATCH_BYTES_MAX,
    BATCH_LINES_MAX,
    BATCH_S,
    ENTRY_BYTES_MAX,
    LINE_CHARACTERS_MAX,
    LOG_CPU_SHARE,
)
from .processes import Processes, tail
from .requests import Request, Waker
from .units import checked_unit

__all__ = ["Lines", "follow_logs", "parse_entry"]

_FIELDS = "MESSAGE,_SYSTEMD_UNIT,UNIT,_PID,PRIORITY"
#: A message that needs no unescaping: almost all are such, and are looked at without being parsed.
_PLAIN_MESSAGE = re.compile(rb'"MESSAGE":"([^"\\]*)"')
_READ_BYTES = 2**20
#: An answer in this many pieces is sent before more is read.
_PENDING_MAX = 4 * BATCH_LINES_MAX

#: at_ns, unit, pid, priority, text: as ``LogLine`` has it.
Line = list[Any]


def parse_entry(entry: bytes) -> tuple[Line, str] | None:
    """One line of ``journalctl -o json`` as a log line, and its cursor. None for what is no entry."""
    try:
        fields = json.loads(entry)
        at_ns = int(fields["__REALTIME_TIMESTAMP"]) * 1000
        cursor = str(fields["__CURSOR"])
        pid, priority = _number(fields.get("_PID"), 0), _number(fields.get("PRIORITY"), 6)
    except (ValueError, KeyError, TypeError):
        return None
    # What PID 1 says of a unit belongs to that unit.
    unit = (fields.get("UNIT") if pid == 1 else "") or fields.get("_SYSTEMD_UNIT") or fields.get("UNIT") or ""
    return [at_ns, str(unit), pid, priority, _cut(_text(fields.get("MESSAGE")))], cursor


def _number(value: Any, default: int) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() else default


def _text(value: Any) -> str:
    """A field's text: bytes that are not printable come as numbers, a field that was given twice as a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        if value and all(isinstance(byte, int) for byte in value):
            return bytes(value).decode("utf-8", "replace")
        return " ".join(_text(part) for part in value)
    return ""


def _cut(text: str) -> str:
    if len(text) <= LINE_CHARACTERS_MAX:
        return text
    return f"{text[:LINE_CHARACTERS_MAX]}… [{len(text) - LINE_CHARACTERS_MAX} more characters]"


class Lines:
    """Takes journalctl's output apart into entries that are still bytes; keeps the newest, counts the rest."""

    def __init__(self, pending_max: int = _PENDING_MAX) -> None:
        self.pending: deque[bytes] = deque()
        self.dropped = 0
        self._pending_max = pending_max
        self._rest = b""
        self._is_skipping = False

    def feed(self, data: bytes, *, may_drop: bool) -> None:
        """Takes bytes, however they were cut."""
        *entries, self._rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        if entries and self._is_skipping:
            entries = entries[1:]
            self._is_skipping = False
        if len(self._rest) > ENTRY_BYTES_MAX:
            self.dropped += 0 if self._is_skipping else 1
            self._rest, self._is_skipping = b"", True
        too_many = len(self.pending) + len(entries) - self._pending_max
        if may_drop and too_many > 0:
            self.dropped += too_many
            from_pending = min(too_many, len(self.pending))
            for _ in range(from_pending):
                self.pending.popleft()
            entries = entries[too_many - from_pending :]
        self.pending.extend(entries)


class _Batcher:
    """Parses and filters entries into batches, within its share of a core."""

    def __init__(self, grep: str) -> None:
        try:
            self._pattern = re.compile(grep) if grep else None
        except re.error as error:
            raise Failed("io", f"{grep!r} is no regular expression: {error}") from error
        self.cursor = ""

    @property
    def has_pattern(self) -> bool:
        """Whether not every message is wanted."""
        return self._pattern is not None

    def take(self, lines: Lines, *, may_drop: bool) -> list[Line]:
        """The next batch. What the processor's share does not reach is dropped, if it may be."""
        batch: list[Line] = []
        size_bytes = 0
        budget_s = LOG_CPU_SHARE * BATCH_S
        began_s = time.thread_time()
        pending = lines.pending
        while pending and len(batch) < BATCH_LINES_MAX and size_bytes < BATCH_BYTES_MAX:
            if may_drop and self._pattern is not None and time.thread_time() - began_s > budget_s:
                break
            line = self.parse(pending.popleft())
            if line is not None:
                batch.append(line)
                size_bytes += len(line[4])
        return batch

    def parse(self, entry: bytes) -> Line | None:
        """One entry; None if it is none, or does not match."""
        if self._pattern is not None:
            plain = _PLAIN_MESSAGE.search(entry)
            if plain is not None and not self._pattern.search(plain[1].decode("utf-8", "replace")):
                return None
        parsed = parse_entry(entry)
        if parsed is None:
            return None
        line, self.cursor = parsed
        if self._pattern is not None and not self._pattern.search(line[4]):
            return None
        return line


def follow_logs(request: Request, processes: Processes) -> None:
    """Carries out ``logs``: sends batches until there is no more, or, with ``follow``, until the request is cancelled."""
    arguments = request.arguments
    batcher = _Batcher(arguments["grep"])
    units = [f"--unit={checked_unit(unit)}" for unit in arguments["units"]]
    began_s = time.time()
    batcher.cursor = arguments["cursor"]
    if not (arguments["cursor"] or arguments["since_ns"]):
        _last(request, processes, batcher, units, min(arguments["lines"], BACKLOG_LINES_MAX))
    else:
        _Stream(
            request,
            processes,
            batcher,
            units + _from(batcher.cursor, arguments["since_ns"] / 1e9),
            may_drop=False,
        ).pump()
    if arguments["follow"]:
        _Stream(
            request, processes, batcher, [*units, "--follow", *_from(batcher.cursor, began_s)], may_drop=True
        ).pump()


def _from(cursor: str, since_s: float) -> list[str]:
    return ["--lines=all", f"--after-cursor={cursor}" if cursor else f"--since=@{since_s:.6f}"]


def _last(request: Request, processes: Processes, batcher: _Batcher, units: list[str], lines: int) -> None:
    """The last so many messages that match, read backwards."""
    newest = ""
    found: list[Line] = []
    if not batcher.has_pattern:
        if lines:
            _Stream(request, processes, batcher, [*units, f"--lines={lines}"], may_drop=False).pump()
            return
        lines = 1  # only to know where it ends
    for entry in _backwards(request, processes, units):
        line = batcher.parse(entry)
        newest = newest or batcher.cursor
        if line is not None:
            found.append(line)
        if len(found) >= lines:
            break
    batcher.cursor = newest
    found = found[: request.arguments["lines"]]
    found.reverse()
    for start in range(0, len(found), BATCH_LINES_MAX):
        while not request.wait_until_it_may_send(60.0):
            pass
        request.event({"lines": found[start : start + BATCH_LINES_MAX], "dropped": 0, "cursor": newest})


def _backwards(request: Request, processes: Processes, units: list[str]) -> Iterator[bytes]:
    process = processes.start(_argv([*units, "--reverse"]), stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        lines = Lines()
        while True:
            request.check()
            data = process.stdout.read(_READ_BYTES)
            if not data:
                return
            lines.feed(data, may_drop=False)
            while lines.pending:
                yield lines.pending.popleft()
    finally:
        processes.end(process)


def _argv(more: list[str]) -> list[str]:
    return [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--all",
        "--output=json",
        f"--output-fields={_FIELDS}",
        *more,
    ]


class _Stream:
    """One journalctl, read to its end, or until the request is cancelled."""

    def __init__(
        self, request: Request, processes: Processes, batcher: _Batcher, more: list[str], *, may_drop: bool
    ) -> None:
        self._request = request
        self._processes = processes
        self._batcher = batcher
        self._may_drop = may_drop
        self._lines = Lines()
        self._process = processes.start(_argv(more))
        self._waker = Waker()
        self._sent_at = 0.0
        self._is_over = False

    def pump(self) -> None:
        """Reads and sends. Raises :class:`Cancelled`, and :class:`Failed` if journalctl fails."""
        process = self._process
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._request.wake_with(self._waker.wake)
        selector = selectors.DefaultSelector()
        selector.register(self._waker, selectors.EVENT_READ)
        is_reading = False
        try:
            while not (self._is_over and not self._lines.pending):
                wants = not self._is_over and (self._may_drop or len(self._lines.pending) < BATCH_LINES_MAX)
                if wants != is_reading:
                    is_reading = wants
                    if wants:
                        selector.register(process.stdout, selectors.EVENT_READ)
                    else:
                        selector.unregister(process.stdout)
                for key, _ in selector.select(self._wait_s()):
                    if key.fileobj is self._waker:
                        self._waker.drain()
                    else:
                        self._read(key.fd)
                self._request.check()
                self._send()
            self._check_end()
        finally:
            selector.close()
            self._waker.close()
            self._processes.end(process)

    def _wait_s(self) -> float | None:
        """Until the next batch may go: at once for a backlog; for ever if there is none."""
        if not self._lines.pending or not self._request.may_send:
            return None
        return max(0.0, self._sent_at + BATCH_S - time.monotonic()) if self._may_drop else 0.0

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._lines.feed(data, may_drop=self._may_drop)
        else:
            self._is_over = True

    def _send(self) -> None:
        if not self._lines.pending or not self._request.may_send:
            return
        now = time.monotonic()
        if self._may_drop and now < self._sent_at + BATCH_S and not self._is_over:
            return
        batch = self._batcher.take(self._lines, may_drop=self._may_drop)
        self._sent_at = now
        if batch or self._lines.dropped:
            self._request.event(
                {"lines": batch, "dropped": self._lines.dropped, "cursor": self._batcher.cursor}
            )
            self._lines.dropped = 0

    def _check_end(self) -> None:
        """journalctl follows for ever, and what it cannot do it says."""
        assert self._process.stderr is not None
        said = tail(self._process.stderr.read() or b"")
        if self._may_drop:
            raise Failed("io", f"journalctl --follow has ended: {said}")
        if said:
            raise Failed("io", f"journalctl: {said}")
