"""The aws command: cp, ls, sync both ways, rm, presign, s3api."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from awscli.clidriver import create_clidriver
from common import Where, digest, main, sample

CONFIG = """\
[default]
region = us-east-1
s3 =
  addressing_style = path
  signature_version = s3v4
  multipart_threshold = 8MB
  multipart_chunksize = 8MB
"""


def scenario(where: Where) -> dict[str, Any]:
    bucket, folder = f"s3://{where.bucket}", where.folder
    (folder / "config").write_text(CONFIG)
    os.environ |= {"AWS_CONFIG_FILE": str(folder / "config"), "HOME": str(folder), "AWS_PAGER": ""}
    os.chdir(folder)

    def command(url: str, *arguments: str | Path) -> None:
        """The installed command, in a process of its own."""
        program = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", url, *map(str, arguments)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise SystemExit(f"aws {' '.join(map(str, arguments))}: {done.stderr}")

    def aws(url: str, *arguments: str | Path) -> str:
        """What the command does, without starting Python anew each time; gives what it prints."""
        with redirect_stdout(io.StringIO()) as printed:
            code = create_clidriver().main(["--endpoint-url", url, *map(str, arguments)])
        if code:
            raise SystemExit(f"aws {' '.join(map(str, arguments))}: exit code {code}")
        return printed.getvalue()

    source = folder / "source"
    for name, size in (
        ("source/large", 17 << 20),
        ("source/sub/a b.txt", 5),
        ("source/sub/deep/ü", 70_000),
        ("empty", 0),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample(size, len(name)))
    command(where.write, "s3", "cp", source / "large", f"{bucket}/one", "--only-show-errors")
    command(where.read, "s3", "cp", f"{bucket}/one", folder / "one", "--only-show-errors")
    aws(where.write, "s3", "sync", source, f"{bucket}/tree", "--only-show-errors")
    # By itself: SeaweedFS answers it without 100 Continue, upon which the next request on that connection takes botocore a minute.
    aws(where.write, "s3", "cp", folder / "empty", f"{bucket}/tree/empty", "--only-show-errors")
    listed = aws(where.read, "s3", "ls", "--recursive", f"{bucket}/tree")
    aws(where.read, "s3", "sync", f"{bucket}/tree", folder / "back", "--only-show-errors")
    again = aws(where.read, "s3", "sync", f"{bucket}/tree", folder / "back")
    aws(
        where.read,
        "s3api",
        "get-object",
        "--bucket",
        where.bucket,
        "--key",
        "one",
        "--range",
        "bytes=100-199",
        folder / "part",
    )
    url = aws(where.read, "s3", "presign", f"{bucket}/tree/sub/a b.txt").strip()
    with urllib.request.urlopen(url) as answer:
        signed = answer.read()
    aws(where.write, "s3", "rm", "--recursive", f"{bucket}/tree/sub", "--only-show-errors")
    back = {
        str(path.relative_to(folder / "back")): digest(path.read_bytes())
        for path in sorted((folder / "back").rglob("*"))
        if path.is_file()
    }
    return {
        "cp": (folder / "one").read_bytes() == (source / "large").read_bytes(),
        "ls": sorted(re.sub(r"^\S+ \S+ +", "", line) for line in listed.splitlines()),
        "sync": back,
        "nothing to do": again,
        "range": digest((folder / "part").read_bytes()),
        "presign": digest(signed),
        "left": len(aws(where.read, "s3", "ls", "--recursive", f"{bucket}/").splitlines()),
    }


if __name__ == "__main__":
    main(scenario)
