"""A bad cable: frames between two network devices are delayed, lost, and paced.

The kernel's own (netem) is missing in many kernels that tests run on; TUN is nearly everywhere, so there is this one way. A program of its own
(``python -I -S relay.py NEAR FAR SOCKET CGROUP``, nothing but the standard library), started in the network namespace of the lab's switch. It
enters the cgroup, makes the TAP devices NEAR (the host's side) and FAR (the switch's), says ``ready PID``, and is told what to do by JSON objects
on SOCKET, one in each packet, which it answers when they are in force (:class:`Cable`).

Frames are passed on whole and in order. Devices have no segmentation offload, so what is lost is a packet of the MTU, as on a wire.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field

__all__ = ["Cable", "Direction", "main"]

#: Taken from a device before due frames are looked at again.
_BATCH = 64
#: A cable that was idle for less than this was perhaps not idle: the relay came late to what lay in the device. So much is caught up on, like
#: the ``burst`` of tc-tbf(8).
_CATCH_UP_S = 0.002

_FRAME_BYTES_MAX = 65_536
_MESSAGE_BYTES_MAX = 65_536
_MAC_BYTES = 6

# linux/if_tun.h
_TUNSETIFF = 0x4004_54CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000


@dataclass
class Cable:
    """What the cable does to each direction. Zero: nothing."""

    delay_s: float = 0.0
    #: The delay is longer or shorter by up to this; frames keep their order.
    jitter_s: float = 0.0
    #: Of frames, 0 to 1.
    loss: float = 0.0
    bytes_per_s: float = 0.0
    #: Addresses (6 bytes) that the host neither hears nor reaches.
    cut_from: frozenset[bytes] = frozenset()
    queue_bytes_max: int = 2**20
    chance: random.Random = field(default_factory=random.Random)


class Direction:
    """Frames under way from one device to the other. ``is_outbound``: away from the host."""

    def __init__(self, cable: Cable, *, is_outbound: bool) -> None:
        self._cable = cable
        self._peer_address = slice(0, _MAC_BYTES) if is_outbound else slice(_MAC_BYTES, 2 * _MAC_BYTES)
        self._free_at = 0.0
        self._last_due = 0.0
        self._bytes_under_way = 0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.lost = 0
        self.passed = 0

    @property
    def next_due(self) -> float | None:
        """When the next frame arrives; None: none is under way."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, frame: bytes, now: float) -> None:
        """Puts a frame on the cable, or loses it."""
        cable = self._cable
        is_cut = frame[self._peer_address] in cable.cut_from
        if (
            is_cut
            or (cable.loss and cable.chance.random() < cable.loss)
            or self._bytes_under_way + len(frame) > cable.queue_bytes_max
        ):
            self.lost += 1
            return
        sent = now
        if cable.bytes_per_s:
            sent = self._free_at = max(now - _CATCH_UP_S, self._free_at) + len(frame) / cable.bytes_per_s
        delay = max(0.0, cable.delay_s + cable.jitter_s * cable.chance.uniform(-1, 1))
        self._last_due = (
            max(self._last_due, now, sent) if not delay else max(self._last_due, max(now, sent) + delay)
        )
        self._bytes_under_way += len(frame)
        self._under_way.append((self._last_due, frame))

    def arrived(self, now: float) -> list[bytes]:
        """Frames that have arrived by now."""
        frames = []
        while self._under_way and self._under_way[0][0] <= now:
            frames.append(self._under_way.popleft()[1])
        self._bytes_under_way -= sum(map(len, frames))
        self.passed += len(frames)
        return frames


def _device(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd


def _take_all(device: int, direction: Direction) -> None:
    for _ in range(_BATCH):
        try:
            frame = os.read(device, _FRAME_BYTES_MAX)
        except (BlockingIOError, OSError):
            return  # nothing more, or the device is down
        direction.take(frame, time.monotonic())


def _obey(listener: socket.socket, cable: Cable, directions: list[Direction]) -> None:
    """Answers one order: how many frames have been lost and passed on so far."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(1.0)
        try:
            order = json.loads(connection.recv(_MESSAGE_BYTES_MAX))
        except (OSError, ValueError):
            return  # whoever it was went away
        cable.cut_from = frozenset(bytes.fromhex(each.replace(":", "")) for each in order.pop("cut_from"))
        for name, value in order.items():
            setattr(cable, name, value)
        counts = {
            "lost": sum(each.lost for each in directions),
            "passed": sum(each.passed for each in directions),
        }
        connection.send(json.dumps(counts).encode())


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen()
    return listener


def main() -> None:
    """Relays until it is killed."""
    near_name, far_name, path, cgroup = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(f"{cgroup}/cgroup.procs", "w") as members:
        members.write("0")
    near, far, listener, cable = _device(near_name), _device(far_name), _listen(path), Cable()
    outbound, inbound = Direction(cable, is_outbound=True), Direction(cable, is_outbound=False)
    print(f"ready {os.getpid()}", flush=True)
    while True:
        dues = [each.next_due for each in (outbound, inbound)]
        due = min((each for each in dues if each is not None), default=None)
        wait_s = None if due is None else max(0.0, due - time.monotonic())
        # epoll's waits are whole milliseconds.
        readable, _, _ = select.select([near, far, listener.fileno()], [], [], wait_s)
        if near in readable:
            _take_all(near, outbound)
        if far in readable:
            _take_all(far, inbound)
        if listener.fileno() in readable:
            _obey(listener, cable, [outbound, inbound])
        now = time.monotonic()
        for direction, target in ((outbound, far), (inbound, near)):
            for frame in direction.arrived(now):
                try:
                    os.write(target, frame)
                except OSError:
                    pass  # the far device is down, or its queue is full: the frame is lost


if __name__ == "__main__":
    main()
