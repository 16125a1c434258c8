"""The folder of a spec, as a value: what resolving needs of it, without a file being opened here.

Law: paths are relative to the spec's folder, with ``/``, and never lead out of it. Whether such a folder is on a disk
(:mod:`labtest.spec.sources`) or in memory is the caller's; both answer alike, which one test checks on both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

from labtest.core.names import nearest

__all__ = ["Folder", "FolderContents", "Found", "SourceProblem", "bad_source_path", "part_matches"]


class SourceProblem(ValueError):
    """A file that is not there, is too large, or is none; says which."""


class Found(msgspec.Struct, frozen=True, order=True):
    """One file that a pattern has led to."""

    #: Below the folder to which it is copied: a matched file's own name, or the name of a matched folder and the path in it.
    under: str
    #: Relative to the spec's folder.
    path: str
    executable: bool = False


class Folder(Protocol):
    """What is beside a spec."""

    def read(self, path: str) -> bytes:
        """The contents of a file. Raises :class:`SourceProblem`."""

    def find(self, pattern: str) -> tuple[Found, ...]:
        """Files that a shell pattern names, and all files in the folders it names, in order of ``under``. None: an empty tuple.

        Raises :class:`SourceProblem`.
        """


def part_matches(part: str, pattern: str) -> bool:
    """Whether one name of a path fits one of a pattern, as a shell does it: one that begins with a dot is found only by a pattern that does."""
    return fnmatch.fnmatchcase(part, pattern) and (not part.startswith(".") or pattern.startswith("."))


def bad_source_path(path: str) -> str:
    """Why this cannot lead to something beside the spec; empty: it can."""
    if not path:
        return "it is empty; name a file beside the spec"
    if path.startswith("/"):
        return f"{path!r} begins with '/'; sources are named relative to the spec's folder"
    if ".." in PurePosixPath(path).parts:
        return f"{path!r} leads out of the spec's folder; sources are inside it"
    if "**" in path:
        return f"{path!r} has '**'; name the folder, and all that is in it comes along"
    if "\0" in path or "\n" in path or path.endswith("/."):
        return f"{path!r} is not a path"
    return ""


class FolderContents:
    """A folder in memory: paths to contents."""

    def __init__(self, files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> None:
        self._files = dict(files)
        self._executable = executable

    def read(self, path: str) -> bytes:
        """See :class:`Folder`."""
        problem = bad_source_path(path)
        if problem:
            raise SourceProblem(problem)
        if path not in self._files:
            raise SourceProblem(f"there is no file {path!r} beside the spec{nearest(path, self._files)}")
        return self._files[path]

    def find(self, pattern: str) -> tuple[Found, ...]:
        """See :class:`Folder`."""
        problem = bad_source_path(pattern)
        if problem:
            raise SourceProblem(problem)
        wanted = PurePosixPath(pattern).parts
        return tuple(
            sorted(found for path in self._files if (found := self._match(path, wanted)) is not None)
        )

    def _match(self, path: str, wanted: tuple[str, ...]) -> Found | None:
        parts = PurePosixPath(path).parts
        if len(parts) < len(wanted):
            return None
        if not all(map(part_matches, parts, wanted)):
            return None
        return Found("/".join(parts[len(wanted) - 1 :]), path, path in self._executable)
