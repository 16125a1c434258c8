"""A recording's files: ``FILE.000001``, ``FILE.000002`` … and ``FILE``, which is the newest; and how they are read one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from toucan.errors import ToucanError
from toucan.market.core.recording import Ending, NotARecording, Record, RecordReader
from toucan.market.limits import SEGMENTS_MAX

__all__ = ["UnusableRecording", "next_segment", "read_recording", "recording_files"]

_NUMBER = re.compile(r"\.(\d{6})")


class UnusableRecording(ToucanError):
    """There is no recording, or a file is none."""


def recording_files(path: Path) -> list[Path]:
    """All files of a recording, oldest first. Raises :class:`UnusableRecording` if there are none."""
    files = [*_segments(path), *([path] if path.exists() else [])]
    if not files:
        raise UnusableRecording(f"there is no recording {path}; `toucan record` makes one")
    return files


def next_segment(path: Path) -> Path:
    """The name that the newest file gets when another one is begun. Raises :class:`UnusableRecording` when there are as many as may be."""
    segments = _segments(path)
    number = int(segments[-1].suffix[1:]) + 1 if segments else 1
    if number > SEGMENTS_MAX:
        raise UnusableRecording(
            f"{path} has {SEGMENTS_MAX} files, as many as there may be; record to another name"
        )
    return path.with_name(f"{path.name}.{number:06}")


def _segments(path: Path) -> list[Path]:
    if not path.parent.is_dir():
        return []
    names = sorted(
        one.name
        for one in path.parent.iterdir()
        if one.name.startswith(path.name) and _NUMBER.fullmatch(one.name[len(path.name) :])
    )
    return [path.with_name(name) for name in names]


def read_recording(path: Path, tell: Callable[[Path, Ending], None]) -> Iterator[Record]:
    """All records of all files, in order; ``tell`` hears of each file that could not be read to its end, and the next one goes on.

    Raises :class:`UnusableRecording`.
    """
    for file in recording_files(path):
        try:
            with file.open("rb") as opened:
                reader = RecordReader(opened)
                yield from reader.records()
        except (OSError, NotARecording) as error:
            raise UnusableRecording(f"cannot play {file}: {error}") from error
        ending = reader.ending
        if ending is not None and not ending.is_whole:
            tell(file, ending)
