"""Checksums of whole objects for who asks for them (``x-amz-checksum-mode: ENABLED``, which current SDKs send with every read).

Law: a checksum goes out only if a store's own answer to a HEAD in that mode gave it for this very version. Metadata that came with a first
block has none: its answer was a part's, and so may its checksums be. So whoever asks for them and finds none recorded has the
daemon ask, once; what comes is in the record from then on, for all. Where there is none at all this is remembered for a moment, or each
read of an object without checksums would reach the store.

The question whether a caller may read an object is such a HEAD, too (:mod:`cashy.s3.rights`), and is asked while a cold object is on its way: what it
tells of checksums is kept, so that they cost a first read no second round trip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from cashy.client.meta import Meta
from cashy.core.conditions import parse_date
from cashy.core.s3_response import CHECKSUM_PREFIX, RenderedObject, checksum_lines
from cashy.errors import CashyError, VersionChanged
from cashy.s3.limits import CHECKSUMS_ABSENT_S, CHECKSUMS_REMEMBERED_MAX
from cashy.s3.session import Session

__all__ = ["Checksums"]

_V = TypeVar("_V")
_Version = tuple[
    str, str, int
]  # name, ETag, and when it was changed: a copy onto itself may choose another algorithm


class Checksums:
    """What one worker knows of checksums beyond what stands in metadata; ``now_s`` is its loop's clock."""

    def __init__(self, session: Session, now_s: Callable[[], float]) -> None:
        self._session = session
        self._now_s = now_s
        self._known: OrderedDict[_Version, bytes] = OrderedDict()
        self._absent_until: OrderedDict[_Version, float] = OrderedDict()

    def find(self, meta: Meta, rendered: RenderedObject) -> bytes | None:
        """Header lines with the object's checksums, empty if it has none; None: to be asked for (:meth:`ask`)."""
        if rendered.checksums:
            return rendered.checksums
        if not meta.version.startswith('"'):
            return b""  # a file's state: directories have no checksums
        version = _version(meta)
        lines = self._known.get(version)
        if lines is None and self._absent_until.get(version, 0.0) > self._now_s():
            return b""
        return lines

    async def ask(self, meta: Meta) -> Meta:
        """The metadata with its checksums, if it has any. Raises a CashyError if the object is gone or was replaced.

        Any other failure leaves them out: they are an addition, the object itself is here.
        """
        try:
            newer = await self._session.stat(meta.name, revalidate=True)
        except FileNotFoundError:
            raise
        except CashyError:
            newer = meta
        if newer.content_id != meta.content_id:
            raise VersionChanged(f"{meta.name}: is now {newer.version}, was {meta.version}")
        self._take(_version(newer), checksum_lines(newer.headers, newer.version))
        return newer

    def learn(self, name: str, headers: Mapping[str, str]) -> None:
        """Takes in a store's answer (200) to a HEAD in checksum mode; names of ``headers`` are in lower case."""
        modified = parse_date(headers.get("last-modified", "").encode("latin-1"))
        version = name, headers.get("etag", ""), modified or 0
        found = [(key, value) for key, value in headers.items() if key.startswith(CHECKSUM_PREFIX)]
        self._take(version, checksum_lines(found, version[1]))

    def _take(self, version: _Version, lines: bytes) -> None:
        if lines:
            _put(self._known, version, lines)
        else:
            _put(self._absent_until, version, self._now_s() + CHECKSUMS_ABSENT_S)


def _version(meta: Meta) -> _Version:
    return meta.name, meta.version, int(meta.last_modified)


def _put(memory: OrderedDict[_Version, _V], version: _Version, value: _V) -> None:
    memory[version] = value
    memory.move_to_end(version)
    if len(memory) > CHECKSUMS_REMEMBERED_MAX:
        memory.popitem(last=False)
