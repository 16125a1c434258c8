"""How ``cashy pin`` and ``cashy stat`` show what is pinned."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aviary.cashy.v1.operate_pb2 import HostPins, PinnedObject, PinReport

__all__ = [
    "is_settled",
    "parse_duration",
    "pin_as_dict",
    "pin_text",
    "pins_as_dict",
    "print_failures",
    "print_pins",
    "time_text",
]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``2h``, ``1.5d``; raises ``ValueError``."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS_S[match[2] or "s"] if match else 0.0
    if not 0 < seconds < 1e9:
        raise ValueError(f"{text!r} is no length of time: write 90s, 15m, 2h or 1d")
    return seconds


def time_text(seconds: float) -> str:
    """A length of time in its two largest units: ``1h 59m``, ``12s``."""
    left = max(1, round(seconds))
    parts = []
    for unit, size_s in reversed(_UNITS_S.items()):
        count, left = divmod(left, size_s)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def pin_text(pin: PinnedObject) -> str:
    """One pinned object in a line."""
    until = f"for {time_text(pin.left_s)}" if pin.left_s else "until it is unpinned"
    what = "blocks at home here" if pin.homes_only else "blocks"
    text = f"{until}; {pin.blocks_here:,} of {pin.blocks:,} {what} are in memory ({pin.bytes_here:,} of {pin.bytes:,} bytes)"
    return f"{text}; {' '.join(pin.error.split())}" if pin.error else text


def pin_as_dict(pin: PinnedObject) -> dict[str, Any]:
    """For JSON; ``left_s`` null: until it is unpinned."""
    return {
        "url": pin.name,
        "left_s": pin.left_s or None,
        "homes_only": pin.homes_only,
        "blocks": pin.blocks,
        "blocks_here": pin.blocks_here,
        "bytes": pin.bytes,
        "bytes_here": pin.bytes_here,
        "version": pin.version,
        "error": pin.error or None,
    }


def is_settled(report: PinReport) -> bool:
    """Whether nothing is being loaded any more."""
    return all(pin.error or pin.blocks_here == pin.blocks for host in report.hosts for pin in host.objects)


def pins_as_dict(report: PinReport) -> dict[str, Any]:
    """For JSON."""
    return {
        "hosts": [
            {"host": host.host, "error": host.error or None}
            | ({} if host.error else _host_as_dict(host))
            for host in report.hosts
        ]
    }  # fmt: skip


def _host_as_dict(host: HostPins) -> dict[str, Any]:
    return {
        "pinned_bytes": host.pinned_bytes,
        "pinned_bytes_max": host.pinned_bytes_max,
        "objects": [pin_as_dict(pin) for pin in host.objects],
        "left_out": host.left_out,
    }


def print_pins(hosts: Iterable[HostPins]) -> None:
    """What is pinned, host by host."""
    for host in hosts:
        if host.error:
            continue
        print(f"{host.host}: {host.pinned_bytes:,} of {host.pinned_bytes_max:,} bytes that may be pinned")
        for pin in host.objects:
            print(f"  {pin.name}  {pin_text(pin)}")
        if host.left_out:
            print(f"  and {host.left_out:,} more: name those you mean")


def print_failures(report: PinReport) -> bool:
    """Hosts that did not answer and objects that could not be loaded, on standard error; returns whether there were any."""
    lines = [f"host {host.host}: {host.error}" for host in report.hosts if host.error]
    lines += [
        f"{pin.name} on {host.host}: {pin.error}"
        for host in report.hosts
        for pin in host.objects
        if pin.error
    ]
    for line in lines:
        print(f"cashy: failed: {' '.join(line.split())}", file=sys.stderr)
    return bool(lines)
