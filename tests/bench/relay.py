"""A link between two network devices of our own, for kernels without netem: packets are delayed and paced here, at the level of IP.

Started as ``python -m tests.bench.relay CORE NEAR FAR BITS_PER_S ONE_WAY_S``. It makes two TUN devices, says ``ready``, and carries every packet
from one to the other: each leaves when those before it have been sent at the link's rate, and arrives the delay later. What finds the queue full
is dropped, as by a switch. TCP, handshakes and loss recovery are the kernel's.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

__all__ = ["MTU", "main"]

#: Jumbo frames: with 1,500 bytes the relay itself would be what limits.
MTU = 9000
#: Bytes waiting for the link: 32 ms at 1 Gbit/s, what a switch's port may hold.
QUEUE_BYTES_MAX = 4 << 20
#: Packets taken from a device before due ones are looked at again.
BATCH = 32

# linux/if_tun.h
_TUNSETIFF = 0x4004_54CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000


def _device(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


class _Direction:
    """Packets under way from one device to the other."""

    def __init__(self, source: int, target: int, bytes_per_s: float, delay_s: float) -> None:
        self._source = source
        self._target = target
        self._seconds_per_byte = 1 / bytes_per_s
        self._delay_s = delay_s
        self._free_at = 0.0
        self.under_way: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Puts what has come on the link."""
        for _ in range(BATCH):
            try:
                packet = os.read(self._source, MTU + 64)
            except BlockingIOError:
                return
            start = max(now, self._free_at)
            if (start - now) > QUEUE_BYTES_MAX * self._seconds_per_byte:
                continue
            self._free_at = start + len(packet) * self._seconds_per_byte
            self.under_way.append((self._free_at + self._delay_s, packet))

    def deliver(self, now: float) -> None:
        """Hands over what has arrived."""
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self._target, self.under_way.popleft()[1])
            except OSError:
                pass  # the far device is down, or its queue is full: the packet is lost


def main() -> None:
    """Carries packets until it is killed."""
    core, near_name, far_name, bits_per_s, delay_s = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    near, far = _device(near_name), _device(far_name)
    rate = float(bits_per_s) / 8
    out = _Direction(near, far, rate, float(delay_s))
    back = _Direction(far, near, rate, float(delay_s))
    print("ready", flush=True)
    while True:
        due = min((each.under_way[0][0] for each in (out, back) if each.under_way), default=None)
        wait_s = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([near, far], [], [], wait_s)
        now = time.monotonic()
        if near in readable:
            out.take(now)
        if far in readable:
            back.take(now)
        out.deliver(now)
        back.deliver(now)


if __name__ == "__main__":
    main()
