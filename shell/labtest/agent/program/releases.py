"""Releases: versions side by side in a folder, and a link that says which is in use.

``<folder>/<version>.source/`` is the copy, ``<folder>/<version>/`` what was installed from it: in place, since a virtual environment cannot be
moved. ``<folder>/<version>.installed`` is written last and holds the fingerprint, so an installation without it is one that was interrupted: it
is done anew. Without an install command ``<version>`` is a link to the copy.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from typing import Any

from .failures import Failed, naming
from .files import Digests, sync_folder, write_whole
from .limits import CHUNK_BYTES
from .manifest import Manifests, checked_name
from .processes import Processes, tail
from .requests import Request

__all__ = ["Releases"]

_SOURCE, _INSTALLED, _CURRENT = ".source", ".installed", "current"
#: Less room than this after a failed command means that it failed for want of room.
_FULL_BYTES = 2**20


class Releases:
    """The releases of this host."""

    def __init__(self, processes: Processes, digests: Digests, manifests: Manifests) -> None:
        self._processes = processes
        self._digests = digests
        self._manifests = manifests

    # ------------------------------------------------------------ what is there

    def facts(self, name: str, folder: str) -> dict[str, Any]:
        """A release as ``ReleaseActual`` tells it."""
        installed = {}
        for version in sorted(_versions(folder)):
            fingerprint = _fingerprint(folder, version)
            if fingerprint:
                installed[version] = fingerprint
        return {"name": name, "folder": folder, "installed": installed, "current": _current(folder)}

    # ------------------------------------------------------------ install

    def install(self, request: Request, environment: str, release: dict[str, Any]) -> str:
        """Carries out ``InstallRelease``; gives a line for people."""
        folder, version = _checked(release["folder"]), checked_name(release["version"], "a version")
        place = os.path.join(folder, version)
        found = _fingerprint(folder, version)
        if found != release["fingerprint"] and _current(folder) == version:
            raise Failed(
                "exists", f"{place} is in use and has another content: give this content another version"
            )
        with self._manifests.change(environment) as manifest:
            manifest["releases"][release["name"]] = {
                "folder": folder
            }  # what an interrupted installation leaves must be found
        if found == release["fingerprint"]:
            return f"{release['name']} {version} is installed already"
        with naming(f"installing {place}"):
            os.makedirs(folder, mode=0o755, exist_ok=True)
            try:
                _remove_version(folder, version, keep_source=True)
                self._copy(request, folder, version, release["source"])
                self._run_install(request, place, release)
                _sync_filesystem(folder)
                mark = release["fingerprint"].encode()
                write_whole(place + _INSTALLED, [mark], len(mark), mode=0o644)
            except BaseException:
                _remove_version(folder, version)
                raise
        return f"{release['name']} {version} installed in {place}"

    def _copy(self, request: Request, folder: str, version: str, source: list[dict[str, Any]]) -> None:
        target = os.path.join(folder, version + _SOURCE)
        os.makedirs(target, mode=0o755, exist_ok=True)
        wanted = {_inside(target, file["path"]): file for file in source}
        for path in list(_files_below(target)):
            if path not in wanted:
                os.unlink(path)
        there = self._index(folder, {file["size_bytes"] for file in source})
        for path, file in wanted.items():
            request.check()
            mode = 0o755 if file["executable"] else 0o644
            if self._digests.of(path) == file["sha256"]:
                os.chmod(path, mode)
                continue
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            known = there.get(file["sha256"], "")
            is_known = (
                bool(known) and self._digests.of(known) == file["sha256"]
            )  # it may have been written over just now
            content = _read(known) if is_known else request.content(file["sha256"], file["size_bytes"])
            write_whole(path, content, file["size_bytes"], mode=mode, sha256=file["sha256"])
            there[file["sha256"]] = path

    def _index(self, folder: str, sizes: set[int]) -> dict[str, str]:
        """Files of all copies of this release by checksum: most of a new version is in the one before."""
        found = {}
        for version in _versions(folder):
            for path in _files_below(os.path.join(folder, version + _SOURCE)):
                if not os.path.islink(path) and os.path.getsize(path) in sizes:
                    found[self._digests.of(path)] = path
        return found

    def _run_install(self, request: Request, place: str, release: dict[str, Any]) -> None:
        if not release["install"]:
            os.symlink(os.path.basename(place) + _SOURCE, place)
            return
        argv = [argument.replace("{target}", place) for argument in release["install"]]
        outcome = self._processes.run(
            request, argv, folder=place + _SOURCE, timeout_s=release["install_timeout_s"]
        )
        if outcome.status == 0:
            if not os.path.isdir(place):
                raise Failed("command-failed", f"{argv[0]} ended well, and there is no {place}")
            return
        room = os.statvfs(os.path.dirname(place))
        code = "no-space" if room.f_bavail * room.f_frsize < _FULL_BYTES else "command-failed"
        said = tail(outcome.stderr or outcome.stdout)
        raise Failed(
            code, f"installing {place}: {' '.join(argv)} ended with status {outcome.status}:\n{said}"
        )

    # ------------------------------------------------------------ switch and remove

    def switch(self, request: Request, environment: str, release: dict[str, Any], replaces: str) -> str:
        """Carries out ``SwitchRelease``; gives a line for people."""
        folder, version = _checked(release["folder"]), checked_name(release["version"], "a version")
        if _fingerprint(folder, version) != release["fingerprint"]:
            raise Failed(
                "not-found", f"{release['name']} {version} is not installed in {folder} as it should be"
            )
        current = _current(folder)
        if current not in (version, replaces):
            raise Failed(
                "checksum",
                f"{folder}/current leads to {current or 'nothing'}, and the plan was made for {replaces or 'nothing'}: plan again",
            )
        if current != version:
            with naming(f"switching {folder}"):
                new = os.path.join(folder, f".{_CURRENT}.new")
                if os.path.lexists(new):
                    os.unlink(new)
                os.symlink(version, new)
                os.rename(new, os.path.join(folder, _CURRENT))
                sync_folder(folder)
        with self._manifests.change(environment) as manifest:
            manifest["releases"][release["name"]] = {"folder": folder}
        for argv in release["after_switch"]:
            outcome = self._processes.run(
                request, argv, folder=folder, timeout_s=release["install_timeout_s"]
            )
            if outcome.status != 0:
                said = tail(outcome.stderr or outcome.stdout)
                raise Failed(
                    "command-failed",
                    f"{release['name']} leads to {version} now, and {' '.join(argv)} ended with status {outcome.status}:\n{said}",
                )
        return f"{release['name']}: {current or 'nothing'} -> {version}"

    def remove(self, environment: str, name: str, folder: str, version: str) -> str:
        """Carries out ``RemoveRelease``; gives a line for people."""
        _checked(folder)
        with naming(f"removing from {folder}"):
            if version:
                if _current(folder) == checked_name(version, "a version"):
                    raise Failed("exists", f"{name} {version} is in use: switch to another version first")
                is_there = version in _versions(folder)
                _remove_version(folder, version)
                return f"{name} {version} removed" if is_there else f"{name} {version} is not there"
            left = self._remove_whole(folder)
        with self._manifests.change(environment) as manifest:
            manifest["releases"].pop(name, None)
        return f"{name} removed from {folder}" + (
            f"; left, since labtest did not put it there: {', '.join(left)}" if left else ""
        )

    def _remove_whole(self, folder: str) -> list[str]:
        if not os.path.isdir(folder):
            return []
        if os.path.islink(os.path.join(folder, _CURRENT)):
            os.unlink(os.path.join(folder, _CURRENT))
        for version in _versions(folder):
            _remove_version(folder, version)
        left = sorted(os.listdir(folder))
        if not left:
            os.rmdir(folder)
        return left


def _checked(folder: str) -> str:
    if not os.path.isabs(folder) or ".." in folder.split("/") or os.path.normpath(folder) == "/":
        raise Failed("not-allowed", f"{folder!r} is no folder for releases")
    return folder


def _inside(folder: str, path: str) -> str:
    if os.path.isabs(path) or ".." in path.split("/") or not path:
        raise Failed("not-allowed", f"a source file {path!r} would be outside of its folder")
    return os.path.join(folder, path)


def _current(folder: str) -> str:
    try:
        return os.path.basename(os.readlink(os.path.join(folder, _CURRENT)))
    except OSError:
        return ""


def _versions(folder: str) -> set[str]:
    """Versions of which anything is there; each has a copy, or had one."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    endings = (_SOURCE, _INSTALLED)
    return {name[: -len(ending)] for name in names for ending in endings if name.endswith(ending)}


def _fingerprint(folder: str, version: str) -> str:
    """Fingerprint of a version that is installed whole, else empty."""
    place = os.path.join(folder, version)
    try:
        with open(place + _INSTALLED, encoding="utf-8") as stream:
            return stream.read(1024) if os.path.isdir(place) else ""
    except (OSError, ValueError):
        return ""


def _remove_version(folder: str, version: str, *, keep_source: bool = False) -> None:
    """The marker first: what is removed in part is not installed."""
    place = os.path.join(folder, version)
    for path in (place + _INSTALLED, place, *(() if keep_source else (place + _SOURCE,))):
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        elif os.path.isdir(path):
            shutil.rmtree(path)


def _files_below(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(place, name)


def _read(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as stream:
        while True:
            chunk = stream.read(CHUNK_BYTES)
            if not chunk:
                return
            yield chunk


def _sync_filesystem(folder: str) -> None:
    """What the install command wrote is on the disk before the marker says that it is whole."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
        if syncfs is None or syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)
