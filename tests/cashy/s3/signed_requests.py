"""Signed requests as bytes, so that tests can put any body behind a good head."""

from __future__ import annotations

import hashlib
import time

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from tests.cashy.s3.conftest import WRITER_KEY, Running

from cashy.core.aws_chunked import ChunkSigner
from cashy.core.sigv4 import prepared_key
from cashy.s3.credentials import Key

__all__ = ["signed", "signed_head", "signed_upload", "wait_for_end"]


def signed_head(
    url: str, method: str, target: str, headers: dict[str, str], payload: str, *, key: Key
) -> tuple[bytes, bytes]:
    """The head of a request without its end, and its signature."""
    request = botocore.awsrequest.AWSRequest(method, url + target, headers=headers)
    credentials = botocore.credentials.Credentials(key.key_id, key.secret)
    signer = botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1")
    signer.payload = lambda _: payload  # it would hash the body, which it has not
    signer.add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    lines.append("Host: " + url.removeprefix("http://"))
    head = f"{method} {target} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n"
    return head.encode(), request.headers["Authorization"].rpartition("=")[2].encode()


def signed(
    running: Running, method: str, target: str, headers: dict[str, str], payload: str, key: Key = WRITER_KEY
) -> tuple[bytes, bytes]:
    """The same for a worker under test."""
    return signed_head(running.url, method, target, headers, payload, key=key)


def signed_upload(url: str, target: str, content: bytes, *, key: Key) -> tuple[bytes, bytes]:
    """Head and body of a PUT in signed chunks of 64 KiB, on a connection of its own."""
    headers = {"x-amz-decoded-content-length": str(len(content)), "Content-Encoding": "aws-chunked"}
    head, seed = signed_head(url, "PUT", target, headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", key=key)
    lines = head.lower().split(b"\r\n")
    timestamp = next(line[-16:].upper() for line in lines if line.startswith(b"x-amz-date"))
    date = timestamp[:8]
    chain = ChunkSigner(
        prepared_key(key.secret, date, "us-east-1"), timestamp, date + b"/us-east-1/s3/aws4_request", seed
    )
    body = b""
    for part in [*(content[at : at + 65_536] for at in range(0, len(content), 65_536)), b""]:
        signature = chain.sign_chunk(hashlib.sha256(part).hexdigest().encode())
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(part), signature, part)
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body), body


def wait_for_end(running: Running) -> None:
    """Until no connection to the store is in use."""
    deadline = time.monotonic() + 10
    assert running.worker is not None
    while running.on_loop(running.worker.stores.counters)["store_links"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
