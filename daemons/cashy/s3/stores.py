"""Which store a bucket is at: the worker's view of the configured origins.

Law: a request goes where reads of the same bucket come from. So origins are asked in their configured order, as the master does: the first S3 origin
whose patterns match takes it, unless a directory origin before it has a folder of that name. Of what only a directory has, nothing is
forwarded: writes are refused with the code for a method that this resource does not have, the rest is not implemented.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path

from cashy.core.names import OriginSpec
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import StoreAddress
from cashy.origin.s3_sign import parse_endpoint
from cashy.s3.limits import DIRECTORY_LOOK_S
from cashy.s3.store_pool import StorePlace, StorePool
from cashy.settings import DirectoryOriginSettings, OriginSettings, S3OriginSettings

__all__ = ["Store", "Stores"]


class Store:
    """One S3 origin; raises ConfigError for a malformed endpoint."""

    def __init__(self, settings: S3OriginSettings, *, tls: ssl.SSLContext | None = None) -> None:
        endpoint = parse_endpoint(settings.url)
        self.name = settings.name
        self.is_anonymous = settings.anonymous
        self.address = StoreAddress(endpoint.authority.encode(), endpoint.base_path.encode(), settings.region)
        self.spec = OriginSpec(settings.name, "s3", buckets=settings.buckets)
        if endpoint.is_tls and tls is None:
            tls = ssl.create_default_context()
        self.pool = StorePool(
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


class Stores:
    """All configured origins, in order."""

    def __init__(self, origins: Iterable[OriginSettings] = (), *, tls: ssl.SSLContext | None = None) -> None:
        self._origins: list[Store | Path] = [
            origin.path if isinstance(origin, DirectoryOriginSettings) else Store(origin, tls=tls)
            for origin in origins
        ]

    def __bool__(self) -> bool:
        return bool(self._origins)

    def first(self) -> Store:
        """The first store, which answers for what belongs to no bucket. Raises :class:`S3Error`."""
        for origin in self._origins:
            if isinstance(origin, Store):
                return origin
        raise S3Error("NotImplemented", "Buckets of a directory cannot be listed here.")

    async def find(self, bucket: str, right: str) -> Store:
        """The store of a bucket. Raises :class:`S3Error`, depending on the ``right`` that is needed, if it is not at one."""
        for origin in self._origins:
            if isinstance(origin, Path):
                if await _has_folder(origin, bucket):
                    raise _directory_error(right)
            elif origin.spec.answers_for(bucket):
                return origin
        raise S3Error("NoSuchBucket", details=(("BucketName", bucket),))

    def counters(self) -> dict[str, int]:
        """Figures of all stores together."""
        pools = [origin.pool for origin in self._origins if isinstance(origin, Store)]
        return {"store_links": sum(pool.links for pool in pools)}

    async def close(self) -> None:
        """Closes all connections."""
        for origin in self._origins:
            if isinstance(origin, Store):
                await origin.pool.close()


async def _has_folder(root: Path, bucket: str) -> bool:
    try:
        async with asyncio.timeout(DIRECTORY_LOOK_S):
            return await asyncio.to_thread(_is_folder, root / bucket)
    except TimeoutError:
        raise S3Error("ServiceUnavailable") from None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # what cannot be looked into may have it, and then a write must not go elsewhere
        return True


def _directory_error(right: str) -> S3Error:
    if right == "write":
        return S3Error("MethodNotAllowed", "Buckets that are directories cannot be written to.")
    return S3Error("NotImplemented", "This operation is not implemented for buckets that are directories.")
