"""Links between network devices of our own, for kernels without netem: packets are delayed and paced here, at the level of IP.

Started as ``python -m tests.bench.relay CORE BITS_PER_S ONE_WAY_S NEAR FAR [NEAR FAR …]``. It makes two TUN devices for each link, says
``ready``, and carries every packet from one to the other: each leaves when those before it on its link have been sent at the link's rate,
and arrives the delay later. What finds the queue full is dropped, as by a switch. TCP, handshakes and loss recovery are the kernel's.

The devices take segments of up to 64 KiB and leave checksums to the "hardware", as network cards do (TSO, GRO): the kernel cuts nothing into
packets of the MTU, and the relay has a tenth of the packets to move. Without it the relay is what limits from about 1 Gbit/s on.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
import time
from collections import deque

__all__ = ["MTU", "main"]

#: Jumbo frames: TCP's segments, and so its window's steps, are of this size, however many travel in one piece.
MTU = 9000
#: Bytes waiting for the link: 32 ms at 1 Gbit/s, what a switch's port may hold.
QUEUE_BYTES_MAX = 4 << 20
#: Packets taken from a device before due ones are looked at again.
BATCH = 32
#: A link that was idle for less than this was perhaps not idle: the relay came late to what lay in the device. So much is caught up on, like
#: the ``burst`` of tc-tbf.
CATCH_UP_S = 0.002

#: The largest IP packet, and struct virtio_net_hdr before it.
_PACKET_BYTES_MAX = 65_535 + 10

# linux/if_tun.h
_TUNSETIFF = 0x4004_54CA
_TUNSETOFFLOAD = 0x4004_54D0
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_TUN_F_CSUM = 0x01
_TUN_F_TSO4 = 0x02


def _device(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO4)
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
                packet = os.read(self._source, _PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            start = max(now - CATCH_UP_S, self._free_at)
            if (start - now) > QUEUE_BYTES_MAX * self._seconds_per_byte:
                continue
            self._free_at = start + len(packet) * self._seconds_per_byte
            self.under_way.append((max(now, self._free_at) + self._delay_s, packet))

    def deliver(self, now: float) -> None:
        """Hands over what has arrived."""
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self._target, self.under_way.popleft()[1])
            except OSError:
                pass  # the far device is down, or its queue is full: the packet is lost


def _directions(names: list[str], bytes_per_s: float, delay_s: float) -> dict[int, _Direction]:
    """Both directions of every link, by the device that they come from."""
    made = {}
    for near_name, far_name in zip(names[::2], names[1::2], strict=True):
        near, far = _device(near_name), _device(far_name)
        made[near] = _Direction(near, far, bytes_per_s, delay_s)
        made[far] = _Direction(far, near, bytes_per_s, delay_s)
    return made


def main() -> None:
    """Carries packets until it is killed."""
    core, bits_per_s, delay_s, *names = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it
    os.sched_setaffinity(0, {int(core)})
    directions = _directions(names, float(bits_per_s) / 8, float(delay_s))
    print("ready", flush=True)
    while True:
        due = min((each.under_way[0][0] for each in directions.values() if each.under_way), default=None)
        wait_s = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select(directions, [], [], wait_s)  # epoll's waits are whole milliseconds
        for source in readable:
            directions[source].take(time.monotonic())
        now = time.monotonic()
        for each in directions.values():
            each.deliver(now)


if __name__ == "__main__":
    main()
