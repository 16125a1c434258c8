"""The endpoint's edge with real daemons and boto3: buckets as hosts, https, a certificate that is replaced."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from tests.cashy.s3.certificates import Authority
from tests.system.harness import KEY, SECRET, DevHost, s3_client, started_store, wait_until
from tests.system.test_s3_proxy import exchange, worker_pid

pytestmark = pytest.mark.system

MIB = 1 << 20
DOMAIN = "s3.cashy.test"
BUCKET = "through"
#: boto3 sends a bucket with dots in the host over plain http only: no certificate's wildcard covers it.
DOTTED = "my.dotted.bucket"


@pytest.fixture(scope="module", autouse=True)
def every_name_is_here() -> Iterator[None]:
    """Resolves names under the domain to this host, as an operator's wildcard record would."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *rest: Any, **options: Any) -> Any:
        is_ours = isinstance(host, str) and host.endswith(DOMAIN)
        return resolve("127.0.0.1" if is_ours else host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve_here)
        yield


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with started_store() as url:
        yield url


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["http", "https"])
def host(
    request: pytest.FixtureRequest,
    store: str,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevHost]:
    config = f'[freshness]\nrevalidate_after_s = 0\n[s3]\ndomains = ["example.org", "{DOMAIN}"]\n'
    if request.param == "https":
        certificate, key = authority.issue(DOMAIN, f"*.{DOMAIN}")
        config += f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    with DevHost(tmp_path_factory.mktemp("host"), f"s3={store}", config=config) as host:
        assert host.url.startswith(f"{request.param}://")
        yield host


def client_of(host: DevHost, authority: Authority, style: str) -> Any:
    url = host.url.replace("127.0.0.1", DOMAIN)
    config = botocore.config.Config(
        signature_version="s3v4", s3={"addressing_style": style}, retries={"total_max_attempts": 1}
    )
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", verify=str(authority.file),
        aws_access_key_id=KEY, aws_secret_access_key=SECRET, config=config,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["virtual", "path"])
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sent() -> list[Any]:
    """What the client has sent, as botocore prepared it."""
    return []


@pytest.fixture
def client(host: DevHost, authority: Authority, style: str, sent: list[Any]) -> Iterator[Any]:
    client = client_of(host, authority, style)
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    yield client
    client.close()


@pytest.fixture(scope="module")
def direct(store: str) -> Iterator[Any]:
    client = s3_client(store)
    yield client
    client.close()


def body_of(client: Any, key: str, bucket: str = BUCKET) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def host_names(sent: list[Any]) -> set[str | None]:
    return {urllib.parse.urlsplit(request.url).hostname for request in sent}


# ---------------------------------------------------------------- actions in both styles


@pytest.mark.parametrize("key", ["plain", "a b+c", "ü/日本", "/leads", "q?x=1&y", "deep//er/../key"])
def test_objects(client: Any, direct: Any, style: str, sent: list[Any], key: str) -> None:
    data = key.encode() * 1000
    client.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata={"owner": "desk"})
    assert body_of(direct, key) == data
    assert body_of(client, key) == data
    assert body_of(client, key) == data  # from memory
    assert client.head_object(Bucket=BUCKET, Key=key)["Metadata"] == {"owner": "desk"}
    client.copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": key})
    assert body_of(direct, "copied") == data
    client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(ClientError, match="NoSuchKey"):
        body_of(client, key)
    assert host_names(sent) == {f"{BUCKET}.{DOMAIN}" if style == "virtual" else DOMAIN}


def test_bucket_actions(client: Any, direct: Any, style: str, sent: list[Any]) -> None:
    for number in range(7):
        direct.put_object(Bucket=BUCKET, Key=f"list/{number}", Body=b"x")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="list/", PaginationConfig={"PageSize": 3}
    )
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == [f"list/{n}" for n in range(7)]
    client.head_bucket(Bucket=BUCKET)
    keys = [{"Key": f"list/{number}"} for number in range(7)]
    assert len(client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})["Deleted"]) == 7
    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET, Prefix="list/")
    client.create_bucket(Bucket="short-lived")
    client.delete_bucket(Bucket="short-lived")
    with pytest.raises(ClientError, match=r"NoSuchBucket|404"):
        direct.head_bucket(Bucket="short-lived")
    if style == "virtual":
        assert host_names(sent) == {f"{BUCKET}.{DOMAIN}", f"short-lived.{DOMAIN}"}


def test_a_bucket_with_dots(client: Any, direct: Any, host: DevHost, style: str, sent: list[Any]) -> None:
    client.create_bucket(Bucket=DOTTED)
    client.put_object(Bucket=DOTTED, Key="k", Body=b"dotted")
    assert body_of(direct, "k", DOTTED) == b"dotted"
    assert body_of(client, "k", DOTTED) == b"dotted"
    client.delete_object(Bucket=DOTTED, Key="k")
    client.delete_bucket(Bucket=DOTTED)
    if style == "virtual" and host.url.startswith("http:"):
        assert host_names(sent) == {f"{DOTTED}.{DOMAIN}"}


