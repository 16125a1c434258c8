"""Listings, for both pumps: what is asked for, page after page, and what an entry is."""

from __future__ import annotations

from typing import NamedTuple

from aviary.cashy.v1 import control_pb2 as pb
from cashy.core.names import parse_prefix

__all__ = ["Listed", "ListingPages"]


class Listed(NamedTuple):
    """An object as its origin lists it: size in bytes, seconds since the epoch, ``version`` as of :class:`Meta` (empty if the store does not
    list it).

    With ``is_prefix`` it stands for all objects whose names begin with ``name``, which ends in ``/``.
    """

    name: str
    is_prefix: bool
    size_bytes: int = 0
    last_modified: float = 0.0
    version: str = ""


class ListingPages:
    """The questions of one listing, in order: ask :attr:`question` and give the answer to :meth:`take`, until it is None."""

    def __init__(self, prefix: str, *, folds: bool, page_entries: int = 0) -> None:
        self._prefix = parse_prefix(prefix).url
        self.question: pb.List | None = pb.List(prefix=self._prefix, folds=folds, entries_max=page_entries)

    def take(self, report: pb.ListReport) -> list[Listed]:
        """The entries of a page."""
        question = self.question
        assert question is not None
        self.question = None
        if report.next_token:
            self.question = pb.List(
                prefix=question.prefix,
                folds=question.folds,
                entries_max=question.entries_max,
                token=report.next_token,
            )
        return [
            Listed(
                self._prefix + entry.suffix, entry.is_prefix, entry.size, entry.last_modified, entry.version
            )
            for entry in report.entries
        ]
