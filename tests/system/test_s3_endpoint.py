"""The S3 endpoint over both kinds of origin, through real daemons and boto3."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import resource
import signal
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .harness import DevHost, s3_client, started_store, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20
AWKWARD_KEYS = [
    "a b",
    "plus+plus",
    "per%2Fcent",
    "ünïcode/日本",
    "dots/..x/.y",
    "q?x=1&y#z",
    "colon:comma,'quote'",
]


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with started_store() as url:
        with contextlib.closing(s3_client(url)) as direct:
            direct.create_bucket(Bucket="stored")
        yield url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    return folder


@pytest.fixture(scope="module")
def host(store: str, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    folder = tmp_path_factory.mktemp("host")
    # The directory names no buckets and comes last: what the store does not have is looked for there.
    with DevHost(folder, f"s3={store}", f"file={files}", memory="64MiB") as made:
        yield made


@pytest.fixture(scope="module")
def client(host: DevHost) -> Any:
    return host.s3()


def put(store: str, files: Path, bucket: str, key: str, data: bytes, **more: Any) -> None:
    if bucket == "stored":
        with contextlib.closing(s3_client(store)) as direct:
            direct.put_object(Bucket=bucket, Key=key, Body=data, **more)
        return
    path = files / bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def raw(url: str, request: bytes, *, timeout_s: float = 10.0) -> bytes:
    """Sends bytes as they are and reads until the server closes or is silent."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout_s) as sock:
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            sock.sendall(request)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while data := sock.recv(65536):
                answer += data
        return answer


@pytest.mark.parametrize("bucket", ["stored", "folder"])
@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 18 * MIB + 5])
def test_get_object_cold_and_warm(client: Any, store: str, files: Path, bucket: str, size: int) -> None:
    data = os.urandom(size)
    put(store, files, bucket, f"size-{size}", data)
    for _ in range(2):
        answer = client.get_object(Bucket=bucket, Key=f"size-{size}")
        assert answer["ContentLength"] == size
        assert hashlib.sha256(answer["Body"].read()).digest() == hashlib.sha256(data).digest()
    head = client.head_object(Bucket=bucket, Key=f"size-{size}")
    assert (head["ContentLength"], head["ETag"]) == (size, answer["ETag"])


@pytest.mark.parametrize("bucket", ["stored", "folder"])
@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_keys_are_what_the_client_means(client: Any, store: str, files: Path, bucket: str, key: str) -> None:
    put(store, files, bucket, key, key.encode())
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


@pytest.mark.parametrize("bucket", ["stored", "folder"])
def test_ranges(client: Any, store: str, files: Path, bucket: str) -> None:
    data = os.urandom(9 * MIB + 3)
    put(store, files, bucket, "ranged", data)
    cases = {
        "bytes=0-0": (0, 1),
        "bytes=4194300-4194310": (4194300, 4194311),
        "bytes=9000000-": (9000000, len(data)),
        "bytes=-7": (len(data) - 7, len(data)),
        "bytes=5-99999999": (5, len(data)),
    }
    for _ in range(2):
        for header, (start, stop) in cases.items():
            answer = client.get_object(Bucket=bucket, Key="ranged", Range=header)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert answer["ContentRange"] == f"bytes {start}-{stop - 1}/{len(data)}"
            assert answer["Body"].read() == data[start:stop]
    with pytest.raises(ClientError, match="InvalidRange"):
        client.get_object(Bucket=bucket, Key="ranged", Range=f"bytes={len(data)}-")


def test_metadata_of_the_store_is_passed_on(client: Any, store: str, files: Path) -> None:
    put(
        store, files, "stored", "described", b"x", ContentType="text/csv", CacheControl="max-age=60", Metadata={"owner": "desk"}
    )  # fmt: skip
    with contextlib.closing(s3_client(store)) as store_client:
        direct = store_client.get_object(Bucket="stored", Key="described")
        direct["Body"].read()
    for _ in range(2):
        answer = client.get_object(Bucket="stored", Key="described")
        assert answer["Body"].read() == b"x"
        for field in ("ETag", "LastModified", "ContentType", "CacheControl", "Metadata"):
            assert answer[field] == direct[field]


def test_hits_ask_neither_the_origin_nor_the_master(
    host: DevHost, client: Any, store: str, files: Path
) -> None:
    put(store, files, "stored", "hot", b"h" * 100_000)
    client.get_object(Bucket="stored", Key="hot")["Body"].read()
    os.kill(host.master_pid(), signal.SIGSTOP)
    try:
        for _ in range(20):
            assert client.get_object(Bucket="stored", Key="hot")["Body"].read() == b"h" * 100_000
    finally:
        _continue_master(host)


def _continue_master(host: DevHost) -> None:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit():
                status = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
                if int(status[1]) == host.process.pid and status[0] == "T":
                    os.kill(int(name), signal.SIGCONT)


def test_a_presigned_url_works_and_a_changed_one_does_not(
    host: DevHost, client: Any, store: str, files: Path
) -> None:
    put(store, files, "stored", "signed", b"signed bytes")
    url = client.generate_presigned_url(
        "get_object", Params={"Bucket": "stored", "Key": "signed"}, ExpiresIn=60
    )
    parts = urllib.parse.urlsplit(url)
    for query, status in (
        (parts.query, 200),
        (parts.query.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), 403),
    ):
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        connection.request("GET", f"{parts.path}?{query}")
        answer = connection.getresponse()
        assert answer.status == status, answer.read()
        answer.read()
        connection.close()


