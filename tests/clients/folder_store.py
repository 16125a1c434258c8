"""An S3 store of the files in a folder, which notes every block that it was asked for. For reading only; it believes every signature."""

from __future__ import annotations

import os
import threading
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["FolderStore"]


class FolderStore:
    """Serves ``folder``, whose subfolders are its buckets, at ``address``. ``gets`` counts GETs by (path, number of the block they began in)."""

    def __init__(self, folder: Path, address: str, *, block_bytes: int) -> None:
        self.folder = folder
        self.block_bytes = block_bytes
        self.gets: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

        class Handler(_Handler):
            store = self

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def noted(self, path: str, start: int) -> None:
        """A GET that was answered with bytes."""
        with self._lock:
            self.gets[path, start // self.block_bytes] += 1

    def blocks(self, *parts: str) -> set[tuple[str, int]]:
        """All blocks of the files in some folders or files."""
        return {
            (str(file.relative_to(self.folder)), block)
            for part in parts
            for file in [self.folder / part, *sorted((self.folder / part).rglob("*"))]
            if file.is_file()
            for block in range(-(-file.stat().st_size // self.block_bytes))
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FolderStore

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        asked = urlsplit(self.path)
        path = unquote(asked.path).strip("/")
        file = self.store.folder / path
        query = parse_qs(asked.query)
        if "list-type" in query:
            self._send(
                200, self._listing(path, query).encode(), {"Content-Type": "application/xml"}, has_body
            )
        elif file.is_dir() and "/" not in path:
            self._send(200, b"", {}, has_body)
        elif not file.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {}, has_body)
        else:
            self._object(path, file.read_bytes(), file.stat(), has_body)

    def _object(self, path: str, data: bytes, status: os.stat_result, has_body: bool) -> None:
        headers = {
            "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        }
        ranged = self.headers.get("Range")
        if ranged is None:
            self._send(200, data, headers, has_body)
            return
        first, _, last = ranged.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(len(data), int(last) + 1)
        if start >= stop:
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"}, has_body)
            return
        self.store.noted(path, start)
        self._send(
            206,
            data[start:stop],
            headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"},
            has_body,
        )

    def _send(self, status: int, body: bytes, headers: dict[str, str], has_body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> str:
        """A page of what begins with a prefix; the token of the next one is the last name of this one."""
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        after = max(query.get(name, [""])[0] for name in ("start-after", "continuation-token"))
        top = self.store.folder / bucket
        keys = sorted(
            str(file.relative_to(top))
            for file in top.rglob("*")
            if file.is_file() and str(file.relative_to(top)).startswith(prefix)
        )
        names = dict.fromkeys(_folded(key, prefix, delimiter) for key in keys)
        left = [name for name in names if name > after]
        page = left[: int(query.get("max-keys", ["1000"])[0])]
        entries = "".join(
            _entry(name, None if name.endswith("/") else (top / name).stat().st_size) for name in page
        )
        more = (
            f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
            if len(page) < len(left)
            else ""
        )
        return f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{entries}</ListBucketResult>"

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def _folded(key: str, prefix: str, delimiter: str) -> str:
    """The key, or the folder that stands for it."""
    name, folds, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
    return prefix + name + folds


def _entry(name: str, size: int | None) -> str:
    if size is None:
        return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
    about = "<LastModified>2026-01-01T00:00:00Z</LastModified>"
    return f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size>{about}</Contents>"
