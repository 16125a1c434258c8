"""Signed GET requests, made quickly and in numbers, before the clock runs.

Each request names its key and carries its own date, so that no server gains by remembering a header it has verified.
SigV4 as in the AWS General Reference, "Signature Version 4 signing process"; a test compares it with botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections.abc import Sequence
from urllib.parse import quote

__all__ = ["plain_requests", "signed_request", "signed_requests"]

_EMPTY = hashlib.sha256(b"").hexdigest()
_NAMES = "host;x-amz-content-sha256;x-amz-date"
#: Dates lie within this time before now; S3 accepts requests that are up to 15 minutes old.
DATES_S = 600


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class _Signer:
    """One access key; remembers the derived key of each day."""

    def __init__(self, access_key: str, secret: str, region: str = "us-east-1") -> None:
        self._access_key = access_key
        self._secret = secret
        self._region = region
        self._keys: dict[str, bytes] = {}

    def _key(self, day: str) -> bytes:
        if day not in self._keys:
            key = _hmac(_hmac(b"AWS4" + self._secret.encode(), day), self._region)
            self._keys[day] = _hmac(_hmac(key, "s3"), "aws4_request")
        return self._keys[day]

    def headers(self, host: str, path: str, at_s: float) -> str:
        """The three headers of a signed GET without a body."""
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))
        scope = f"{date[:8]}/{self._region}/s3/aws4_request"
        canonical = f"GET\n{path}\n\nhost:{host}\nx-amz-content-sha256:{_EMPTY}\nx-amz-date:{date}\n\n{_NAMES}\n{_EMPTY}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = _hmac(self._key(date[:8]), f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}").hex()
        return (
            f"X-Amz-Date: {date}\r\nX-Amz-Content-SHA256: {_EMPTY}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, SignedHeaders={_NAMES}, "
            f"Signature={signature}\r\n"
        )


def _path(bucket: str, key: str) -> str:
    return f"/{bucket}/{quote(key, safe='-._~/')}"


def signed_request(
    host: str, bucket: str, key: str, *, access_key: str, secret: str, at_s: float | None = None
) -> bytes:
    """One signed GET, dated now unless told otherwise."""
    path = _path(bucket, key)
    headers = _Signer(access_key, secret).headers(host, path, time.time() if at_s is None else at_s)
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


def signed_requests(
    host: str, bucket: str, keys: Sequence[str], count: int, *, access_key: str, secret: str
) -> list[bytes]:
    """``count`` signed GETs, no two of which have both key and date in common (while ``count`` <= keys x dates)."""
    signer = _Signer(access_key, secret)
    now = int(time.time())
    numbers = random.Random(now).sample(range(max(count, len(keys) * DATES_S)), count)
    made = []
    for number in numbers:
        path = _path(bucket, keys[number % len(keys)])
        headers = signer.headers(host, path, now - number // len(keys) % DATES_S)
        made.append(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
    return made


def plain_requests(host: str, bucket: str, keys: Sequence[str], count: int) -> list[bytes]:
    """``count`` GETs without a signature, of random keys."""
    chosen = random.Random(time.time_ns()).choices(keys, k=count)
    return [f"GET {_path(bucket, key)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for key in chosen]
