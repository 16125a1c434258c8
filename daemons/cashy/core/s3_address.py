"""Where a request for a bucket goes: host, port, Host header and path, in path style and virtual-host style, in any region.

Law. Pure, and the one place that decides it, for the master's reader and for the S3 workers' proxy alike: were they to differ, one would read
what the other does not write. Nothing is looked up here, and nothing remembered (:mod:`cashy.core.s3_regions` does).

* *A name that cannot stand in a host name goes path-style*, with the reason said: a host name is an IP address or DNS labels, and a wildcard
  certificate covers one label, so over TLS a bucket with dots has no virtual host.
* *A store may tell us a region, never a host.* Its redirect is read for the region only, and where that region is served we make of our own
  endpoint's name: ``s3.<region>.<domain>`` becomes that of another region of the same domain, any other endpoint stays what it is. So no answer
  can send credentials anywhere. Following ``Location`` under a check of its host was rejected: what a check lets through today by mistake, it
  lets through with a session token.
* *A path is encoded once and never normalised*: ``a/../b``, ``a//b`` and ``a%2Fb`` are three keys.

Sources: Amazon S3 User Guide, "Virtual hosting of general purpose buckets", "General purpose bucket naming rules", "Making requests using the
REST API: request redirection"; RFC 1123 2.1 (host names), RFC 6125 6.4.3 (wildcards), RFC 3986 (encoding).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit

from cashy.errors import ConfigError, InvalidName

__all__ = [
    "Addressing",
    "BucketAddress",
    "Endpoint",
    "KEY_BYTES_MAX",
    "aws_endpoint_url",
    "bucket_address",
    "endpoint_in_region",
    "is_region",
    "object_target",
    "parse_endpoint",
    "region_of_host",
]

Addressing: TypeAlias = Literal["path", "virtual-host"]

#: S3's own limit of a key, in UTF-8 (``KeyTooLongError``).
KEY_BYTES_MAX = 1024

_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_HOST_NAME_BYTES_MAX = 253  # RFC 1035 2.3.4, less the root's dot and length


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a store listens. ``authority`` is what the Host header says: the port is left out if it is the scheme's own. ``base_path`` stands
    before every path and may be empty.
    """

    host: str
    port: int
    is_tls: bool
    authority: str
    base_path: str


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where one bucket's requests go. ``prefix`` is the path of the bucket (empty: that of the host). ``why_path_style`` says why a bucket is not
    addressed by its virtual host, although it should be; else empty.
    """

    host: str
    port: int
    authority: str
    prefix: str
    why_path_style: str = ""


def parse_endpoint(url: str) -> Endpoint:
    """Reads ``http(s)://host[:port][/path]``; raises ConfigError."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is no endpoint; write http://host:port or https://host")
    if not url.isascii():
        raise ConfigError(f"{url!r}: write an international host name in its ASCII form (xn--…)")
    if parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(
            f"{url!r}: an endpoint has no query, fragment or user; credentials come from the AWS chain"
        )
    is_tls = parts.scheme == "https"
    port = port or (443 if is_tls else 80)
    host = parts.hostname
    return Endpoint(host, port, is_tls, _authority(host, port, is_tls=is_tls), parts.path.rstrip("/"))


def _authority(host: str, port: int, *, is_tls: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if is_tls else 80) else f"{name}:{port}"


def aws_endpoint_url(region: str) -> str:
    """Amazon's own endpoint of a region."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


# ---------------------------------------------------------------- addressing


def bucket_address(endpoint: Endpoint, addressing: Addressing, bucket: str) -> BucketAddress:
    """Where requests for a bucket go. Raises InvalidName for what cannot be a bucket's name."""
    if not _BUCKET.fullmatch(bucket):
        raise InvalidName(f"{bucket!r} is no bucket's name (letters, digits, '.', '-', '_')")
    reason = _why_no_virtual_host(endpoint, bucket) if addressing == "virtual-host" else ""
    if addressing == "path" or reason:
        prefix = f"{endpoint.base_path}/{bucket}"
        return BucketAddress(endpoint.host, endpoint.port, endpoint.authority, prefix, reason)
    host, authority = f"{bucket}.{endpoint.host}", f"{bucket}.{endpoint.authority}"
    return BucketAddress(host, endpoint.port, authority, endpoint.base_path)


