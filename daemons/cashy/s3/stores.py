"""Which place a bucket is at: the worker's view of the configured origins.

Law: a request goes where reads of the same bucket come from. So origins are asked in their configured order, as the master does: an S3 origin
takes what matches its patterns, a directory what it has a folder for. Where a directory behind an S3 origin has such a folder, the store is
asked whether it has the bucket, and only if it says no is it the directory's; in all other cases nothing is asked. A refusal counts as
a yes, as the caller's own requests would be refused there.

What a bucket that is a directory answers is said elsewhere (:mod:`cashy.s3.directory_bucket`).
"""

from __future__ import annotations

import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from cashy.core.names import OriginSpec
from cashy.core.s3_address import BucketAddress, parse_endpoint
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import StoreAddress
from cashy.core.s3_regions import BucketPlace, BucketPlaces
from cashy.s3.directory_place import DirectoryPlace
from cashy.s3.limits import STORE_ANSWER_VALID_S
from cashy.s3.store_link import StoreLink
from cashy.s3.store_pool import StorePlace, StorePools
from cashy.settings import DirectoryOriginSettings, OriginSettings, S3OriginSettings

__all__ = ["AskStore", "Place", "Store", "Stores"]

#: Buckets whose store is remembered for a moment, per caller.
_ANSWERS_MAX = 1024

_FIGURES = (
    "store_links",
    "listings_total",
    "listed_keys_total",
    "listing_folders_read_total",
    "listings_under_way",
    "listing_names_kept",
)


class Store:
    """One S3 origin; raises ConfigError for a malformed endpoint."""

    def __init__(self, settings: S3OriginSettings, *, tls: ssl.SSLContext | None = None) -> None:
        endpoint = self._endpoint = parse_endpoint(settings.url)
        self.name = settings.name
        self.is_anonymous = settings.anonymous
        self._region = settings.region
        self._places = BucketPlaces(endpoint, settings.addressing, settings.region)
        self.spec = OriginSpec(settings.name, "s3", buckets=settings.buckets)
        if endpoint.is_tls and tls is None:
            tls = ssl.create_default_context()
        self.pools = StorePools(
            StorePlace(
                settings.name,
                endpoint.host,
                endpoint.port,
                tls if endpoint.is_tls else None,
                settings.connections_max,
                settings.queue_max,
                settings.connect_timeout_s,
            )
        )

    def place_of(self, bucket: str) -> BucketPlace:
        """Where requests for a bucket go now; ``""`` for what belongs to none. Raises InvalidName."""
        if bucket:
            return self._places.of(bucket)
        endpoint = self._endpoint
        return BucketPlace(
            BucketAddress(endpoint.host, endpoint.port, endpoint.authority, endpoint.base_path),
            self._region,
            False,
        )

    def address_of(self, place: BucketPlace) -> StoreAddress:
        """The same for :func:`cashy.core.s3_forward.request_head`."""
        base_path = self._endpoint.base_path.encode()
        return StoreAddress(place.address.authority.encode(), base_path, place.region, place.has_bucket)

    def leased(self, place: BucketPlace, *, idle_max_s: float) -> AbstractAsyncContextManager[StoreLink]:
        """A link for one request, as :meth:`StorePool.leased`."""
        return self.pools.of(place.address.host, place.address.port).leased(idle_max_s=idle_max_s)

    def moved(
        self, bucket: str, asked: BucketPlace, status: int, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Takes an answer in; True if it tells that the bucket is in another region, which :meth:`place_of` now gives."""
        return bool(bucket) and self._places.moved(
            bucket, asked, status, headers, body.decode("utf-8", "replace")
        )


#: Where a bucket is.
Place: TypeAlias = Store | DirectoryPlace

#: Asks a store whether it has a bucket.
AskStore: TypeAlias = Callable[[Store, str], Awaitable[bool]]


class Stores:
    """All configured origins, in order."""

    def __init__(self, origins: Iterable[OriginSettings] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self.origins: list[Place] = [
            DirectoryPlace(origin.name, str(origin.path))
            if isinstance(origin, DirectoryOriginSettings)
            else Store(origin, tls=tls)
            for origin in origins
        ]
        self._answers: OrderedDict[tuple[str, str, str | None], tuple[float, bool]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self.origins)

    @property
    def has_directories(self) -> bool:
        """Whether there are buckets that no store lists."""
        return any(isinstance(origin, DirectoryPlace) for origin in self.origins)

    def first(self) -> Store:
        """The first store, which answers for what belongs to no bucket. Raises :class:`S3Error`."""
        for origin in self.origins:
            if isinstance(origin, Store):
                return origin
        raise S3Error("MethodNotAllowed")

    async def find(self, bucket: str, key_id: str | None, ask: AskStore) -> Place:
        """Where a bucket is, for the holder of a key. ``ask`` says whether a store has it.

        Raises :class:`S3Error` (NoSuchBucket), and a CashyError if a place that comes before cannot tell.
        """
        for at, origin in enumerate(self.origins):
            if isinstance(origin, DirectoryPlace):
                if await origin.has(bucket):
                    return origin
            elif origin.spec.answers_for(bucket) and (
                not await self._is_in_directory(bucket, at) or await self._ask(origin, bucket, key_id, ask)
            ):
                return origin
        raise S3Error("NoSuchBucket", details=(("BucketName", bucket),))

    async def _is_in_directory(self, bucket: str, behind: int) -> bool:
        for origin in self.origins[behind + 1 :]:
            if isinstance(origin, DirectoryPlace) and await origin.has(bucket):
                return True
        return False

    async def _ask(self, store: Store, bucket: str, key_id: str | None, ask: AskStore) -> bool:
        asked = store.name, bucket, key_id
        now = time.monotonic()
        known = self._answers.get(asked)
        if known is not None and known[0] > now:
            return known[1]
        answer = await ask(store, bucket)
        self._answers[asked] = now + STORE_ANSWER_VALID_S, answer
        self._answers.move_to_end(asked)
        if len(self._answers) > _ANSWERS_MAX:
            self._answers.popitem(last=False)
        return answer

    def counters(self) -> dict[str, int]:
        """Figures of all stores and directories together."""
        counts = Counter(dict.fromkeys(_FIGURES, 0))
        for origin in self.origins:
            if isinstance(origin, DirectoryPlace):
                counts.update(origin.counters())
            else:
                counts["store_links"] += origin.pools.links
        return dict(counts)

    async def close(self) -> None:
        """Closes all connections."""
        for origin in self.origins:
            if isinstance(origin, DirectoryPlace):
                origin.close()
            else:
                await origin.pools.close()
