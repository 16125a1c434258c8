"""rclone: copy, sync, check, lsjson, cat with an offset, rcat."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from common import Where, digest, main, sample


def scenario(where: Where) -> dict[str, Any]:
    environment = dict(os.environ) | {"RCLONE_CONFIG": "/dev/null"}
    for remote, url in (("W", where.write), ("R", where.read)):
        settings = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": url, "ACCESS_KEY_ID": where.key, "SECRET_ACCESS_KEY": where.secret,
            "REGION": "us-east-1", "FORCE_PATH_STYLE": "true", "CHUNK_SIZE": "5M", "UPLOAD_CUTOFF": "5M",
        }  # fmt: skip
        environment |= {f"RCLONE_CONFIG_{remote}_{name}": value for name, value in settings.items()}

    def rclone(*arguments: str, data: bytes | None = None) -> bytes:
        command = ["rclone", "--retries", "1", "--log-level", "ERROR", *arguments]
        done = subprocess.run(
            command, env=environment, input=data, capture_output=True, timeout=120, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
        return done.stdout

    source, bucket = where.folder / "source", where.bucket
    for name, size in (("large", 12 << 20), ("sub/a b", 9), ("sub/ü", 50_000)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(sample(size, len(name)))
    rclone("copy", str(source), f"W:{bucket}/tree")
    rclone("check", str(source), f"R:{bucket}/tree")
    rclone("sync", f"R:{bucket}/tree", str(where.folder / "back"))
    rclone("rcat", f"W:{bucket}/from-stdin", data=b"piped")
    listed = json.loads(rclone("lsjson", "-R", f"R:{bucket}"))
    (source / "sub" / "a b").unlink()
    rclone("sync", str(source), f"W:{bucket}/tree")
    return {
        "back": sorted(
            digest(path.read_bytes()) for path in (where.folder / "back").rglob("*") if path.is_file()
        ),
        "list": sorted((entry["Path"], entry["Size"], entry["IsDir"]) for entry in listed),
        "cat": digest(rclone("cat", "--offset", "1000", "--count", "500", f"R:{bucket}/tree/large")),
        "stdin": rclone("cat", f"R:{bucket}/from-stdin").decode(),
        "left": sorted(rclone("lsf", "-R", "--files-only", f"R:{bucket}").decode().splitlines()),
    }


if __name__ == "__main__":
    main(scenario)
