"""``toucan record``: writes what a feed says to files, as it comes.

One thread, no loop: it reads the feed's socket, puts records into a buffer, and every ``FLUSH_S`` hands them to the kernel, every ``SYNC_S`` to the
disk. So a kill costs at most ``FLUSH_S`` of market data, a power cut ``SYNC_S``. While it writes it does not read: behind a slow disk the feed tells
it the newest less often, and lines of the tape which it misses are missing in their numbers and counted.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from toucan.core.frames import WireError, encode_all
from toucan.errors import ToucanError
from toucan.market.address import FeedAddress, connect, shown_address
from toucan.market.core.messages import FeedBeat, FromFeed, Subscribe, feed_reader
from toucan.market.core.picture import MarketPicture
from toucan.market.core.recording import Kind, Record, encode_head, encode_record
from toucan.market.limits import (
    FLUSH_S,
    RECEIVE_BYTES,
    RECONNECT_S,
    RECONNECT_S_MAX,
    ROTATE_BYTES,
    ROTATE_BYTES_MIN,
    SILENCE_S_MAX,
    SYNC_S,
)
from toucan.market.recording_files import next_segment

__all__ = ["CannotRecord", "Counts", "Recorder"]

_log = structlog.get_logger(__name__)


class CannotRecord(ToucanError):
    """The file cannot be written, or another recorder writes it."""


class Counts(msgspec.Struct):
    """What was recorded."""

    records: int = 0
    written_bytes: int = 0
    files: int = 0
    #: Lines of tapes that did not reach the recorder.
    lines_missed: int = 0
    #: Connections that were lost.
    losses: int = 0


class Recorder:
    """Records one feed to ``path`` until :meth:`stop`; :meth:`run` is its life. ``rotate_bytes``: the size from which on another file is begun.

    Raises :class:`CannotRecord`.
    """

    def __init__(self, address: FeedAddress, path: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        if rotate_bytes < ROTATE_BYTES_MIN:
            raise CannotRecord(
                f"files of {rotate_bytes:,} bytes: they must have {ROTATE_BYTES_MIN:,} at least"
            )
        self.counts = Counts()
        #: Called when it hears the feed, again and again.
        self.on_heard: Callable[[], None] = lambda: None
        self._address = address
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._picture = MarketPicture()
        self._file = -1
        #: Of this file, without the picture that it begins with: however large that is, the file has room for news.
        self._news_bytes = 0
        self._buffer = bytearray()
        self._flush_at_s = 0.0
        self._sync_at_s = 0.0
        self._is_stale = False
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_stopped = False

    def stop(self) -> None:
        """Ends :meth:`run` soon; from any thread or a signal handler."""
        self._is_stopped = True
        os.write(self._stop_write, b"\0")

    def run(self) -> None:
        """Records until it is stopped."""
        self._begin_file()
        pause_s = RECONNECT_S
        try:
            while not self._is_stopped:
                heard_before = self.counts.records
                reason = self._follow()
                if self._is_stopped:
                    break
                self._lost(reason)
                pause_s = (
                    RECONNECT_S if self.counts.records > heard_before else min(2 * pause_s, RECONNECT_S_MAX)
                )
                select.select([self._stop_read], [], [], pause_s)
        finally:
            try:
                self._end_file()
            finally:
                os.close(self._stop_read)
                os.close(self._stop_write)

    # ------------------------------------------------------------ the feed

    def _follow(self) -> str:
        """One connection; gives the reason of its end."""
        try:
            with connect(self._address) as connection:
                after = self._picture.places()
                connection.sendall(encode_all([Subscribe(self._picture.life, after)]))
                self._pump(connection)
        except (OSError, WireError) as error:
            return str(error)
        return "stopped"

    def _pump(self, connection: socket.socket) -> None:
        frames = feed_reader()
        heard_at_s = time.monotonic()
        while not self._is_stopped:
            ready, _, _ = select.select([connection.fileno(), self._stop_read], [], [], FLUSH_S)
            now_s = time.monotonic()
            if connection.fileno() in ready:
                data = connection.recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionError("the feed has closed the connection")
                heard_at_s, at_ns = now_s, time.time_ns()
                for message in frames.feed(data):
                    self._take(at_ns, message)
                self.on_heard()
            elif now_s - heard_at_s > SILENCE_S_MAX:
                raise ConnectionError(f"the feed has said nothing for {SILENCE_S_MAX} s")
            self._flush_if_due(now_s)

    def _take(self, at_ns: int, message: FromFeed) -> None:
        self._picture.take(message)
        self.counts.lines_missed = self._picture.lines_missed
        if isinstance(message, FeedBeat):
            if message.is_stale is self._is_stale:
                return
            self._is_stale = message.is_stale
        self._news_bytes += self._put(Record(at_ns, Kind.NEWS, message))
        if self._news_bytes >= self._rotate_bytes:
            self._end_file()
            self._begin_file()

    def _lost(self, reason: str) -> None:
        """Whoever plays it sees that nothing was heard from here on."""
        if not self._is_stale:
            at_ns = time.time_ns()
            self._is_stale = True
            self._put(Record(at_ns, Kind.NEWS, FeedBeat(at_ns, is_stale=True)))
            self.counts.losses += 1
            _log.warning("feed is away", feed=shown_address(self._address), why=reason)
        self._flush_if_due(time.monotonic())

    # ------------------------------------------------------------ the file

    def _begin_file(self) -> None:
        """What is there from before stays, as a file with a number."""
        try:
            self._keep_old()
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotRecord(f"cannot write {self._path}: {error.strerror or error}") from error
        self._news_bytes = 0
        self.counts.files += 1
        self._buffer += encode_head()
        if self._picture.life:
            at_ns = time.time_ns()
            for message in self._picture.messages():
                self._put(Record(at_ns, Kind.PICTURE, message))
            self._put(Record(at_ns, Kind.PICTURE, FeedBeat(at_ns, self._is_stale)))
        self._flush()

    def _keep_old(self) -> None:
        try:
            old = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRecord(
                f"{self._path} is being written by another recorder; record to another file"
            ) from None
        finally:
            os.close(old)
        self._path.rename(next_segment(self._path))

    def _end_file(self) -> None:
        if self._file < 0:
            return
        self._flush()
        self._synced()
        os.close(self._file)
        self._file = -1

    def _put(self, record: Record) -> int:
        """Gives its size in bytes."""
        encoded = encode_record(record)
        self._buffer += encoded
        self.counts.records += 1
        return len(encoded)

    def _flush_if_due(self, now_s: float) -> None:
        if now_s >= self._flush_at_s:
            self._flush_at_s = now_s + FLUSH_S
            self._flush()
        if now_s >= self._sync_at_s:
            self._sync_at_s = now_s + SYNC_S
            self._synced()

    def _flush(self) -> None:
        try:
            while self._buffer:
                written = os.write(self._file, self._buffer)
                del self._buffer[:written]
                self.counts.written_bytes += written
        except OSError as error:
            raise CannotRecord(
                f"cannot write {self._path}: {error.strerror or error}; what is in it can be played"
            ) from error

    def _synced(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise CannotRecord(
                f"cannot sync {self._path}: {error.strerror or error}; what is in it can be played"
            ) from error
