"""Writes the recorded part of ``corpus/``: what boto3 and curl really send, byte for byte. By hand, when clients have changed::

    python -m tests.cashy.s3.record_corpus

Every action goes to a socket that keeps the request and says 200, over plain HTTP and over TLS (botocore frames bodies otherwise there).
Signed are they with the keys of the tests; whoever replays them sets the worker's clock to the request's own date.
"""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.config
from tests.cashy.s3.certificates import Authority
from tests.cashy.s3.conftest import WRITER_KEY
from tests.cashy.s3.test_http_head import SIMPLE, SMUGGLING

CORPUS = Path(__file__).parent / "corpus"
_OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'


class Recorder:
    """Takes one request per connection; says 100 to who expects it."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            peer.settimeout(0.5)
            with self._tls.wrap_socket(peer, server_side=True) if self._tls else peer as secure:
                self.requests.append(self._read(secure))
                secure.sendall(_OK)

    def _read(self, peer: socket.socket) -> bytes:
        data = b""
        try:
            while chunk := peer.recv(1 << 16):
                data += chunk
                if data.endswith(b"\r\n\r\n") and b"100-continue" in data and data.count(b"\r\n\r\n") == 1:
                    peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        except TimeoutError:
            pass
        return data


def boto3_actions(client: Any) -> dict[str, Callable[[], object]]:
    """By the name of the file that each goes to."""
    what = {"Bucket": "data-1", "Key": "k"}
    parts = {"Parts": [{"ETag": '"e"', "PartNumber": 1}]}
    return {
        "get": lambda: client.get_object(**what),
        "get-range": lambda: client.get_object(**what, Range="bytes=1-3"),
        "get-if-none-match": lambda: client.get_object(**what, IfNoneMatch='"v1"'),
        "get-overrides": lambda: client.get_object(**what, ResponseContentType="text/plain"),
        "get-key-encoded": lambda: client.get_object(Bucket="data-1", Key="a b+c/ü~(1)*'!"),
        "get-missing": lambda: client.get_object(Bucket="data-1", Key="missing"),
        "head": lambda: client.head_object(**what),
        "put-bytes": lambda: client.put_object(**what, Body=b"hello"),
        "put-stream-crc32": lambda: client.put_object(
            **what, Body=io.BytesIO(b"hello" * 50), ChecksumAlgorithm="CRC32"
        ),
        "put-sha256": lambda: client.put_object(**what, Body=b"hello", ChecksumAlgorithm="SHA256"),
        "put-empty": lambda: client.put_object(**what, Body=b""),
        "delete": lambda: client.delete_object(**what),
        "delete-many": lambda: client.delete_objects(
            Bucket="data-1", Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]}
        ),
        "list": lambda: client.list_objects_v2(Bucket="data-1", Prefix="a/", Delimiter="/"),
        "list-buckets": lambda: client.list_buckets(),
        "copy": lambda: client.copy_object(**what, CopySource={"Bucket": "data-1", "Key": "other"}),
        "create-multipart": lambda: client.create_multipart_upload(**what),
        "upload-part": lambda: client.upload_part(**what, UploadId="u", PartNumber=1, Body=b"part" * 30),
        "complete-multipart": lambda: client.complete_multipart_upload(
            **what, UploadId="u", MultipartUpload=parts
        ),
    }


def record_boto3(recorder: Recorder, scheme: str, authority: Authority) -> None:
    """One file for each action."""
    client = boto3.client(
        "s3", endpoint_url=f"{scheme}://127.0.0.1:{recorder.port}", region_name="us-east-1",
        aws_access_key_id=WRITER_KEY.key_id, aws_secret_access_key=WRITER_KEY.secret,
        verify=str(authority.file),
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, user_agent="Boto3", signature_version="s3v4",
        ),
    )  # fmt: skip
    for name, action in boto3_actions(client).items():
        if scheme == "https" and not name.startswith(("put", "upload")):
            continue  # sent as over http
        try:
            action()
        except Exception as error:  # of an answer that says nothing
            print(f"{scheme} {name}: {error}")
        (CORPUS / f"boto3-{scheme}-{name}.http").write_bytes(recorder.requests.pop())
    url = client.generate_presigned_url("get_object", Params={"Bucket": "data-1", "Key": "k"})
    subprocess.run(["curl", "-s", "-A", "curl", "--cacert", authority.file, url], check=True)
    (CORPUS / f"curl-{scheme}-presigned-get.http").write_bytes(recorder.requests.pop())
    if scheme == "http":
        record_form(recorder, client)


def record_form(recorder: Recorder, client: Any) -> None:
    """An upload by a form that boto3 has signed and curl sends; its policy is valid for long."""
    form = client.generate_presigned_post("data-1", "k", ExpiresIn=3_000_000_000)
    fields = [option for name, value in form["fields"].items() for option in ("-F", f"{name}={value}")]
    url = f"http://127.0.0.1:{recorder.port}/data-1"
    subprocess.run(
        ["curl", "-s", "-A", "curl", *fields, "-F", "file=hello;filename=a.txt;type=text/plain", url],
        check=True,
    )
    data = recorder.requests.pop()
    (CORPUS / "curl-signed-form.http").write_bytes(data)


def record_curl(recorder: Recorder, file: Path) -> None:
    """curl's own signing, its uploads and its oddities."""
    url = f"http://127.0.0.1:{recorder.port}/data-1/k"
    sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{WRITER_KEY.key_id}:{WRITER_KEY.secret}"]
    unsigned = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    for name, options in {
        "get": [url],
        "get-http-1.0": ["--http1.0", url],
        "get-h2c": ["--http2", url],
        "head": ["-I", url],
        "get-signed": [*sign, *unsigned, url],
        "put-signed": [*sign, *unsigned, "-T", str(file), url],
        "put-signed-expect": [*sign, *unsigned, "-H", "Expect: 100-continue", "-T", str(file), url],
        "put-signed-h2c": ["--http2", *sign, *unsigned, "-T", str(file), url],
        "put-chunked": [*sign, *unsigned, "-H", "Transfer-Encoding: chunked", "-T", str(file), url],
        "options-asterisk": ["-X", "OPTIONS", "--request-target", "*", url],
        "absolute-form": ["-x", f"http://127.0.0.1:{recorder.port}", url],
        "post-form": ["-F", "key=k", "-F", f"file=@{file}", url],
    }.items():
        subprocess.run(["curl", "-s", "-A", "curl", *options], check=False, stdout=subprocess.DEVNULL)
        (CORPUS / f"curl-{name}.http").write_bytes(recorder.requests.pop())


def write_shapes() -> None:
    """What no client of good faith sends, from the table of the parser's tests; each with a request behind it."""
    for name, data in SMUGGLING.items():
        if len(data) < 10_000:
            (CORPUS / f"smuggle-{name.replace(' ', '-')}.http").write_bytes(data + SIMPLE)


def main() -> None:
    """Records everything anew."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(*authority.issue())
        file = Path(folder) / "file"
        file.write_bytes(b"curl sends this\n" * 20)
        record_boto3(Recorder(None), "http", authority)
        record_boto3(Recorder(secure), "https", authority)
        record_curl(Recorder(None), file)
    write_shapes()


if __name__ == "__main__":
    main()
