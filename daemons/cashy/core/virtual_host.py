"""Which bucket a Host header names: S3's virtual-host style, turned into path style.

Law. Pure: names in, names out. A request's host is either one of the endpoint's own domains, or a bucket and a dot before one of
them, or any other name; only the second is virtual-host style. From here on there is one form of a request, ``/bucket/key``: what tells
actions apart, decides rights and writes to the store never sees a host, so no rule can hold in one style and be forgotten in the other.
The signature alone is over the path *as sent*, and is verified with that.

* The longest domain wins: with ``example.com`` and ``s3.example.com``, ``a.s3.example.com`` is the bucket ``a``, and ``s3.example.com`` no
  bucket at all. A bucket's name may have dots.
* Hosts have no case (RFC 9110 4.2.3), so a bucket that is addressed by host is written in small letters.
* The path is kept byte by byte behind the bucket: an empty one and ``/`` alone are the bucket itself, ``//k`` is the key ``/k``.

A host must be one (:func:`is_authority`): letters, digits, ``.``, ``-``, ``_``, or an address. RFC 3986 allows more in a ``reg-name``
(``,``, ``%``, ``;`` …), which no resolver and no certificate has, and which only helps two readers to understand one header differently.

Source: Amazon S3 User Guide, "Virtual hosting of general purpose buckets"; RFC 9112 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from cashy.core.s3_errors import S3Error

__all__ = ["HOSTS_KEPT_MAX", "HOST_BYTES_MAX", "VirtualHosts", "is_authority"]

#: DNS allows a name 253 characters; a trailing dot may follow.
HOST_BYTES_MAX = 254

#: Hosts whose bucket is remembered; a client uses one per bucket. Looking one up anew takes 2 us.
HOSTS_KEPT_MAX = 1024

_AUTHORITY = re.compile(rb"([A-Za-z0-9._-]{1,%d}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?" % HOST_BYTES_MAX)
_BUCKET = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def is_authority(host: bytes) -> bool:
    """Whether it is ``host`` or ``host:port``, of a name or an IP address."""
    return _AUTHORITY.fullmatch(host) is not None


class VirtualHosts:
    """The domains of an endpoint; without any, every request is path style."""

    def __init__(self, domains: Iterable[str] = ()) -> None:
        names = {domain.lower().rstrip(".").encode() for domain in domains}
        self._domains = sorted(names, key=len, reverse=True)
        self._known_bucket_of = lru_cache(maxsize=HOSTS_KEPT_MAX)(self._find_bucket)

    def path_style(self, path: bytes, host: bytes | None) -> bytes:
        """The path with the bucket that ``host`` (as sent, None if there is none) names before it; as it is in path style.

        Raises :class:`S3Error` (InvalidBucketName) if what stands before the domain cannot be a bucket.
        """
        if not self._domains or host is None:
            return path
        bucket = self._known_bucket_of(host)
        return b"/" + bucket + path if bucket else path

    def _find_bucket(self, host: bytes) -> bytes:
        match = _AUTHORITY.fullmatch(host)
        name = match[1].lower().removesuffix(b".") if match is not None else b""
        for domain in self._domains:
            if name == domain:
                return b""
            if name.endswith(b"." + domain):
                return _checked(name[: -len(domain) - 1])
        return b""


def _checked(bucket: bytes) -> bytes:
    if _BUCKET.fullmatch(bucket) is None:
        raise S3Error("InvalidBucketName", details=(("BucketName", bucket.decode()),))
    return bucket
