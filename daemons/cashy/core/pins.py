"""Pins: which objects an operator wants kept in memory, until when, and how much of the memory that may be.

Law: values in, values out; what is in memory, and what is loaded, is the caller's. Time is CLOCK_MONOTONIC in nanoseconds: all masters of a host
share it from boot to boot, and the file that keeps the list lies beside the memory it is about and goes with it at a reboot. A pin is of a *name*,
not of a version: the bytes kept are those of the version that is current, and their identity stands in the list only so that a restarted master
holds them before anything could push them out. The share that may be pinned is checked before an object is taken in, so that what is pinned never
starves the readers of everything else.

The list is bounded, and so is its text. A text that is not understood is refused whole: half a list would let go of what somebody relies on without a
word. Rejected: pins in the arena (a layout of its own for what a file of some kilobytes does); wall-clock times (a clock that is set ends them all).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from cashy.core.names import parse_name
from cashy.errors import InvalidName, TooLarge

__all__ = ["PINS_MAX", "Pin", "check_share", "decode_pins", "encode_pins", "merged"]

#: Objects pinned on one host: each is looked at once a second, and has a line in what `cashy pin --list` shows.
PINS_MAX = 1000

_FORMAT = 1


class Pin(NamedTuple):
    """One object. ``until_ns`` 0: until it is unpinned. ``homes_only``: only blocks whose home the host is.

    ``content_id`` and ``block_count``: of the version kept last, empty and 0 if there is none yet.
    """

    url: str
    until_ns: int
    homes_only: bool
    content_id: bytes = b""
    block_count: int = 0

    def is_over(self, now_ns: int) -> bool:
        """Whether its time has ended."""
        return 0 < self.until_ns <= now_ns


def merged(old: Pin | None, new: Pin) -> Pin:
    """What is pinned anew has the new time, and is never less of the object than before."""
    if old is None:
        return new
    return old._replace(until_ns=new.until_ns, homes_only=old.homes_only and new.homes_only)


def check_share(url: str, wanted_bytes: int, pinned_bytes: int, limit_bytes: int) -> None:
    """Raises ``TooLarge`` if an object of ``wanted_bytes`` may not be pinned beside ``pinned_bytes`` of others."""
    if pinned_bytes + wanted_bytes > limit_bytes:
        raise TooLarge(
            f"pinning {wanted_bytes:,} bytes of {url} would make {pinned_bytes + wanted_bytes:,}, and {limit_bytes:,} of this host's memory may be "
            "pinned (memory.pinned_max): unpin something, or raise it"
        )


def encode_pins(pins: Iterable[Pin]) -> bytes:
    """The list as a file keeps it."""
    rows = [[pin.url, pin.until_ns, pin.homes_only, pin.content_id.hex(), pin.block_count] for pin in pins]
    return json.dumps({"format": _FORMAT, "pins": rows}).encode()


def decode_pins(data: bytes) -> list[Pin]:
    """The list out of a file; raises ``ValueError`` if it is not what :func:`encode_pins` writes."""
    try:
        whole = json.loads(data)
        if whole["format"] != _FORMAT:
            raise ValueError(f"it has format {whole['format']!r}, this program knows {_FORMAT}")
        pins = [_pin(row) for row in whole["pins"]]
    except (KeyError, TypeError, RecursionError, InvalidName) as error:
        raise ValueError(f"it is no list of pins: {error!r}") from None
    if len(pins) > PINS_MAX:
        raise ValueError(f"it has {len(pins):,} pins, at most {PINS_MAX:,} are kept")
    return pins


def _pin(row: Any) -> Pin:
    url, until_ns, homes_only, content_id, block_count = row
    if not (isinstance(url, str) and isinstance(homes_only, bool)):
        raise TypeError(f"{row!r:.100}")
    if not all(type(number) is int and number >= 0 for number in (until_ns, block_count)):
        raise TypeError(f"{row!r:.100}")
    return Pin(parse_name(url).url, until_ns, homes_only, bytes.fromhex(content_id), block_count)