def test_errors_are_s3s_own(host: DevHost, client: Any) -> None:
    for bucket, key, code in (
        ("stored", "missing", "NoSuchKey"),
        ("no-such-bucket", "x", "NoSuchBucket"),
        ("folder", "../../etc/passwd", None),
    ):
        with pytest.raises(ClientError) as caught:
            client.get_object(Bucket=bucket, Key=key)
        if code:
            assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        host.s3(secret="wrong").get_object(Bucket="stored", Key="hot")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        host.s3(key="AKIDSTRANGER").get_object(Bucket="stored", Key="hot")
    # The store is asked first, and has no such bucket, so it is the directory's, which is not written to.
    assert client.list_objects_v2(Bucket="folder")["Name"] == "folder"
    with pytest.raises(ClientError, match="MethodNotAllowed"):
        client.put_object(Bucket="folder", Key="x", Body=b"x")
    assert (
        b"403"
        in raw(host.url, b"GET /stored/hot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split(b"\r\n")[
            0
        ]
    )


@pytest.mark.parametrize(
    "request_bytes",
    [
        os.urandom(2000),
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * MIB + b"\r\n\r\n",
        b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b/k HTTP/1.1\r\n\r\n",
        b"GET /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["random", "1-MB-header", "1-MB-path", "no-host", "smuggling", "tls"],
)
def test_garbage_is_refused_and_harms_nobody(
    host: DevHost, client: Any, store: str, files: Path, request_bytes: bytes
) -> None:
    put(store, files, "stored", "good", b"good")
    answer = raw(host.url, request_bytes, timeout_s=15)
    assert answer == b"" or answer.split(b" ")[1][:1] == b"4"
    assert client.get_object(Bucket="stored", Key="good")["Body"].read() == b"good"


def test_two_thousand_idle_connections(host: DevHost, client: Any, store: str, files: Path) -> None:
    put(store, files, "stored", "good", b"good")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    parts = urllib.parse.urlsplit(host.url)
    idle = []
    try:
        for _ in range(2000):
            idle.append(socket.create_connection((parts.hostname, parts.port), timeout=10))
        for _ in range(10):
            assert client.get_object(Bucket="stored", Key="good")["Body"].read() == b"good"
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _start_slowly(url: str, path: str) -> socket.socket:
    parts = urllib.parse.urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((parts.hostname, parts.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    sock.settimeout(30)
    return sock


def _rest_of(sock: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 20):
            answer += data
    return answer.split(b"\r\n\r\n", 1)[1]


def test_a_stalled_reader_gets_its_own_bytes_though_everything_is_evicted(
    files: Path, tmp_path: Path
) -> None:
    marked = b"".join(b"%08d" % number for number in range(MIB))
    put("", files, "folder", "stalled", marked)
    for number in range(20):
        put("", files, "folder", f"flood-{number}", bytes([number]) * (4 * MIB))
    config = "[s3]\nanonymous = true\nsend_timeout_s = 120.0\n"
    with (
        DevHost(tmp_path, f"file={files}", memory="32MiB", block="1MiB", config=config) as host,
        contextlib.ExitStack() as stack,
    ):
        stalled = [stack.enter_context(_start_slowly(host.url, "/folder/stalled")) for _ in range(4)]
        time.sleep(0.5)
        flood = host.s3()
        for _ in range(2):
            for number in range(20):
                assert flood.get_object(Bucket="folder", Key=f"flood-{number}")["Body"].read() == bytes(
                    [number]
                ) * (4 * MIB)
        assert host.counters()["slots_evicted"] > 60
        with ThreadPoolExecutor(4) as pool:
            for got in pool.map(_rest_of, stalled):
                assert got == marked


def test_a_large_object_streams_through_little_memory(files: Path, tmp_path: Path) -> None:
    size = 2 << 30
    path = files / "folder" / "large"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 8)
        file.write(b"the end.")
    with DevHost(tmp_path, f"file={files}", memory="256MiB") as host:
        body = host.s3().get_object(Bucket="folder", Key="large")["Body"]
        seen, tail = 0, b""
        for chunk in iter(lambda: body.read(4 * MIB), b""):
            seen += len(chunk)
            tail = (tail + chunk)[-8:]
        assert (seen, tail) == (size, b"the end.")
    path.unlink()


def test_workers_and_master_may_be_killed(files: Path, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB)
    put("", files, "folder", "kept", data)
    with DevHost(tmp_path, f"file={files}", memory="64MiB") as host:
        client = host.s3(retries=8)
        for _ in range(2):
            pid = host.kill_master()
            wait_until(lambda pid=pid: _master_is_not(host, pid), what="a new master")  # type: ignore[misc]
            assert client.get_object(Bucket="folder", Key="kept")["Body"].read() == data
        worker = next(child for child in _children(host) if child != host.master_pid())
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in _children(host) and len(_children(host)) == 2, what="a new worker")
        wait_until(lambda: _answers(host.url), what="the endpoint")
        assert client.get_object(Bucket="folder", Key="kept")["Body"].read() == data


def _children(host: DevHost) -> list[int]:
    return [
        int(pid)
        for pid in Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text().split()
    ]


def _answers(url: str) -> bool:
    try:
        return raw(url, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1")
    except OSError:
        return False


def _master_is_not(host: DevHost, pid: int) -> bool:
    try:
        return host.master_pid() != pid
    except ConnectionError:
        return False


def test_many_clients_at_once_get_right_bytes(host: DevHost, store: str, files: Path) -> None:
    objects = {f"many-{number}": os.urandom(200_000 + number) for number in range(40)}
    for key, data in objects.items():
        put(store, files, "stored", key, data)
    wrong: list[str] = []

    def read_all() -> None:
        client = host.s3()
        for key, data in objects.items():
            if client.get_object(Bucket="stored", Key=key)["Body"].read() != data:
                wrong.append(key)

    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
