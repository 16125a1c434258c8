"""Requests as bytes, and answers read back: no client library between a case and the wire.

Signatures are botocore's (:class:`botocore.auth.S3SigV4Auth`), so that no error of cashy's own can be on both sides; the chunks of streamed
bodies, which botocore does not sign any more, are signed here by the words of AWS's document.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import socket
import time
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import quote, unquote_to_bytes, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from tests.cashy.conformance.case import Call, Credentials, Form, Response
from tests.readable import readable

__all__ = ["Wire", "crc32_of", "filled", "http_date", "md5_of", "sha256_of", "signed_as_of_then"]

_PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\}")
_CHUNK_BYTES = 64 << 10
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()


def md5_of(data: bytes) -> str:
    """As in Content-MD5 (RFC 1864)."""
    return b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def sha256_of(data: bytes) -> str:
    """As in x-amz-checksum-sha256."""
    return b64encode(hashlib.sha256(data).digest()).decode()


def crc32_of(data: bytes) -> str:
    """As in x-amz-checksum-crc32."""
    return b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its placeholders filled in."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


class Wire:
    """A client of one endpoint with one kept-alive connection; a context manager.

    ``forgives``: a request is sent again if the server has just closed the kept-alive connection: what stores do is not ours to test.
    """

    def __init__(self, url: str, *, forgives: bool = False) -> None:
        self._forgives = forgives
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = (parts.hostname, parts.port)
        self.authority = f"{parts.hostname}:{parts.port}"
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, call: Call, values: Mapping[str, str]) -> Response:
        """Sends one request with its placeholders filled in; saves nothing."""
        head, body = _as_bytes(call, values, self.authority)
        is_fresh = not self._forgives
        while True:
            connection = self._connected()
            try:
                return self._exchange(connection, call, head, body)
            except BaseException as error:
                self.close()
                if is_fresh or not isinstance(error, ConnectionError):
                    raise
                is_fresh = True

    def _connected(self) -> socket.socket:
        if self._socket is not None and readable(self._socket.fileno(), timeout_s=0):
            self.close()  # nothing is due: it can only be the end
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _exchange(self, connection: socket.socket, call: Call, head: bytes, body: bytes) -> Response:
        was_told_to_continue = False
        if call.waits_for_continue:
            connection.sendall(head)
            was_told_to_continue = _is_interim(connection)
            if was_told_to_continue:
                connection.sendall(body)
        else:
            _send_all(connection, head + body)
        answer = http.client.HTTPResponse(connection, method=call.method)
        try:
            answer.begin()
            data = answer.read()
            headers: dict[str, str] = {}
            for name, value in answer.getheaders():
                name = name.lower()
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            if answer.will_close or call.waits_for_continue:
                self.close()
        finally:
            answer.close()
        return Response(answer.status, headers, data, was_told_to_continue)


def _send_all(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before its end: the answer says why


def _is_interim(connection: socket.socket) -> bool:
    """Whether 100 Continue comes; a final answer is left to be read."""
    begun = b""
    while len(begun) < 12:
        begun = connection.recv(12, socket.MSG_PEEK)
        if not begun:
            return False
    if not begun.startswith(b"HTTP/1.1 100"):
        return False
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += connection.recv(1)
    return True


# ---------------------------------------------------------------- from a call to bytes


def _as_bytes(call: Call, values: Mapping[str, str], authority: str) -> tuple[bytes, bytes]:
    target = filled(call.target, values)
    headers = {name: filled(value, values) for name, value in call.headers.items()}
    content = (
        filled(call.body.decode("latin-1"), values).encode("latin-1") if b"{" in call.body else call.body
    )
    if call.adds_md5:
        headers["Content-MD5"] = md5_of(content)
    given = call.credentials
    given = replace(given, key=filled(given.key, values), secret=filled(given.secret, values))
    if call.form is not None:
        content, headers["Content-Type"] = _form_body(call.form, values, given)
    framed = call.payload.startswith("STREAMING-")
    if framed:
        headers |= _streaming_headers(call, content)
    if call.signature == "header":
        request = _signed(call.method, target, headers, content, call.payload, given, authority)
        body = _chunked(call, content, request, given) if framed else content
        headers = dict(request.headers.items())
    elif call.signature == "query":
        target = _presigned(call.method, target, headers, given, authority)
        body = content
    else:
        body = content
    if call.rewrite_body is not None:
        body = call.rewrite_body(body)
    if body or call.method in ("PUT", "POST"):
        headers.setdefault("Content-Length", str(len(body)))
    headers.setdefault("Host", authority)
    for name, value in call.unsigned_headers.items():
        headers = {known: kept for known, kept in headers.items() if known.lower() != name.lower()}
        if value:
            headers[name] = filled(value, values)
    text = f"{call.method} {target} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()
    )
    if call.rewrite is not None:
        text = call.rewrite(text)
    return text.encode("latin-1") + b"\r\n", body


def _streaming_headers(call: Call, content: bytes) -> dict[str, str]:
    headers = {"x-amz-decoded-content-length": str(len(content))}
    if call.trailer is not None:
        headers["x-amz-trailer"] = call.trailer[0]
    if not any(name.lower() == "content-encoding" for name in call.headers):
        headers["Content-Encoding"] = "aws-chunked"
    return headers


def _canonical_target(target: str) -> str:
    """The target as it is signed: every byte but the unreserved ones encoded, once ("Create a canonical request")."""
    path, _, query = target.partition("?")
    canonical = quote(unquote_to_bytes(path), safe="/-_.~")
    if not query:
        return canonical
    pairs = [pair.partition("=") for pair in query.split("&")]
    encoded = [f"{_encoded(name)}={_encoded(value)}" for name, _, value in pairs]
    return f"{canonical}?{'&'.join(encoded)}"


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _signed(
    method: str,
    target: str,
    headers: dict[str, str],
    content: bytes,
    payload: str,
    given: Credentials,
    authority: str,
) -> Any:
    url = f"http://{authority}{_canonical_target(target)}"
    request = botocore.awsrequest.AWSRequest(method, url, headers=headers, data=content)
    credentials = botocore.credentials.Credentials(given.key, given.secret)
    signer = botocore.auth.S3SigV4Auth(credentials, given.service, given.region)
    if payload != "signed":
        signer.payload = lambda _: payload
    with _clock_at(given.age_s):
        signer.add_auth(request)
    return request


def _presigned(method: str, target: str, headers: dict[str, str], given: Credentials, authority: str) -> str:
    url = f"http://{authority}{_canonical_target(target)}"
    request = botocore.awsrequest.AWSRequest(method, url, headers=headers)
    credentials = botocore.credentials.Credentials(given.key, given.secret)
    signer = botocore.auth.S3SigV4QueryAuth(credentials, given.service, given.region, expires=given.expires_s)
    with _clock_at(given.age_s):
        signer.add_auth(request)
    signed_query = urlsplit(request.url).query
    return f"{target.partition('?')[0]}?{signed_query}"


_FORM_BOUNDARY = "----0123456789abcdef"


def _form_body(form: Form, values: Mapping[str, str], given: Credentials) -> tuple[bytes, str]:
    """The body, and its Content-Type; signed by botocore as :meth:`generate_presigned_post` does."""
    fields = {name: filled(value, values) for name, value in form.fields.items()}
    conditions: list[Any] = [{"bucket": values.get("bucket", "")}]
    conditions += [{name: value} for name, value in fields.items() if "${filename}" not in value]
    conditions += form.conditions
    expires_at = datetime.now(UTC) + timedelta(seconds=form.expires_s)
    document = {"expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": conditions}
    request = botocore.awsrequest.AWSRequest("POST", "http://h/")
    request.context["s3-presign-post-fields"] = fields
    request.context["s3-presign-post-policy"] = document
    if form.policy != "":
        credentials = botocore.credentials.Credentials(given.key, given.secret)
        with _clock_at(given.age_s):
            botocore.auth.S3SigV4PostAuth(credentials, given.service, given.region).add_auth(request)
        if form.policy is not None:
            fields["policy"] = b64encode(form.policy.encode()).decode()
            scope = fields["x-amz-credential"].split("/")
            fields["x-amz-signature"] = _signature(given.secret, scope[1:], fields["policy"])
    fields |= {name: filled(value, values) for name, value in form.changed.items()}
    parts = [_form_part(name, value.encode()) for name, value in fields.items() if value]
    if form.file is not None:
        parts.append(_form_part("file", form.file, f'; filename="{form.file_name}"'))
    parts += [_form_part(name, filled(value, values).encode()) for name, value in form.after.items()]
    return (
        b"".join(parts) + f"--{_FORM_BOUNDARY}--\r\n".encode(),
        f"multipart/form-data; boundary={_FORM_BOUNDARY}",
    )


def _form_part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{_FORM_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def _signature(secret: str, scope: Iterable[str], text: str) -> str:
    """By the words of "Calculating a signature"; botocore signs its own documents only."""
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


_age_s: ContextVar[float] = ContextVar("_age_s", default=0.0)


@contextmanager
def signed_as_of_then() -> Iterator[None]:
    """What is signed within is signed as of its credentials' age, in all threads."""
    with patch("botocore.auth.get_current_datetime", _then):
        yield


