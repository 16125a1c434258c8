"""Named limits of reading specs, each with its reason. Limits of what is in one are beside the checks in ``labtest.core``."""

from __future__ import annotations

__all__ = [
    "FOLDER_DEPTH_MAX",
    "FOLDER_FILES_MAX",
    "SOURCE_BYTES_MAX",
    "SPEC_BYTES_MAX",
    "TIMEOUT_S_MAX",
]

#: A spec is written by hand; one of a thousand hosts has some 200 KB.
SPEC_BYTES_MAX = 1 << 20

#: One file of a release, which is held in memory while it is copied.
SOURCE_BYTES_MAX = 512 << 20

#: Files that one pattern of a release may lead to; a folder taken in by mistake (a checkout with its history) has more.
FOLDER_FILES_MAX = 50_000

#: Folders in folders; deeper is a loop of mounts.
FOLDER_DEPTH_MAX = 64

#: A longer wait than a day is a mistyped unit.
TIMEOUT_S_MAX = 86_400
