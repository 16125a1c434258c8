"""obstore (object_store for Rust): conditional puts, several ranges, multipart, lists."""

from __future__ import annotations

from typing import Any

import obstore
from common import Where, code_of, digest, main, sample
from obstore.exceptions import BaseError
from obstore.store import S3Store


def scenario(where: Where) -> dict[str, Any]:
    def store(url: str) -> S3Store:
        return S3Store(
            where.bucket, endpoint=url, access_key_id=where.key, secret_access_key=where.secret, region="us-east-1",
            virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip

    writer, reader = store(where.write), store(where.read)
    data = sample(14 << 20)
    obstore.put(writer, "dir/small", b"hello")
    obstore.put(writer, "dir/large", data, chunk_size=5 << 20)
    exists = code_of(lambda: obstore.put(writer, "dir/small", b"other", mode="create"), BaseError)
    ranges = obstore.get_ranges(reader, "dir/large", starts=[0, 7_000_000], lengths=[100, 200])
    seen = {
        "small": bytes(obstore.get(reader, "dir/small").bytes()).decode(),
        "large": digest(bytes(obstore.get(reader, "dir/large").bytes())) == digest(data),
        "ranges": [digest(bytes(part)) for part in ranges],
        "head": obstore.head(reader, "dir/large")["size"],
        "exists": exists,
        "list": sorted(
            (entry["path"], entry["size"]) for page in obstore.list(reader, "dir") for entry in page
        ),
        "absent": code_of(lambda: obstore.get(reader, "absent"), BaseError, FileNotFoundError),
    }
    obstore.copy(writer, "dir/small", "copy")
    obstore.delete(writer, "dir/small")
    seen["copy"] = bytes(obstore.get(reader, "copy").bytes()).decode()
    seen["deleted"] = code_of(lambda: obstore.head(reader, "dir/small"), BaseError, FileNotFoundError)
    return seen


if __name__ == "__main__":
    main(scenario)
