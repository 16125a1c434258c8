"""An ext4 in a file that loses its power, freezes, and goes read-only as real ones do: by what its own driver offers for tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Ext4", "filled"]

#: EXT4_IOC_SHUTDOWN, and "as it lies on the disk at this moment" (linux/fs/ext4/ext4.h).
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_SIZE_BYTES = 64 << 20


class Ext4:
    """Needs root. ``folder`` is where it is mounted."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder
        self._is_frozen = False
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(_SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    def mount(self) -> None:
        """Also after a power cut."""
        options = "loop,noatime,errors=remount-ro"
        subprocess.run(["mount", "-o", options, str(self._image), str(self.folder)], check=True)

    def unmount(self) -> None:
        """Everything in it must be closed."""
        subprocess.run(["umount", str(self.folder)], check=True)

    def sync(self) -> None:
        """What was written lies in the image."""
        subprocess.run(["sync", "--file-system", str(self.folder)], check=True)

    def commit_names(self) -> None:
        """What has a name keeps it over a power cut; bytes that were not synced are still in memory alone."""
        path = self.folder / "synced"
        with path.open("wb") as file:
            file.write(b"x")
            os.fsync(file.fileno())

    def cut_power(self) -> None:
        """Nothing more reaches the image, and every call fails with EIO."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def turn_read_only(self) -> None:
        """As after damage that the driver finds."""
        source = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.folder)], check=True, capture_output=True, text=True
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(source).name, "trigger_fs_error").write_text("1")

    def freeze(self) -> None:
        """From now on whoever writes hangs, and cannot be interrupted."""
        self._is_frozen = True
        subprocess.run(["fsfreeze", "--freeze", str(self.folder)], check=True)

    def thaw(self) -> None:
        """Whoever hung goes on."""
        subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], check=True)
        self._is_frozen = False

    def close(self) -> None:
        """Whatever happened before."""
        if self._is_frozen:
            self.thaw()
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """A stranger's file has all the room that was left, to the last page."""
    path = folder / "strangers"
    try:
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
            with contextlib.suppress(OSError):
                file.write(bytes(1))
                raise AssertionError("there is room left")
        yield
    finally:
        path.unlink()
