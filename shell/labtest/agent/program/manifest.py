"""The manifest: what of an environment labtest has put on this host, so that anybody who comes later knows.

One JSON file for each environment. It is read afresh for each use and changed under a lock of its own, since another shell's agent may be at work
here.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .failures import Failed, naming
from .files import write_whole
from .limits import MANIFEST_BYTES_MAX, MANIFEST_LOCK_TIMEOUT_S

__all__ = ["Manifests", "checked_name"]

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}\Z")


def checked_name(name: str, what: str) -> str:
    """A name that becomes part of a path. Raises :class:`Failed` for one that would lead elsewhere."""
    if not _NAME.match(name):
        raise Failed("not-allowed", f"{name!r} is no name for {what}")
    return name


def _empty(environment: str) -> dict[str, Any]:
    return {"version": _VERSION, "environment": environment, "files": {}, "releases": {}, "units": {}}


class Manifests:
    """All manifests of this host."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def path(self, environment: str) -> str:
        """Where an environment's manifest is."""
        return os.path.join(self._folder, checked_name(environment, "an environment"), "manifest.json")

    def read(self, environment: str) -> dict[str, Any]:
        """An environment's manifest; an empty one if there is none. Raises :class:`Failed` for a damaged one."""
        path = self.path(environment)
        with naming(f"reading {path}"):
            try:
                with open(path, "rb") as stream:
                    text = stream.read(MANIFEST_BYTES_MAX + 1)
            except FileNotFoundError:
                return _empty(environment)
        try:
            manifest = json.loads(text)
            if manifest["version"] != _VERSION:
                raise ValueError(f"it has version {manifest['version']}, and this labtest knows {_VERSION}")
            return {name: manifest[name] for name in _empty(environment)}
        except (ValueError, KeyError, TypeError) as error:
            raise Failed(
                "io",
                f"the manifest {path} cannot be used: {error}. Look at it; without it labtest takes nothing here for its own",
            ) from error

    @contextmanager
    def change(self, environment: str) -> Iterator[dict[str, Any]]:
        """Gives the manifest to be changed, and writes it if the block ends well and something is different."""
        path = self.path(environment)
        with naming(f"writing {path}"):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with self._lock, _locked(f"{path}.lock"):
                manifest = self.read(environment)
                before = json.dumps(manifest, sort_keys=True)
                yield manifest
                if json.dumps(manifest, sort_keys=True) != before:
                    text = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("utf-8", "replace")
                    write_whole(path, [text], len(text), mode=0o644)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + MANIFEST_LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failed(
                        "locked", f"{path} is held by another agent: its host's disk may hang"
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
