"""A small S3 of several regions on loopback: real HTTP, signatures verified by botocore, redirects as S3 gives them.

Each region listens under ``s3.<region>.localhost`` and ``<bucket>.s3.<region>.localhost`` (names under localhost are this host), all on one
port. Its bare address is a custom endpoint: it serves every bucket, and minds only for which region a request is signed.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials

__all__ = ["Key", "RegionStore", "Seen", "region_store"]

REGIONS = ("us-east-1", "eu-west-3", "ap-south-2")
_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3\.(?P<region>[a-z0-9-]+)\.localhost")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([^,]+), Signature=(\w{64})"
)


@dataclass(frozen=True)
class Key:
    """A secret, and the session token that must come with it."""

    secret: str
    token: str | None = None


@dataclass(frozen=True)
class Seen:
    """A request that came, and how it was answered. ``region`` is the one it was signed for."""

    method: str
    host: str
    path: str
    region: str
    access_key: str
    status: int


@dataclass
class RegionStore:
    """Buckets by their region, objects by (bucket, key), keys by their id."""

    port: int = 0
    buckets: dict[str, str] = field(default_factory=dict)
    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=lambda: {"AKIDEXAMPLE": Key("secret")})
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    #: Answers 307 with a Location, as while the name of a new bucket spreads, in place of 301.
    is_temporary: bool = False
    #: What redirects name in place of the bucket's own host.
    location: str = ""
    tells_region: bool = True

    def url(self, region: str = "") -> str:
        """The endpoint of a region, or without one the custom endpoint."""
        host = f"s3.{region}.localhost" if region else "127.0.0.1"
        return f"http://{host}:{self.port}"


class _Verifier(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer over exactly the headers that were signed; by itself it leaves user-agent out."""

    def headers_to_sign(self, request: Any) -> Any:
        message = http.client.HTTPMessage()
        for name, value in request.headers.items():
            message[name.lower()] = value
        return message


class _Refused(Exception):
    def __init__(self, status: int, code: str, extra: str = "", **headers: str) -> None:
        self.status = status
        self.body = f"<Error><Code>{code}</Code><Message>said so</Message>{extra}</Error>".encode()
        self.headers = headers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: RegionStore

    def setup(self) -> None:
        super().setup()
        self.store.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        self.body = self.rfile.read(length)
        self.signed_for = self.access_key = ""
        try:
            self._answer()
        except _Refused as refused:
            self._say(refused.status, refused.body, **refused.headers)

    def _answer(self) -> None:
        store = self.store
        bucket, key, host_region = self._address()
        region = store.buckets.get(bucket)
        if region is None:
            raise _Refused(404, "NoSuchBucket")
        self._check_signature(host_region or region)
        if host_region and host_region != region:
            self._redirect(bucket, region)
        if self.command == "PUT":
            store.objects[bucket, key] = self.body
            self._say(200, b"", etag=_etag(self.body))
            return
        if not key:
            self._say(200, b"")
            return
        data = store.objects.get((bucket, key))
        if data is None:
            raise _Refused(404, "NoSuchKey")
        self._say_object(data)

    def _address(self) -> tuple[str, str, str]:
        host = self.headers["host"].partition(":")[0]
        path = self.path.partition("?")[0].removeprefix("/")
        match = _HOST.fullmatch(host)
        if match is not None and match["bucket"]:
            return match["bucket"], path, match["region"]
        bucket, _, key = path.partition("/")
        return bucket, key, match["region"] if match is not None else ""

    def _redirect(self, bucket: str, region: str) -> None:
        store = self.store
        place = store.location or f"{bucket}.s3.{region}.localhost:{store.port}"
        told = {"x-amz-bucket-region": region} if store.tells_region else {}
        if store.is_temporary:
            raise _Refused(307, "TemporaryRedirect", location=f"http://{place}{self.path}", **told)
        raise _Refused(301, "PermanentRedirect", f"<Endpoint>{place}</Endpoint>", **told)

    def _check_signature(self, region: str) -> None:
        """By botocore's own signer, over what was sent."""
        match = _AUTHORIZATION.fullmatch(self.headers.get("authorization", ""))
        if match is None:
            raise _Refused(403, "AccessDenied")
        self.access_key, date, self.signed_for, names, signature = match.groups()
        if self.signed_for != region:
            raise _Refused(400, "AuthorizationHeaderMalformed", f"<Region>{region}</Region>")
        key = self.store.keys.get(self.access_key)
        if key is None:
            raise _Refused(403, "InvalidAccessKeyId")
        if self.headers.get("x-amz-security-token") != key.token:
            raise _Refused(400, "InvalidToken")
        if hashlib.sha256(self.body).hexdigest() != self.headers["x-amz-content-sha256"]:
            raise _Refused(400, "XAmzContentSHA256Mismatch")
        signed = {name: self.headers[name] for name in names.split(";")}
        request = botocore.awsrequest.AWSRequest(
            self.command, f"http://{self.headers['host']}{self.path}", headers=signed
        )
        request.context["timestamp"] = self.headers["x-amz-date"]
        assert date == self.headers["x-amz-date"][:8]
        signer = _Verifier(botocore.credentials.Credentials(self.access_key, key.secret), "s3", region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        if signer.signature(text, request) != signature:
            raise _Refused(403, "SignatureDoesNotMatch")
        if key.token is not None and "x-amz-security-token" not in names.split(";"):
            raise _Refused(403, "AccessDenied")

    def _say_object(self, data: bytes) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        fields = {"etag": _etag(data), "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
        if self.headers.get("if-match", fields["etag"]) != fields["etag"]:
            raise _Refused(412, "PreconditionFailed")
        if match is None:
            self._say(200, data, **fields)
            return
        first, last = int(match[1]), min(int(match[2]), len(data) - 1)
        fields["content-range"] = f"bytes {first}-{last}/{len(data)}"
        self._say(206, data[first : last + 1], **fields)

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        seen = Seen(self.command, self.headers["host"], self.path, self.signed_for, self.access_key, status)
        self.store.seen.append(seen)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def region_store(**buckets: str) -> Iterator[RegionStore]:
    """A running store; ``buckets`` are names with their regions ("_" stands for "-")."""
    store = RegionStore(buckets={name.replace("_", "-"): region for name, region in buckets.items()})
    handler = type("Handler", (_Handler,), {"store": store})
    with _Server(("127.0.0.1", 0), handler) as server:
        store.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
