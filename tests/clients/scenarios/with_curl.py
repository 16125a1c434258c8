"""curl: presigned GET, HEAD, range, conditional and PUT, and its own SigV4."""

from __future__ import annotations

import subprocess
from typing import Any

import boto3
from botocore.config import Config
from common import Where, digest, main, sample


def curl(*arguments: str) -> bytes:
    return subprocess.run(
        ["curl", "--silent", "--show-error", *arguments], capture_output=True, timeout=60, check=True
    ).stdout


def scenario(where: Where) -> dict[str, Any]:
    config = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
    writer, reader = (
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)
        for url in (where.write, where.read)
    )
    data = sample(3 << 20)
    (where.folder / "up").write_bytes(data)
    named = {"Bucket": where.bucket, "Key": "by/curl ü"}
    put = writer.generate_presigned_url("put_object", named)
    status = curl(
        "--upload-file",
        str(where.folder / "up"),
        "--header",
        "Content-Type:",
        "--write-out",
        "%{http_code}",
        "--output",
        "/dev/null",
        put,
    )
    get = reader.generate_presigned_url("get_object", named)
    head = reader.generate_presigned_url("head_object", named)
    own = [
        "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{where.key}:{where.secret}", "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"
    ]  # fmt: skip
    code = ["--output", str(where.folder / "thrown"), "--write-out", "%{http_code}"]
    return {
        "put": status.decode(),
        "get": digest(curl(get)) == digest(data),
        "range": digest(curl("--range", "1000-1999", get)),
        "head": sorted(
            line.lower()
            for line in curl("--head", head).decode().split("\r\n")
            if line.lower().startswith("content-length")
        ),
        "not modified": curl("--time-cond", "2037-01-01", *code, get).decode(),
        "expect": curl(
            "--upload-file",
            str(where.folder / "up"),
            "--header",
            "Expect: 100-continue",
            "--header",
            "Content-Type:",
            *code,
            put,
        ).decode(),
        "own signature": digest(curl(*own, f"{where.read}/{where.bucket}/by/curl%20%C3%BC")) == digest(data),
        "tampered": curl(*code, get.replace("curl", "girl")).decode(),
    }


if __name__ == "__main__":
    main(scenario)
