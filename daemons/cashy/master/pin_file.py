"""The file that keeps a host's pins over a restart of its master: ``pins`` in the instance's folder, beside the memory that it is about.

It is replaced as a whole and atomically, by one thread at a time; what is asked for while it is being written is written next, and an
older list never after a newer one. tmpfs keeps it as long as the memory: a reboot ends both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from cashy.core.pins import Pin, decode_pins, encode_pins
from cashy.errors import ArenaFull

__all__ = ["PinFile"]

_log = structlog.get_logger("cashy.master")


class PinFile:
    """The file in ``folder``. ``pins`` gives what is to be written, when that is asked for."""

    def __init__(self, folder: Path, pins: Callable[[], Sequence[Pin]]) -> None:
        self._path = folder / "pins"
        self._pins = pins
        self._writing = threading.Lock()
        self._saves = self._saved = 0

    def load(self) -> list[Pin]:
        """What a predecessor wrote, nothing if there was none. To be called before the loop has work: it reads some kilobytes of memory."""
        try:
            return decode_pins(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            _log.warning("pins_not_read", file=str(self._path), error=str(error))
            return []

    async def save(self) -> None:
        """Writes the present list; when it returns, a master that starts now has it. Raises ``ArenaFull`` if there is no room for the file."""
        self._saves += 1
        try:
            await asyncio.to_thread(self._write, self._saves, encode_pins(self._pins()))
        except OSError as error:
            _log.warning("pins_not_written", file=str(self._path), error=str(error))
            raise ArenaFull(
                f"the list of pins cannot be written to {self._path}: {error.strerror or error}; a restart would forget the last change"
            ) from error

    def _write(self, number: int, data: bytes) -> None:
        with (
            self._writing
        ):  # a lock of the loop would be let go of when its holder is cancelled, and the thread goes on
            if number < self._saved:
                return
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(self._path)
            self._saved = number
