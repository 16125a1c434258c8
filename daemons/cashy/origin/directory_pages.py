"""Pages of what a directory origin has below a prefix, made in threads of their own.

*Law.* A listing never waits for a read nor a read for a listing: each has its threads. Which names belong on a page, and that everything on it
could be read, is :mod:`~cashy.origin.directory_listing`'s business.
"""

from __future__ import annotations

from cashy.core.s3_errors import S3Error
from cashy.core.s3_listing import ListingQuery, Page, make_token, position_of
from cashy.errors import InvalidRequest
from cashy.origin.base import Listed, ListedPage
from cashy.origin.directory_listing import list_page
from cashy.origin.directory_names import NameCache
from cashy.origin.directory_threads import DirectoryThreads

__all__ = ["LISTING_QUEUE_MAX", "LISTING_S", "LISTING_THREADS", "DirectoryPages"]

#: Pages made at a time: a walk is mostly waiting for the file system, and holds the interpreter else.
LISTING_THREADS = 2

#: Pages waiting for a thread; over it SlowDown.
LISTING_QUEUE_MAX = 64

#: After so long a page ends where it is, if there is anything on it.
LISTING_S = 20.0


class DirectoryPages:
    """Listings of the directory ``root`` (absolute)."""

    def __init__(self, name: str, root: str) -> None:
        self._root = root
        self._threads = DirectoryThreads(
            f"listings of {name}", threads_max=LISTING_THREADS, queue_max=LISTING_QUEUE_MAX
        )
        self._cache = NameCache()
        #: Pages made so far.
        self.pages_total = 0

    async def page(
        self, bucket: str, prefix: str, *, folds: bool, token: str, entries_max: int
    ) -> ListedPage:
        """See :meth:`cashy.origin.base.Origin.list_page`."""
        scope = f"{bucket}/{prefix}"
        try:
            after = position_of(token, scope) if token else None
        except S3Error:
            raise InvalidRequest("this is no token of a listing of that prefix: begin anew") from None
        query = ListingQuery(
            "objects-v2", bucket, prefix, "/" if folds else "", max_keys=entries_max, after=after
        )
        self.pages_total += 1
        page, _folders_read = await self._threads.ask(
            lambda question: list_page(self._root, query, self._cache, question.check), LISTING_S
        )
        next_token = make_token(page.last, scope) if page.is_truncated and page.last is not None else ""
        return ListedPage(_entries(page), next_token)

    def close(self) -> None:
        """Lets the threads end."""
        self._threads.close()


def _entries(page: Page) -> tuple[Listed, ...]:
    objects = [
        Listed(found.key.decode(), False, found.size_bytes, float(found.modified_s), found.etag.strip('"'))
        for found in page.found
    ]
    return tuple(sorted(objects + [Listed(prefix.decode(), True) for prefix in page.prefixes]))
