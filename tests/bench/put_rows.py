"""Uploads through the S3 proxy against the same uploads to the store itself: signed, with the body's SHA-256, which the proxy verifies."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.system.harness import KEY, SECRET, s3_client

from .local_rows import MIB, started_host
from .machine import LOAD_CORE
from .objects import BUCKET, content, digest_of
from .peers import seaweedfs
from .row import Bench, Measurement, alternate

__all__ = ["upload"]

_PUT_TIMEOUT_S = 120.0


def _megabytes_per_s(url: str, key: str, body: bytes) -> float:
    """One PutObject on a connection of its own, in 10^6 bytes per second."""
    target = f"{url}/{BUCKET}/{key}"
    request = AWSRequest("PUT", target, data=body, headers={"Content-Length": str(len(body))})
    request.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1").add_auth(request)
    address = urlsplit(url)
    connection = http.client.HTTPConnection(
        str(address.hostname), address.port, timeout=_PUT_TIMEOUT_S, blocksize=MIB
    )
    began = time.perf_counter()
    connection.request("PUT", f"/{BUCKET}/{key}", body=body, headers=dict(request.headers))
    answer = connection.getresponse()
    said = answer.read()
    seconds = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"PUT {target}: {answer.status} {said[:300]!r}")
    return len(body) / 1e6 / seconds


def upload(bench: Bench) -> Measurement:
    """An object of 256 MiB, a new one each time; the last one is read back and compared."""
    size = bench.scaled(256, 8) * MIB
    body = content("put", size)
    folder = bench.folder / "weed"
    folder.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(seaweedfs(folder, core=LOAD_CORE))
        host = stack.enter_context(started_host(bench, "host", f"s3={store.url}", memory="128MiB", workers=1))
        client = s3_client(store.url)

        def put(url: str) -> Callable[[], float]:
            def once() -> float:
                rate = _megabytes_per_s(url, "put", body)
                stored = client.get_object(Bucket=BUCKET, Key="put")["Body"]
                with stored:
                    assert digest_of(stored.read()) == digest_of(body), "wrong bytes"
                return rate

            return once

        return alternate(bench, put(host.url), put(store.url))
