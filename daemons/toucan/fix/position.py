"""How far a session's reports are, so that after kill -9 none is missing and none is said twice under another number.

The file says which report was given to QuickFIX last, and under which MsgSeqNum. It is written at the moment at which QuickFIX has drawn the number
and not yet stored the message (``toApp``). At the next start QuickFIX's own store tells the rest: if its next number is larger, the message was
stored, and is sent again if the client asks for it; if not, it was not, and goes out anew. A client whose numbers begin anew cannot ask: for that
the file also counts the reports that were stored while nobody was there to read them. Nothing is synced: what a power cut loses, the embedded
exchange, whose reports these are, has lost as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from toucan.fix.core.records import RecordEnd, encode_record, read_records
from toucan.fix.record_file import FixFileError

__all__ = ["Place", "PositionFile"]

#: One page, written at once.
_BYTES = 512


class Place(msgspec.Struct, frozen=True, array_like=True):
    """``venue_seq`` of the exchange's life went out under ``fix_seq``; 0: it is stored for sure.

    The last ``unsent`` reports up to it are in QuickFIX's store, and may not have reached the client.
    """

    life: str = ""
    venue_seq: int = 0
    fix_seq: int = 0
    unsent: int = 0

    @property
    def reached_seq(self) -> int:
        """The newest report that was sent to a client that was there; of one that is under way to QuickFIX nobody knows."""
        return max(0, self.venue_seq - self.unsent - (1 if self.fix_seq else 0))

    def numbered(self, life: str, venue_seq: int, fix_seq: int) -> Place:
        """The place once QuickFIX has given the next report its number."""
        return Place(life, venue_seq, fix_seq, self.unsent if life == self.life else 0)

    def stored(self, *, is_sent: bool) -> Place:
        """The place once QuickFIX has stored that report, and sent it or not."""
        return Place(self.life, self.venue_seq, 0, 0 if is_sent else self.unsent + 1)


class PositionFile:
    """Of one session and one firm."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            data = os.pread(self._file, _BYTES, 0)
        except OSError as error:
            raise FixFileError(f"cannot use {path}: {error.strerror or error}") from error
        #: What the file says.
        self.place = Place()
        #: It could not be read: everything is told again.
        self.is_damaged = False
        first = next(read_records(data))  # zeros fill the page behind it
        if isinstance(first, RecordEnd):
            self.is_damaged = first is not RecordEnd.CLEAN
        else:
            self.place = msgspec.msgpack.decode(first[0], type=Place)

    def settle(self, next_fix_seq: int) -> Place:
        """At a start: what was sent, with the next number of QuickFIX's store."""
        place = self.place
        if place.fix_seq:
            is_stored = next_fix_seq > place.fix_seq
            back = Place(place.life, place.venue_seq - 1, 0, place.unsent)
            self.write(place.stored(is_sent=False) if is_stored else back)
        return self.place

    def begin_anew(self) -> int:
        """QuickFIX's store is emptied: goes back to what has reached the client, and gives the newest report that may have."""
        place = self.place
        self.write(Place(place.life, place.reached_seq))
        return place.venue_seq

    def write(self, place: Place) -> None:
        """Raises :class:`~toucan.fix.record_file.FixFileError`."""
        self.place = place
        data = encode_record(msgspec.msgpack.encode(place))
        try:
            os.pwrite(self._file, data.ljust(_BYTES, b"\0"), 0)
        except OSError as error:
            raise FixFileError(f"cannot write {self.path}: {error.strerror or error}") from error
