"""Writing through cashy with boto3, before two real stores: moto, and SeaweedFS, which verifies every signature."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import socket
import ssl
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from tests.cashy.s3.signed_requests import signed_head, signed_upload

from cashy.s3.credentials import Key

from .harness import KEY, SECRET, DevHost, s3_client, started_store

pytestmark = pytest.mark.system

MIB = 1 << 20


@pytest.fixture(scope="module", params=["moto", "weed"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "moto":
        with started_store() as url:
            yield url
    else:
        yield request.getfixturevalue("weed").url


@pytest.fixture(scope="module")
def host(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    config = "[freshness]\nrevalidate_after_s = 0\n"
    with DevHost(tmp_path_factory.mktemp("host"), f"s3={store}", config=config) as host:
        yield host


@pytest.fixture(scope="module")
def client(host: DevHost) -> Any:
    client = host.s3()
    client.create_bucket(Bucket="through")
    return client


@pytest.fixture(scope="module")
def direct(store: str) -> Iterator[Any]:
    client = s3_client(store)
    yield client
    client.close()


def body_of(client: Any, key: str) -> bytes:
    body: bytes = client.get_object(Bucket="through", Key=key)["Body"].read()
    return body


def keys(client: Any, **arguments: Any) -> list[str]:
    answer = client.list_objects_v2(Bucket="through", **arguments)
    return [entry["Key"] for entry in answer.get("Contents", [])]


def put_request(url: str, data: bytes) -> urllib.request.Request:
    # urllib's own default is a form's type, of which moto takes the body apart.
    return urllib.request.Request(
        url, data=data, method="PUT", headers={"Content-Type": "application/octet-stream"}
    )


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    code: str = caught.value.response["Error"]["Code"]
    return code


# ---------------------------------------------------------------- one object


@pytest.mark.parametrize("key", ["plain", "a b+c", "ü/日本", "q?x=1&y", "~!*'()", "deep/er/key"])
def test_put_get_head_delete(client: Any, direct: Any, key: str) -> None:
    data = key.encode() * 1000
    client.put_object(Bucket="through", Key=key, Body=data, ContentType="text/x", Metadata={"owner": "desk"})
    assert body_of(direct, key) == data
    assert body_of(client, key) == data
    head = client.head_object(Bucket="through", Key=key)
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (
        len(data), "text/x", {"owner": "desk"},
    )  # fmt: skip
    client.delete_object(Bucket="through", Key=key)
    assert refusal(direct.get_object, Bucket="through", Key=key) == "NoSuchKey"
    assert refusal(client.get_object, Bucket="through", Key=key) == "NoSuchKey"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums(client: Any, direct: Any, algorithm: str) -> None:
    client.put_object(Bucket="through", Key="sums", Body=b"hello" * 999, ChecksumAlgorithm=algorithm)
    assert body_of(direct, "sums") == b"hello" * 999


def test_a_wrong_md5_is_the_stores_business(client: Any, direct: Any) -> None:
    """moto takes it, SeaweedFS does not; through cashy it is the same."""
    outcomes = []
    for one, key in ((direct, "bad-direct"), (client, "bad-through")):
        try:
            one.put_object(Bucket="through", Key=key, Body=b"hello", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
            outcomes.append("taken")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
            assert key not in keys(direct)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("data", [b"", b"x"])
def test_smallest(client: Any, direct: Any, data: bytes) -> None:
    client.put_object(Bucket="through", Key="smallest", Body=data)
    assert body_of(direct, "smallest") == data
    assert body_of(client, "smallest") == data


def test_copy(client: Any, direct: Any) -> None:
    client.put_object(Bucket="through", Key="from here/ü", Body=b"copied")
    client.copy_object(
        Bucket="through", Key="to there", CopySource={"Bucket": "through", "Key": "from here/ü"}
    )
    assert body_of(direct, "to there") == b"copied"
    assert body_of(client, "to there") == b"copied"


def test_list_and_delete_many(client: Any, direct: Any) -> None:
    names = [f"many/{number} <&> ü" for number in range(20)]
    for name in names:
        direct.put_object(Bucket="through", Key=name, Body=b"x")
    assert keys(client, Prefix="many/") == sorted(names)
    paginator = client.get_paginator("list_objects_v2")
    pages = list(paginator.paginate(Bucket="through", Prefix="many/", PaginationConfig={"PageSize": 7}))
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(names)
    answer = client.delete_objects(Bucket="through", Delete={"Objects": [{"Key": name} for name in names]})
    assert len(answer["Deleted"]) == 20
    assert keys(direct, Prefix="many/") == []


def test_buckets(client: Any, direct: Any) -> None:
    client.create_bucket(Bucket="another")
    assert "another" in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    client.head_bucket(Bucket="another")
    client.delete_bucket(Bucket="another")
    assert "another" not in [bucket["Name"] for bucket in direct.list_buckets()["Buckets"]]


def test_errors_of_the_store_come_through(client: Any) -> None:
    assert refusal(client.list_objects_v2, Bucket="no-such-bucket") == "NoSuchBucket"
    upload = {"Bucket": "through", "Key": "k", "UploadId": "00000000-0000-0000-0000-000000000000"}
    assert refusal(client.abort_multipart_upload, **upload) == "NoSuchUpload"


def test_presigned_urls(client: Any, direct: Any) -> None:
    url = client.generate_presigned_url("put_object", Params={"Bucket": "through", "Key": "pre signed"})
    with urllib.request.urlopen(put_request(url, b"by url")) as answer:
        assert answer.status == 200
    assert body_of(direct, "pre signed") == b"by url"
    url = client.generate_presigned_url("list_objects_v2", Params={"Bucket": "through", "Prefix": "pre s"})
    with urllib.request.urlopen(url) as answer:
        assert re.search(b"<Key>pre(%20|[+ ])signed</Key>", answer.read())
    url = client.generate_presigned_url("delete_object", Params={"Bucket": "through", "Key": "pre signed"})
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE")) as answer:
        assert answer.status == 204


# ---------------------------------------------------------------- aws-chunked


def exchange(url: str, data: bytes) -> bytes:
    parts = urllib.parse.urlsplit(url)
    with ExitStack() as stack:
        raw: socket.socket = stack.enter_context(
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)
        )
        if parts.scheme == "https":
            raw = stack.enter_context(ssl._create_unverified_context().wrap_socket(raw))
        raw.sendall(data)
        received = b""
        while piece := raw.recv(1 << 16):
            received += piece
        return received


@pytest.mark.parametrize("size", [1, 5000, 3 * MIB + 7])
def test_signed_chunks(host: DevHost, client: Any, direct: Any, size: int) -> None:
    content = os.urandom(size)
    head, body = signed_upload(host.url, "/through/chunks", content, key=Key(KEY, SECRET))
    assert exchange(host.url, head + body).startswith(b"HTTP/1.1 200 ")
    answer = direct.get_object(Bucket="through", Key="chunks")
    assert answer["Body"].read() == content
    assert answer.get("ContentEncoding", "") == ""


@pytest.mark.parametrize("size", [0, 1, 5000, 3 * MIB + 7])
def test_unsigned_chunks_with_a_trailing_checksum(host: DevHost, client: Any, direct: Any, size: int) -> None:
    content = os.urandom(size)
    checksum = base64.b64encode(zlib.crc32(content).to_bytes(4, "big"))
    headers = {
        "x-amz-decoded-content-length": str(size), "Content-Encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32",
    }  # fmt: skip
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    head, _ = signed_head(host.url, "PUT", "/through/trailer", headers, payload, key=Key(KEY, SECRET))
    chunk = b"%x\r\n%b\r\n" % (size, content) if size else b""
    body = chunk + b"0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % checksum
    data = head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    got = exchange(host.url, data)
    assert got.startswith(b"HTTP/1.1 200 "), got
    answer = direct.get_object(Bucket="through", Key="trailer")
    assert answer["Body"].read() == content


# ---------------------------------------------------------------- large ones


class Stream(io.RawIOBase):
    """So many bytes that repeat, never all in memory; seekable, as boto3 wants to hash them first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._at = 0
        self._pattern = bytes(range(251)) * 4177  # about 1 MiB

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = {0: 0, 1: self._at, 2: self._length}[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        start = self._at % 251
        count = min(len(buffer), self._length - self._at, len(self._pattern) - start)
        buffer[:count] = self._pattern[start : start + count]
        self._at += count
        return count


def digest(stream: Any) -> str:
    hashed = hashlib.sha256()
    while piece := stream.read(MIB):
        hashed.update(piece)
    return hashed.hexdigest()


def worker_pid(host: DevHost) -> int:
    children = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text().split()
    for pid in map(int, children):
        if b"\0s3\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no worker found")


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def test_sixty_four_mebibytes_in_one_put_and_little_memory(host: DevHost, client: Any, direct: Any) -> None:
    pid = worker_pid(host)
    before = private_bytes(pid)
    highest = 0
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(client.put_object, Bucket="through", Key="large", Body=Stream(64 * MIB))
        while not done.done():
            highest = max(highest, private_bytes(pid))
            time.sleep(0.005)
        done.result()
    assert digest(direct.get_object(Bucket="through", Key="large")["Body"]) == digest(Stream(64 * MIB))
    assert digest(client.get_object(Bucket="through", Key="large")["Body"]) == digest(Stream(64 * MIB))
    assert highest - before < 16 * MIB
    client.delete_object(Bucket="through", Key="large")


