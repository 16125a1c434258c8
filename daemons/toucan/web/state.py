"""What the gateways of a host share: the key of their sessions, and which sessions were ended before their time.

Both lie in one folder of mode 0700. The key is made once, by whichever gateway is the first. A session that is ended (a logout) is an empty file in
``ended``, named by its id and until when it must be remembered; every gateway looks there once a second. To make a file and to remove one is each one
step, so gateways need no lock, and one that is killed leaves nothing half done. Everything here blocks, and is called in threads.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from toucan.errors import InvalidSettings
from toucan.server.files import read_trusted
from toucan.web.core.tickets import KEY_BYTES
from toucan.web.limits import ENDED_MAX

__all__ = ["SharedState"]

#: A folder that has changed so recently may change again without another time of change: the file system's clock has coarse steps.
_SETTLED_S = 2.0


class SharedState:
    """The folder. Raises :class:`~toucan.errors.InvalidSettings` if it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "ended"
        #: When the folder had changed last, and what was in it.
        self._seen_ns = 0
        self._ended: dict[str, int] = {}
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.key = _key(folder / "key")
        except OSError as error:
            raise InvalidSettings(f"web.state: cannot use {folder}: {error.strerror}") from None

    def end(self, session_id: str, until_s: int) -> None:
        """Ends a session at all gateways. Raises OSError."""
        (self._folder / f"{session_id}.{until_s}").touch(mode=0o600)

    def ended(self, now_s: float) -> dict[str, int]:
        """Sessions that were ended before their time, and until when they would have lasted; removes what is over. Raises OSError."""
        changed_ns = self._folder.stat().st_mtime_ns
        if changed_ns == self._seen_ns and now_s - changed_ns / 1e9 > _SETTLED_S:
            return self._ended
        self._seen_ns = changed_ns
        found = sorted(
            (until_s, name) for name in os.listdir(self._folder) if (until_s := _until_s(name)) is not None
        )
        over = sum(1 for until_s, _ in found if until_s <= now_s)
        over = max(over, len(found) - ENDED_MAX)
        for _, name in found[:over]:
            (self._folder / name).unlink(missing_ok=True)
        self._ended = {name.partition(".")[0]: until_s for until_s, name in found[over:]}
        return self._ended


def _until_s(name: str) -> int | None:
    until = name.partition(".")[2]
    return int(until) if until.isascii() and until.isdigit() else None


def _key(path: Path) -> bytes:
    if not path.exists():
        descriptor, made = tempfile.mkstemp(prefix=".key-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(made, path)  # whole, or not at all; the first one's counts
        finally:
            os.unlink(made)
    key = read_trusted(path, "the key of sessions", KEY_BYTES, is_private=True)
    if len(key) != KEY_BYTES:
        raise InvalidSettings(
            f"web.state: {path} has {len(key)} bytes and is no key; remove it, and everybody logs in again"
        )
    return key