def _then(*_: object, **__: object) -> datetime:
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=_age_s.get())


@contextmanager
def _clock_at(age_s: float) -> Iterator[None]:
    """botocore signs as of ``age_s`` ago."""
    token = _age_s.set(age_s)
    try:
        yield
    finally:
        _age_s.reset(token)


# ---------------------------------------------------------------- bodies in chunks ("Signature calculations … chunked upload")


def _chunked(call: Call, content: bytes, request: Any, given: Credentials) -> bytes:
    pieces = [content[at : at + _CHUNK_BYTES] for at in range(0, len(content), _CHUNK_BYTES)]
    signs = call.payload.startswith("STREAMING-AWS4")
    chain = _Chain(request, given) if signs else None
    body = b""
    for piece in [*pieces, b""]:
        mark = f";chunk-signature={chain.chunk(piece)}" if chain else ""
        body += (
            f"{len(piece):x}{mark}\r\n".encode() + piece + (b"\r\n" if piece or call.trailer is None else b"")
        )
    if call.trailer is None:
        return body
    name, value = call.trailer
    line = f"{name}:{value}"
    body += f"{line}\r\n".encode()
    if chain:
        body += f"x-amz-trailer-signature:{chain.trailer(line)}\r\n".encode()
    return body + b"\r\n"


class _Chain:
    """Each chunk's signature covers the one before."""

    def __init__(self, request: Any, given: Credentials) -> None:
        self._stamp = request.headers["X-Amz-Date"]
        self._scope = f"{self._stamp[:8]}/{given.region}/{given.service}/aws4_request"
        key = b"AWS4" + given.secret.encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key
        self._last: str = request.headers["Authorization"].rpartition("=")[2]

    def chunk(self, piece: bytes) -> str:
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY_HASH}\n{hashlib.sha256(piece).hexdigest()}")

    def trailer(self, line: str) -> str:
        return self._sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(f"{line}\n".encode()).hexdigest())

    def _sign(self, algorithm: str, hashed: str) -> str:
        text = f"{algorithm}\n{self._stamp}\n{self._scope}\n{self._last}\n{hashed}"
        self._last = hmac.digest(self._key, text.encode(), "sha256").hex()
        return self._last


def http_date(age_s: float) -> str:
    """An IMF-fixdate (RFC 9110 5.6.7) of ``age_s`` ago."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - age_s))