def test_upload_file_with_threads(client: Any, direct: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(21 * MIB + 12345)
    path.write_bytes(data)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    client.upload_file(str(path), "through", "parts", Config=config)
    assert body_of(direct, "parts") == data
    assert body_of(client, "parts") == data
    client.download_file("through", "parts", str(path), Config=config)
    assert path.read_bytes() == data


def test_a_multipart_upload_step_by_step(client: Any, direct: Any) -> None:
    what = {"Bucket": "through", "Key": "steps"}
    upload = client.create_multipart_upload(**what)["UploadId"]
    parts = []
    for number, data in ((1, b"a" * 5 * MIB), (2, b"end")):
        answer = client.upload_part(**what, UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    listed = client.list_parts(**what, UploadId=upload)["Parts"]
    assert [part["Size"] for part in listed] == [5 * MIB, 3]
    client.complete_multipart_upload(**what, UploadId=upload, MultipartUpload={"Parts": parts})
    assert body_of(direct, "steps") == b"a" * 5 * MIB + b"end"


# ---------------------------------------------------------------- what stops in the middle


@pytest.mark.parametrize("is_overwrite", [False, True])
def test_an_upload_that_is_cut_off_leaves_nothing(
    host: DevHost, client: Any, direct: Any, is_overwrite: bool
) -> None:
    if is_overwrite:
        client.put_object(Bucket="through", Key="cut off", Body=b"old")
    url = client.generate_presigned_url("put_object", Params={"Bucket": "through", "Key": "cut off"})
    parts = urllib.parse.urlsplit(url)
    head = (
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 9000000\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as raw:
        raw.sendall(head.encode() + b"x" * 8_999_999)
        time.sleep(0.3)
    time.sleep(0.5)
    if is_overwrite:
        assert body_of(direct, "cut off") == b"old"
        client.delete_object(Bucket="through", Key="cut off")
    else:
        assert "cut off" not in keys(direct)


def test_a_hash_that_does_not_fit_leaves_nothing(host: DevHost, client: Any, direct: Any) -> None:
    def change(request: Any, **_: Any) -> None:
        request.body = b"other" * 40_000

    changing = host.s3()
    changing.meta.events.register("before-send.s3.PutObject", change)
    code = refusal(changing.put_object, Bucket="through", Key="changed", Body=b"hello" * 40_000)
    assert code == "XAmzContentSHA256Mismatch"
    assert "changed" not in keys(direct)


def test_rights(host: DevHost, direct: Any) -> None:
    wrong = host.s3(secret="wrong")
    assert refusal(wrong.put_object, Bucket="through", Key="x", Body=b"x") == "SignatureDoesNotMatch"
    stranger = host.s3(key="AKIDSTRANGER")
    assert refusal(stranger.delete_object, Bucket="through", Key="x") == "InvalidAccessKeyId"
