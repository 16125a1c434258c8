"""What the worker itself asks a store on a caller's behalf: has it this bucket, and which ones; what does it say to a HEAD of this object?

Law: asked as the caller, with its credentials at the store, so that nobody learns from the answer what the store would not tell it. Answers are read
whole, so they are bounded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cashy.core.s3_forward import request_head
from cashy.core.s3_listing_buckets import StoreBuckets, read_buckets
from cashy.core.s3_regions import REGION_HOPS_MAX, BucketPlace
from cashy.core.sigv4 import EMPTY_SHA256
from cashy.errors import OriginInvalid, OriginUnavailable
from cashy.s3.limits import STORE_IDLE_S, STORE_LIST_BYTES_MAX

if TYPE_CHECKING:
    from cashy.s3.stores import Store
    from cashy.s3.worker import Worker

__all__ = ["buckets_of", "has_bucket", "object_head"]


async def has_bucket(worker: Worker, store: Store, key_id: str | None, bucket: str) -> bool:
    """Whether the store has a bucket, or will not tell this caller. Raises a CashyError if the store fails."""
    status, _, _ = await _ask(worker, store, key_id, b"HEAD", bucket, b"/" + bucket.encode())
    if status >= 500:
        raise OriginUnavailable(f"{store.name} answers {status} to the question whether it has a bucket")
    return status != 404


async def object_head(
    worker: Worker, store: Store, key_id: str | None, bucket: str, path: bytes
) -> tuple[int, dict[str, str]]:
    """Status and headers of HeadObject for this caller; ``path`` is ``/bucket/key``, percent-encoded. Raises a CashyError if the store fails.

    It asks for checksums, too. So a store also looks whether the caller may decrypt the object, as it does at a GET and not at other HEADs.
    """
    status, headers, _ = await _ask(worker, store, key_id, b"HEAD", bucket, path, _WITH_CHECKSUMS)
    return status, headers


async def buckets_of(worker: Worker, store: Store, key_id: str | None) -> dict[str, int]:
    """The buckets that a store shows to this caller, with their dates; none where it refuses. Raises a CashyError if the store fails."""
    status, _, body = await _ask(worker, store, key_id, b"GET", "", b"/")
    if 400 <= status < 500:
        return {}
    if status != 200:
        raise OriginUnavailable(f"{store.name} answers {status} to the question which buckets it has")
    answer: StoreBuckets = read_buckets(body)
    if answer.next_token is not None:  # S3 divides this list only for who asks it to
        raise OriginInvalid(f"{store.name} gives a part of its buckets only")
    return answer.buckets


_NO_HEADERS: Mapping[bytes, bytes] = {}
_WITH_CHECKSUMS: Mapping[bytes, bytes] = {b"x-amz-checksum-mode": b"ENABLED"}


async def _ask(
    worker: Worker,
    store: Store,
    key_id: str | None,
    method: bytes,
    bucket: str,
    path: bytes,
    more: Mapping[bytes, bytes] = _NO_HEADERS,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a question about a bucket, or about all (an empty name); asked once more, on a new connection, if one was
    closed, and where the bucket is in another region than it was.
    """
    hops = 0
    while True:
        place = store.place_of(bucket)
        try:
            status, headers, body = await _ask_once(
                worker, store, key_id, method, path, more, place, STORE_IDLE_S
            )
        except OriginUnavailable:
            status, headers, body = await _ask_once(worker, store, key_id, method, path, more, place, -1.0)
        if hops == REGION_HOPS_MAX or not store.moved(bucket, place, status, headers, body):
            return status, headers, body
        hops += 1


async def _ask_once(
    worker: Worker,
    store: Store,
    key_id: str | None,
    method: bytes,
    path: bytes,
    more: Mapping[bytes, bytes],
    place: BucketPlace,
    idle_max_s: float,
) -> tuple[int, dict[str, str], bytes]:
    head = request_head(
        method, path, b"", more,
        address=store.address_of(place),
        key=None if store.is_anonymous else worker.credentials.at_store(key_id),
        payload=EMPTY_SHA256,
        length=None,
        epoch_s=time.time(),
    )  # fmt: skip
    body = bytearray()
    async with store.leased(place, idle_max_s=idle_max_s) as link:
        link.begin(is_head=method == b"HEAD")
        link.write(head)
        link.sent()
        status, headers = await link.head(worker.options.store_head_s)
        while piece := await link.piece(worker.options.store_progress_s):
            body += piece
            if len(body) > STORE_LIST_BYTES_MAX:
                raise OriginInvalid(f"{store.name} gives a list of more than {STORE_LIST_BYTES_MAX} bytes")
    return status, headers, bytes(body)
