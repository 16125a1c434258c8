"""boto3: objects, conditions, ranges, threaded transfers, copies, lists, presigned URLs."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from common import Where, code_of, digest, main, sample

MIB = 1 << 20


def client_of(url: str) -> Any:
    config = Config(
        s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 2}
    )
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)


def objects(writer: Any, reader: Any, bucket: str) -> dict[str, Any]:
    etag = writer.put_object(
        Bucket=bucket, Key="a/ü +%.txt", Body=b"hello", ContentType="text/x", Metadata={"colour": "blue"}, CacheControl="max-age=5"
    )["ETag"]  # fmt: skip
    where = {"Bucket": bucket, "Key": "a/ü +%.txt"}
    got = reader.get_object(**where)
    seen = {
        "body": got["Body"].read().decode(),
        "headers": [got["ContentType"], got["Metadata"], got["CacheControl"], got["ETag"] == etag],
        "head": reader.head_object(**where)["ContentLength"],
        "range": reader.get_object(**where, Range="bytes=1-3")["Body"].read().decode(),
        "suffix": reader.get_object(**where, Range="bytes=-2")["Body"].read().decode(),
        "not modified": code_of(lambda: reader.get_object(**where, IfNoneMatch=etag), ClientError),
        "precondition": code_of(lambda: reader.get_object(**where, IfMatch='"other"'), ClientError),
        "beyond": code_of(lambda: reader.get_object(**where, Range="bytes=99-"), ClientError),
        "absent": code_of(lambda: reader.get_object(Bucket=bucket, Key="absent"), ClientError),
        "no bucket": code_of(lambda: reader.get_object(Bucket="no-such-bucket-here", Key="k"), ClientError),
    }
    writer.put_object(**where, Body=b"replaced")
    seen["replaced"] = reader.get_object(**where)["Body"].read().decode()
    writer.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/ü +%.txt"})
    seen["copy"] = reader.get_object(Bucket=bucket, Key="copy")["Body"].read().decode()
    writer.delete_object(**where)
    seen["deleted"] = code_of(lambda: reader.head_object(**where), ClientError)
    return seen


def transfers(writer: Any, reader: Any, where: Where) -> dict[str, Any]:
    data = sample(33 * MIB + 7)
    (where.folder / "up").write_bytes(data)
    threaded = TransferConfig(
        multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=6, use_threads=True
    )
    writer.upload_file(str(where.folder / "up"), where.bucket, "large", Config=threaded)
    reader.download_file(where.bucket, "large", str(where.folder / "down"), Config=threaded)
    return {
        "same": (where.folder / "down").read_bytes() == data,
        "parts": reader.head_object(Bucket=where.bucket, Key="large")["ETag"][-3:],
    }


def lists(writer: Any, reader: Any, bucket: str) -> dict[str, Any]:
    for number in range(7):
        writer.put_object(Bucket=bucket, Key=f"list/{number}", Body=b"x" * number)
    pages = reader.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 3}
    )
    found = [[(entry["Key"], entry["Size"]) for entry in page["Contents"]] for page in pages]
    top = reader.list_objects_v2(Bucket=bucket, Delimiter="/")
    doomed = [{"Key": f"list/{number}"} for number in range(6)]
    writer.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    left = reader.list_objects_v2(Bucket=bucket, Prefix="list/")["Contents"]
    prefixes = [entry["Prefix"] for entry in top["CommonPrefixes"]]
    return {"pages": found, "prefixes": prefixes, "left": [entry["Key"] for entry in left]}


def presigned(writer: Any, reader: Any, bucket: str) -> dict[str, Any]:
    where = {"Bucket": bucket, "Key": "presigned"}
    request = urllib.request.Request(
        writer.generate_presigned_url("put_object", where), b"through a URL", method="PUT"
    )
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request) as answer:
        status = answer.status
    with urllib.request.urlopen(reader.generate_presigned_url("get_object", where)) as answer:
        seen = {"put": status, "get": answer.read().decode()}
    for content in (b"by a form", sample(MIB)):  # over what the readers have by then
        form = writer.generate_presigned_post(
            bucket, "forms/${filename}", Fields={"acl": "private"}, Conditions=[{"acl": "private"}, ["content-length-range", 1, MIB]]
        )  # fmt: skip
        seen["form"] = post(form, "a b.txt", content)
        got = reader.get_object(Bucket=bucket, Key="forms/a b.txt")["Body"].read()
        seen[f"form of {len(content)}"] = got == content
    seen["form too large"] = post(form, "other", sample(MIB + 1))
    return seen


def post(form: dict[str, Any], name: str, content: bytes) -> int:
    boundary = b"a-form-of-the-tests"
    fields = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary, field.encode(), value.encode())
        for field, value in form["fields"].items()
    ]
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = b"".join(fields) + b"--%b\r\n%b%b\r\n--%b--\r\n" % (boundary, head, content, boundary)
    request = urllib.request.Request(form["url"], body, method="POST")
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary.decode()}")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def scenario(where: Where) -> dict[str, Any]:
    writer, reader = client_of(where.write), client_of(where.read)
    found = {
        "objects": objects(writer, reader, where.bucket),
        "transfers": transfers(writer, reader, where),
        "lists": lists(writer, reader, where.bucket),
        "presigned": presigned(writer, reader, where.bucket),
    }
    return found | {"again": digest(reader.get_object(Bucket=where.bucket, Key="large")["Body"].read())}


if __name__ == "__main__":
    main(scenario)
