"""The folder of a spec on disk. Only regular files inside it are read, however a path or a link is written.

A spec is often somebody else's, and what it names is copied to hosts: without this it could carry the operator's private keys there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from labtest.core.folder import Found, SourceProblem, bad_source_path, part_matches
from labtest.core.names import nearest
from labtest.spec.limits import FOLDER_DEPTH_MAX, FOLDER_FILES_MAX, SOURCE_BYTES_MAX

__all__ = ["Sources"]


class Sources:
    """A :class:`~labtest.core.folder.Folder` on disk. ``folder`` is that of the spec."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def read(self, path: str) -> bytes:
        """The contents of a file. Raises :class:`SourceProblem`."""
        place = self._inside(path)
        try:
            # Not blocking, or a named pipe would be waited for.
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SourceProblem(f"{path!r} is not a regular file")
                with open(descriptor, "rb", closefd=False) as file:
                    content = file.read(SOURCE_BYTES_MAX + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SourceProblem(f"cannot read {path!r}: {error.strerror}") from None
        if len(content) > SOURCE_BYTES_MAX:
            raise SourceProblem(f"{path!r} has more than the {SOURCE_BYTES_MAX:,} bytes that are possible")
        return content

    def find(self, pattern: str) -> tuple[Found, ...]:
        """Files that a shell pattern names, and all files in the folders it names. Raises :class:`SourceProblem`."""
        problem = bad_source_path(pattern)
        if problem:
            raise SourceProblem(problem)
        found: list[Found] = []
        for place in self._matches(self._folder, PurePosixPath(pattern).parts):
            for one in self._files(place, 0):
                found.append(self._found(one, place))
                if len(found) > FOLDER_FILES_MAX:
                    raise SourceProblem(
                        f"{pattern!r} leads to more than the {FOLDER_FILES_MAX:,} files that are possible"
                    )
        return tuple(sorted(found))

    def _inside(self, path: str) -> Path:
        problem = bad_source_path(path)
        if problem:
            raise SourceProblem(problem)
        try:
            place = (self._folder / path).resolve(strict=True)
        except FileNotFoundError:
            raise SourceProblem(f"there is no file {path!r} beside the spec{self._nearest(path)}") from None
        except (OSError, RuntimeError) as error:
            raise SourceProblem(f"cannot read {path!r}: {error}") from None
        if not place.is_relative_to(self._folder):
            raise SourceProblem(f"{path!r} is a link that leads out of the spec's folder")
        return place

    def _nearest(self, path: str) -> str:
        folder = (self._folder / path).parent
        if not folder.is_dir():
            return f"; there is no folder {str(PurePosixPath(path).parent)!r}"
        names = [str((folder / name).relative_to(self._folder)) for name in _names_in(folder)]
        return nearest(path, names)

    def _matches(self, folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        if not parts:
            yield folder
            return
        for name in _names_in(folder):
            if part_matches(name, parts[0]):
                yield from self._matches(folder / name, parts[1:])

    def _files(self, place: Path, depth: int) -> Iterator[Path]:
        relative = str(place.relative_to(self._folder))
        if depth > FOLDER_DEPTH_MAX:
            raise SourceProblem(f"{relative!r} is in too many folders")
        if not self._inside(relative).is_dir():
            yield place
            return
        if depth and place.is_symlink():
            raise SourceProblem(
                f"{relative!r} is a link to a folder, which could lead in a circle; name that folder"
            )
        try:
            names = sorted(os.listdir(place))
        except OSError as error:
            raise SourceProblem(f"cannot look into {relative!r}: {error.strerror}") from None
        for name in names:
            yield from self._files(place / name, depth + 1)

    def _found(self, place: Path, matched: Path) -> Found:
        relative = str(place.relative_to(self._folder))
        under = str(place.relative_to(matched.parent))
        return Found(under, relative, bool(place.stat().st_mode & 0o111))


def _names_in(folder: Path) -> list[str]:
    """What is in a folder; of a file, and where one may not look: nothing."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
