"""Which region each bucket of a store lies in: configured, or learnt from the store's own redirects.

Law. Pure. A bucket is asked for in the configured region until the store says another one; then its requests are signed for that region, and go
to its endpoint if the configured one has siblings (:func:`cashy.core.s3_address.endpoint_in_region`). What is learnt of a bucket is bounded, and
forgotten least recently used first: forgetting costs one redirect. A redirect to the region that was asked already is none, so two
stores that send a request to and fro end it at the caller's limit of hops.

S3 tells the region in the header ``x-amz-bucket-region`` (also to HEAD), in ``<Region>`` of AuthorizationHeaderMalformed, and in the host of a
temporary redirect. Whatever else an answer names is not followed.

Source: Amazon S3 User Guide, "Making requests using the REST API: request redirection"; Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cashy.core.s3_address import (
    Addressing,
    BucketAddress,
    Endpoint,
    bucket_address,
    endpoint_in_region,
    is_region,
    region_of_host,
)

__all__ = ["BUCKETS_REMEMBERED_MAX", "BucketPlace", "BucketPlaces", "REGION_HOPS_MAX"]

#: Buckets whose place is kept; each takes about 500 bytes.
BUCKETS_REMEMBERED_MAX = 4096

#: Redirects that one request follows: to the region that the bucket had, and once more if it has just been moved.
REGION_HOPS_MAX = 2

_REDIRECTS = (301, 302, 307, 308)
_REGION_ERRORS = ("", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where one bucket's requests go, and for which region they are signed. ``has_bucket``: the host is the bucket's own."""

    address: BucketAddress
    region: str
    has_bucket: bool


class BucketPlaces:
    """The buckets of one endpoint."""

    def __init__(self, endpoint: Endpoint, addressing: Addressing, region: str) -> None:
        self._endpoint = endpoint
        self._addressing = addressing
        self._region = region
        self._places: OrderedDict[str, BucketPlace] = OrderedDict()

    def of(self, bucket: str) -> BucketPlace:
        """Where the bucket's requests go now. Raises InvalidName for what cannot be a bucket's name."""
        place = self._places.get(bucket)
        if place is not None:
            self._places.move_to_end(bucket)
            return place
        return self._put(bucket, self._region)

    def moved(
        self, bucket: str, asked: BucketPlace, status: int, headers: Mapping[str, str], body: str
    ) -> bool:
        """Takes an answer in that came from ``asked``. True if it tells another region, so that :meth:`of` gives another place to ask.

        ``headers`` have lower-case names; ``body`` may be empty (HEAD) or no XML at all.
        """
        if status not in _REDIRECTS and status != 400:
            return False
        region = self._told(status, headers, body)
        if not is_region(region) or region == asked.region:
            return False
        self._put(bucket, region)
        return True

    def _told(self, status: int, headers: Mapping[str, str], body: str) -> str:
        if status == 400 and _element("Code", body) not in _REGION_ERRORS:
            return ""
        told = headers.get("x-amz-bucket-region", "") or _element("Region", body)
        if told or status == 400:
            return told
        hosts = _element("Endpoint", body), _host_of(headers.get("location", ""))
        found = (region_of_host(self._endpoint, self._region, host) for host in hosts if host)
        return next((region for region in found if region), "")

    def _put(self, bucket: str, region: str) -> BucketPlace:
        endpoint = endpoint_in_region(self._endpoint, self._region, region)
        address = bucket_address(endpoint, self._addressing, bucket)
        place = self._places[bucket] = BucketPlace(address, region, address.host != endpoint.host)
        self._places.move_to_end(bucket)
        if len(self._places) > BUCKETS_REMEMBERED_MAX:
            self._places.popitem(last=False)
        return place


def _host_of(url: str) -> str:
    """The host and port of a URL, empty if it is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _element(name: str, text: str) -> str:
    match = re.search(f"<{name}>([^<]*)</{name}>", text)
    return html.unescape(match[1]).strip() if match else ""
