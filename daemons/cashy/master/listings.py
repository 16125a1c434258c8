"""Listings: which origin is asked for a page, and the page as clients see it.

Law: a page is the origin's own word of this moment. Nothing of it is kept, and no other host is asked: what a listing tells is never older than the
question, also after a write behind cashy's back. Among several origins that may have a bucket, the first that has it is the one that is
listed, as it is the one that is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aviary.cashy.v1.control_pb2 import List, ListEntry, ListReport
from cashy.core.names import OriginSpec, Resolved, parse_prefix, resolve_prefix
from cashy.errors import NoSuchBucket
from cashy.limits import LIST_ENTRIES_MAX
from cashy.master.counters import Counters
from cashy.origin.base import Listed, ListedPage, Origin

__all__ = ["Listings"]


class Listings:
    """Pages of what the origins have."""

    def __init__(
        self, origins: Mapping[str, Origin], specs: Sequence[OriginSpec], counters: Counters
    ) -> None:
        self._origins = origins
        self._specs = specs
        self._counters = counters

    async def page(self, request: List) -> ListReport:
        """Answers one request. Raises a CashyError."""
        prefix = parse_prefix(request.prefix)
        wanted = min(request.entries_max or LIST_ENTRIES_MAX, LIST_ENTRIES_MAX)
        missing: NoSuchBucket | None = None
        for place in resolve_prefix(prefix, self._specs):
            try:
                page = await self._ask(place, request, wanted)
            except NoSuchBucket as error:
                missing = error
                continue
            entries = [_to_wire(entry, len(place.key)) for entry in page.entries]
            return ListReport(entries=entries, next_token=page.token)
        assert missing is not None  # there is always a candidate
        raise missing

    async def _ask(self, place: Resolved, request: List, wanted: int) -> ListedPage:
        self._counters.add("pages_listed")
        return await self._origins[place.origin].list_page(
            place.bucket, place.key, folds=request.folds, token=request.token, entries_max=wanted
        )


def _to_wire(entry: Listed, prefix_length: int) -> ListEntry:
    return ListEntry(
        suffix=entry.key[prefix_length:],
        is_prefix=entry.is_prefix,
        size=entry.size_bytes,
        last_modified=entry.last_modified,
        version=entry.version,
    )
