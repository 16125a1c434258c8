"""The files of the page: read once, served from memory, and told to be asked for again each time (they are small, and never of two versions)."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from toucan.errors import InvalidSettings
from toucan.web.exchange import Exchange
from toucan.web.limits import STATIC_BYTES_MAX, STATIC_FILES_MAX

__all__ = ["StaticFile", "StaticFiles", "read_static_files"]

#: What there is on a page; a file of another kind is not served.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_INDEX = "index.html"


class StaticFile(msgspec.Struct, frozen=True):
    """One of them."""

    content: bytes
    content_type: str
    #: A strong validator (RFC 9110, 8.8.3), in quotes.
    etag: str


class StaticFiles:
    """All of them, by path."""

    def __init__(self, files: dict[str, StaticFile]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def find(self, path: str) -> StaticFile | None:
        """The file at a request's path; a folder's is its index."""
        return self._files.get(path + _INDEX if path.endswith("/") else path)

    async def answer(self, exchange: Exchange) -> None:
        """Answers a request for one."""
        if exchange.method not in ("GET", "HEAD"):
            await exchange.fail(405, "unimplemented", "files are read", [(b"allow", b"GET, HEAD")])
            return
        file = self.find(exchange.path)
        if file is None:
            await exchange.fail(404, "not_found", "there is no such page")
            return
        exchange.is_page = True
        headers = [(b"etag", file.etag.encode()), (b"cache-control", b"no-cache")]
        if _matches(exchange.headers.get("if-none-match", ""), file.etag):
            await exchange.answer(304, headers=headers)
        else:
            await exchange.answer(200, file.content, file.content_type, headers)


def _matches(header: str, etag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison."""
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in header.split(","))


def read_static_files(folder: str) -> StaticFiles:
    """The files of a folder, or, without one, of the page that comes with the gateway. Blocks. Raises :class:`~toucan.errors.InvalidSettings`."""
    root: Traversable = Path(folder) if folder else resources.files("toucan.web") / "static"
    files: dict[str, StaticFile] = {}
    try:
        _read(root, "/", files)
    except OSError as error:
        raise InvalidSettings(
            f"web.static: cannot read {error.filename or folder}: {error.strerror}"
        ) from None
    if sum(len(file.content) for file in files.values()) > STATIC_BYTES_MAX or len(files) > STATIC_FILES_MAX:
        raise InvalidSettings(
            f"web.static: {folder} has more than {STATIC_FILES_MAX} files or {STATIC_BYTES_MAX:,} bytes: it must be another folder"
        )
    return StaticFiles(files)


def _read(folder: Traversable, path: str, files: dict[str, StaticFile]) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if len(files) > STATIC_FILES_MAX or entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            _read(entry, f"{path}{entry.name}/", files)
            continue
        content_type = _TYPES.get(Path(entry.name).suffix)
        if content_type is not None:
            content = entry.read_bytes()
            files[path + entry.name] = StaticFile(
                content, content_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            )
