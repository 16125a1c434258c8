"""cashy: a read cache of one host over shared memory. ``import cashy`` is the client library.

::

    with cashy.connect() as cache:                          # $CASHY_SOCKET, else /run/cashy/cashy.sock
        with cache.open("s3://bucket/key") as obj:          # or file:///mnt/nfs/…
            array = np.frombuffer(obj.view(), np.float32)   # one contiguous read-only view, no copy
        array.sum()                                         # still valid: the array keeps its blocks pinned

Names are imported when they are first used, so that the daemons, which live in this package too, do not load the client, and
a client loads no daemon. :mod:`cashy.aio` is the same for asyncio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cashy.client import aio as aio
    from cashy.client.cache import Cache, CachedObject, connect
    from cashy.client.listing import Listed
    from cashy.client.meta import Location, Meta
    from cashy.errors import (
        AccessDenied,
        ArenaFull,
        CashyError,
        DeadlineExceeded,
        InternalError,
        InvalidName,
        InvalidRequest,
        NoSuchBucket,
        NoSuchObject,
        NotConnected,
        OriginInvalid,
        OriginTimeout,
        OriginUnavailable,
        PinQuotaExceeded,
        SlowDown,
        TooLarge,
        VersionChanged,
        ViewTooLarge,
    )

__all__ = [
    "connect", "Cache", "CachedObject", "Listed", "Location", "Meta", "aio",
    "AccessDenied", "ArenaFull", "CashyError", "DeadlineExceeded", "InternalError", "InvalidName", "InvalidRequest", "NoSuchBucket", "NoSuchObject",
    "NotConnected", "OriginInvalid", "OriginTimeout", "OriginUnavailable", "PinQuotaExceeded", "SlowDown", "TooLarge",
    "VersionChanged", "ViewTooLarge",
]  # fmt: skip

_HOMES = {
    "connect": "cashy.client.cache",
    "Cache": "cashy.client.cache",
    "CachedObject": "cashy.client.cache",
}
_HOMES |= {"Listed": "cashy.client.listing"}
_HOMES |= {"Location": "cashy.client.meta", "Meta": "cashy.client.meta"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "aio":
        value: Any = importlib.import_module("cashy.client.aio")
    else:
        value = getattr(importlib.import_module(_HOMES.get(name, "cashy.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
