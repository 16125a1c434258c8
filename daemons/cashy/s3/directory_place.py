"""One directory origin as an S3 worker sees it: which buckets it has, and their listings.

Law: objects come from the master as all objects do; names come from the directory itself, read by the worker. Nothing of a listing is cached but
names (:mod:`cashy.origin.directory_names`), so a new file is listed at once. Short questions (is there such a folder?) have threads of their
own: a proxied request waits for one, and must not wait behind listings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from cashy.core.s3_listing import ListingQuery
from cashy.core.s3_listing_xml import listing_document
from cashy.origin.directory_listing import folder_exists, list_folders, list_page
from cashy.origin.directory_names import NameCache
from cashy.origin.directory_threads import DirectoryThreads, Question
from cashy.s3.limits import (
    DIRECTORY_LOOK_QUEUE_MAX,
    DIRECTORY_LOOK_S,
    DIRECTORY_LOOK_THREADS,
    LISTING_QUEUE_MAX,
    LISTING_S,
    LISTING_THREADS,
)

__all__ = ["DirectoryPlace"]


class DirectoryPlace:
    """The directory ``root``, whose first-level folders are buckets."""

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self.root = root
        self.counts: Counter[str] = Counter()
        self._cache = NameCache()
        self._listing = DirectoryThreads(
            f"listings of {name}", threads_max=LISTING_THREADS, queue_max=LISTING_QUEUE_MAX
        )
        self._looking = DirectoryThreads(
            f"folders of {name}", threads_max=DIRECTORY_LOOK_THREADS, queue_max=DIRECTORY_LOOK_QUEUE_MAX
        )

    async def has(self, bucket: str) -> bool:
        """Whether reads of this bucket end here. Raises a CashyError if that cannot be told."""
        return await self._looking.ask(lambda _: folder_exists(self.root, bucket), DIRECTORY_LOOK_S)

    async def listing(self, query: ListingQuery) -> bytes:
        """The document of one page. Raises a CashyError."""

        def work(question: Question) -> tuple[bytes, int, int]:
            page, folders_read = list_page(self.root, query, self._cache, question.check)
            return listing_document(query, page), page.count, folders_read

        document, keys, folders_read = await self._listing.ask(work, LISTING_S)
        self.counts["listings_total"] += 1
        self.counts["listed_keys_total"] += keys
        self.counts["listing_folders_read_total"] += folders_read
        return document

    async def folders(self, is_wanted: Callable[[str], bool]) -> dict[str, int]:
        """Its buckets with their times of change, whole seconds since the epoch. Raises a CashyError."""
        return await self._listing.ask(
            lambda question: list_folders(self.root, question.check, is_wanted), LISTING_S
        )

    def counters(self) -> dict[str, int]:
        """Figures of its listings."""
        counts = self.counts
        return {
            "listings_total": counts["listings_total"],
            "listed_keys_total": counts["listed_keys_total"],
            "listing_folders_read_total": counts["listing_folders_read_total"],
            "listings_under_way": self._listing.under_way,
            "listing_names_kept": self._cache.count,
        }

    def close(self) -> None:
        """Lets its threads end."""
        self._listing.close()
        self._looking.close()
