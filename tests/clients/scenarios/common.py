"""Arguments, test data and the report; imports nothing but the standard library, as every client's Python runs it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Where", "code_of", "digest", "main", "sample"]


class Where(NamedTuple):
    """URLs to write to and to read from (the same, or two hosts of one cluster), a bucket, and a folder."""

    write: str
    read: str
    bucket: str
    folder: Path

    @property
    def key(self) -> str:
        """The access key."""
        return os.environ["AWS_ACCESS_KEY_ID"]

    @property
    def secret(self) -> str:
        """Its secret."""
        return os.environ["AWS_SECRET_ACCESS_KEY"]


def sample(size: int, seed: int = 1) -> bytes:
    """Bytes that differ at every place."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(256))
    return (block * (size // len(block) + 1))[:size]


def digest(data: Any) -> str:
    """Short, for reports."""
    return hashlib.sha256(data).hexdigest()[:16]


def code_of(call: Callable[[], object], *errors: type[BaseException]) -> str:
    """The name of the error that a call ends with, or ``"none"``."""
    try:
        call()
    except errors as error:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response["Error"]["Code"])
        return str(getattr(error, "code", type(error).__name__))
    return "none"


def main(scenario: Callable[[Where], dict[str, Any]]) -> None:
    """Runs it on the arguments."""
    write, read, bucket, folder = sys.argv[1:]
    print(json.dumps(scenario(Where(write, read, bucket, Path(folder))), sort_keys=True, default=str))