def _why_no_virtual_host(endpoint: Endpoint, bucket: str) -> str:
    if _is_ip(endpoint.host):
        return f"the endpoint {endpoint.authority} is an IP address, which has no virtual hosts"
    if len(bucket) < 3 or not all(_LABEL.fullmatch(label) for label in bucket.split(".")):
        return f"the name {bucket!r} cannot stand in a host name"
    if endpoint.is_tls and "." in bucket:
        return f"the name {bucket!r} has dots, and a wildcard certificate covers one label only"
    if len(bucket) + 1 + len(endpoint.host) > _HOST_NAME_BYTES_MAX:
        return f"the host name of {bucket!r} would be longer than {_HOST_NAME_BYTES_MAX} characters"
    return ""


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def object_target(address: BucketAddress, key: str | None) -> str:
    """The encoded path of an object, or of the bucket if ``key`` is None; raises InvalidName.

    Unreserved characters (RFC 3986) and "/" stay, each other byte of the key's UTF-8 becomes ``%XX``.
    """
    if key is None:
        return address.prefix or "/"
    if not key:
        raise InvalidName("the key is empty")
    if _PLAIN.fullmatch(key):
        encoded, size = key, len(key)
    else:
        try:
            data = key.encode()
        except UnicodeEncodeError as error:
            raise InvalidName(f"{key!r} is not valid Unicode: {error}") from None
        encoded, size = quote(data, safe="/-_.~"), len(data)
    if size > KEY_BYTES_MAX:
        raise InvalidName(f"the key is {size} bytes long; S3 allows {KEY_BYTES_MAX}")
    return f"{address.prefix}/{encoded}"


# ---------------------------------------------------------------- regions


def is_region(text: str) -> bool:
    """Whether a store's word can be a region's name: it becomes a part of host names and signatures."""
    return _REGION.fullmatch(text) is not None


def endpoint_in_region(endpoint: Endpoint, own_region: str, region: str) -> Endpoint:
    """The endpoint that serves ``region``: a sibling of one whose name says its own region (or is Amazon's global one), else the same."""
    regional = _regional_name(endpoint.host, own_region)
    if regional is None or not is_region(region):
        return endpoint
    before, domain = regional
    host = f"{before}{region}.{domain}"
    return replace(endpoint, host=host, authority=_authority(host, endpoint.port, is_tls=endpoint.is_tls))


def region_of_host(endpoint: Endpoint, own_region: str, host: str) -> str:
    """The region that a redirect's host stands for, if it is one of the endpoint's own domain; else empty."""
    regional = _regional_name(endpoint.host, own_region)
    if regional is None:
        return ""
    match = re.search(
        rf"(?:^|\.)s3[.-](?:dualstack\.)?([a-z0-9-]+)\.{re.escape(regional[1])}(?::\d+)?$", host.lower()
    )
    return match[1] if match and is_region(match[1]) else ""


def _regional_name(host: str, own_region: str) -> tuple[str, str] | None:
    """What stands before the region and the domain after it, of a host that is named so: ``s3.`` and ``amazonaws.com``."""
    if host == "s3.amazonaws.com":
        return "s3.", "amazonaws.com"
    match = re.fullmatch(rf"(s3[.-](?:dualstack\.)?){re.escape(own_region)}\.(.+)", host)
    # A sibling under a top-level domain would be anybody's.
    if match is None or ("." not in match[2] and match[2] != "localhost"):
        return None
    return match[1], match[2]