def test_presigned_urls(client: Any, direct: Any, authority: Authority, style: str) -> None:
    def call(method: str, data: bytes | None = None, **parameters: str) -> bytes:
        url = client.generate_presigned_url(method, Params={"Bucket": BUCKET, **parameters})
        assert (urllib.parse.urlsplit(url).hostname == DOMAIN) is (style == "path")
        kind = {"put_object": "PUT", "delete_object": "DELETE"}.get(method, "GET")
        headers = {"Content-Type": "application/octet-stream"} if data else {}
        request = urllib.request.Request(url, data=data, method=kind, headers=headers)
        with urllib.request.urlopen(request, context=authority.client()) as answer:
            body: bytes = answer.read()
        return body

    call("put_object", b"by url", Key="pre signed")
    assert body_of(direct, "pre signed") == b"by url"
    assert call("get_object", Key="pre signed") == b"by url"
    assert b"<KeyCount>1</KeyCount>" in call("list_objects_v2", Prefix="pre signed")
    call("delete_object", Key="pre signed")
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        call("get_object", Key="pre signed")
    with caught.value as answer:
        assert f"<Resource>/{BUCKET}/pre%20signed</Resource>".encode() in answer.read()


def test_large_ones_in_parts_and_threads(
    client: Any, direct: Any, host: DevHost, sent: list[Any], tmp_path: Path
) -> None:
    data = os.urandom(11 * MIB + 12345)
    path = tmp_path / "file"
    path.write_bytes(data)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    client.upload_file(str(path), BUCKET, "parts", Config=config)
    assert body_of(direct, "parts") == data
    client.download_file(BUCKET, "parts", str(path), Config=config)
    assert path.read_bytes() == data
    kinds = {request.headers.get("X-Amz-Content-SHA256") for request in sent if request.method == "PUT"}
    if host.url.startswith("https:"):  # botocore trusts TLS, and sends its checksum behind the body
        assert b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" in {_as_bytes(kind) for kind in kinds}


def _as_bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 7])
def test_streams_with_a_trailing_checksum(
    client: Any, direct: Any, host: DevHost, sent: list[Any], tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        client.put_object(Bucket=BUCKET, Key="stream", Body=file, ChecksumAlgorithm="CRC32")
    assert body_of(direct, "stream") == data
    assert body_of(client, "stream") == data
    is_trailing = b"x-amz-checksum-crc32" in _as_bytes(sent[0].headers.get("X-Amz-Trailer"))
    assert is_trailing is host.url.startswith("https:")


# ---------------------------------------------------------------- the host is part of what is signed


def test_a_request_for_another_bucket_than_signed_is_refused(client: Any, host: DevHost) -> None:
    client.put_object(Bucket=BUCKET, Key="mine", Body=b"mine")
    url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "mine"})
    parts = urllib.parse.urlsplit(url)
    target = f"{parts.path}?{parts.query}"
    for name, status in ((parts.netloc, b"200"), (f"other.{DOMAIN}:{parts.port}", b"403")):
        for head in (
            f"GET {target} HTTP/1.1\r\nHost: {name}\r\n",
            f"GET http://{name}{target} HTTP/1.1\r\nHost: {parts.netloc}\r\n",
        ):
            answer = exchange(host.url, f"{head}Connection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 " + status), (name, head)


def test_what_can_be_no_bucket(host: DevHost) -> None:
    answer = exchange(host.url, f"GET /k HTTP/1.1\r\nHost: a..{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>InvalidBucketName</Code>" in answer


# ---------------------------------------------------------------- certificates


def test_a_new_certificate_at_sighup(
    store: str, authority: Authority, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    certificate, key = authority.issue(DOMAIN, suffix="-renewed")
    config = f'[s3]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    with DevHost(tmp_path, f"s3={store}", config=config) as host:
        kept = connection_to(host, authority)
        before = ping(kept)
        authority.issue(DOMAIN, suffix="-renewed")
        os.kill(worker_pid(host), signal.SIGHUP)
        wait_until(lambda: certificate_now(host, authority) != before)
        assert ping(kept) == before  # the same connection, never interrupted
        kept.close()
        renewed = certificate_now(host, authority)
        certificate.write_text("nonsense")
        os.kill(worker_pid(host), signal.SIGHUP)
        wait_until(lambda: "holds no certificate" in host.log())
        assert certificate_now(host, authority) == renewed


def connection_to(host: DevHost, authority: Authority) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host.url.removeprefix("https://"), context=authority.client())


def ping(connection: http.client.HTTPSConnection) -> Any:
    connection.request("OPTIONS", "*")
    with connection.getresponse() as answer:
        answer.read()
        assert answer.status == 200
    assert isinstance(connection.sock, ssl.SSLSocket)
    return connection.sock.getpeercert()


def certificate_now(host: DevHost, authority: Authority) -> Any:
    connection = connection_to(host, authority)
    try:
        return ping(connection)
    finally:
        connection.close()
