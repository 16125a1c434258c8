"""MinIO's Python SDK: files, streams, compose, batches, presigned URLs."""

from __future__ import annotations

import io
import urllib.request
from typing import Any

from common import Where, code_of, digest, main, sample
from minio import Minio
from minio.commonconfig import ComposeSource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error


def scenario(where: Where) -> dict[str, Any]:
    def client(url: str) -> Minio:
        return Minio(
            endpoint=url.removeprefix("http://"),
            access_key=where.key,
            secret_key=where.secret,
            secure=False,
            region="us-east-1",
        )

    writer, reader, bucket = client(where.write), client(where.read), where.bucket
    data = sample(12 << 20)
    (where.folder / "up").write_bytes(data)
    writer.fput_object(
        bucket_name=bucket, object_name="file", file_path=str(where.folder / "up"), part_size=5 << 20
    )
    reader.fget_object(bucket_name=bucket, object_name="file", file_path=str(where.folder / "down"))
    writer.put_object(
        bucket_name=bucket,
        object_name="small",
        data=io.BytesIO(b"hello"),
        length=5,
        metadata={"x-amz-meta-a": "b"},
    )
    parts = [ComposeSource(bucket_name=bucket, object_name=name) for name in ("file", "small")]
    writer.compose_object(bucket_name=bucket, object_name="both", sources=parts)
    answer = reader.get_object(bucket_name=bucket, object_name="both", offset=len(data) - 3, length=8)
    part = answer.read()
    answer.close()
    answer.release_conn()
    with urllib.request.urlopen(
        reader.presigned_get_object(bucket_name=bucket, object_name="small")
    ) as signed:
        by_url = signed.read().decode()
    stat = reader.stat_object(bucket_name=bucket, object_name="small")
    errors = list(
        writer.remove_objects(
            bucket_name=bucket, delete_object_list=[DeleteObject("file"), DeleteObject("small")]
        )
    )
    return {
        "file": (where.folder / "down").read_bytes() == data,
        "composed": digest(part),
        "url": by_url,
        "stat": [
            stat.size,
            {name.lower(): value for name, value in (stat.metadata or {}).items()}.get("x-amz-meta-a"),
        ],
        "errors": len(errors),
        "left": [entry.object_name for entry in reader.list_objects(bucket_name=bucket, recursive=True)],
        "gone": code_of(lambda: reader.stat_object(bucket_name=bucket, object_name="file"), S3Error),
    }


if __name__ == "__main__":
    main(scenario)
