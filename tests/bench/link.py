"""Links of a given rate and round trip to network namespaces of our own, made and removed here.

veth pairs with ``tc netem`` where the kernel has it; else pairs of TUN devices joined by a relay (``relay.py``), which does the same in a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .generator import REPOSITORY
from .machine import LOAD_CORE, program, stopped_in_the_end
from .relay import MTU
from .row import Unavailable

__all__ = ["GIGABIT", "Link", "Star", "shaped_link", "shaped_star"]

GIGABIT = 1_000_000_000
#: Addresses of RFC 2544's range for benchmarks, which no network uses.
_NEAR, _FAR = "198.18.97.1", "198.18.97.2"
#: Round trip of the link to the store.
_ROUND_TRIP_S = 0.005


@dataclass(frozen=True)
class _End:
    """A device, its address, and the namespace it is moved to (empty: it stays here)."""

    device: str
    address: str
    namespace: str

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []


@dataclass(frozen=True)
class _Cable:
    near: _End
    far: _End


@dataclass(frozen=True)
class Link:
    """A namespace at the far end, and what makes the link slow."""

    prefix: list[str]
    kind: str
    #: The address of the far end.
    address: str


@dataclass(frozen=True)
class Star:
    """A namespace in the middle, and one at the far end of each of its links; all reach each other through it."""

    prefix: list[str]
    kind: str
    leaves: Sequence[Link]
    #: The middle's address on the link to the first leaf; all leaves have a route to it.
    address: str
    #: Where the process that carries the packets runs; None where the kernel does it.
    relay_pid: int | None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


def _run_quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


def _check_rights() -> None:
    if os.geteuid():
        raise Unavailable(
            "a shaped link needs a network namespace, and that root: run as root to see this row"
        )
    for name in ("ip", "tc"):
        program(name, "Debian package iproute2")


def _namespace(stack: ExitStack, name: str) -> None:
    # What removes it is there before it is: a signal may come in between.
    stack.callback(_run_quietly, "ip", "netns", "del", name)
    _run("ip", "netns", "add", name)
    _run("ip", "-n", name, "link", "set", "lo", "up")


@contextmanager
def shaped_link() -> Iterator[Link]:
    """1 Gbit/s and 5 ms; raises :class:`Unavailable` without root, or where the kernel offers neither netem nor TUN."""
    _check_rights()
    number = os.getpid()
    with ExitStack() as stack:
        _namespace(stack, f"cashybench{number}")
        near, far = _End(f"cbn{number}", _NEAR, ""), _End(f"cbf{number}", _FAR, f"cashybench{number}")
        kind, _ = _connect(stack, [_Cable(near, far)], GIGABIT, _ROUND_TRIP_S)
        yield Link(far.prefix, kind, _FAR)


@contextmanager
def shaped_star(leaf_count: int, bits_per_s: int, round_trip_s: float) -> Iterator[Star]:
    """``leaf_count`` links that meet in one namespace; raises :class:`Unavailable` as :func:`shaped_link` does."""
    _check_rights()
    number, middle = os.getpid(), f"cashybench{os.getpid()}"
    with ExitStack() as stack:
        cables = []
        _namespace(stack, middle)
        for leaf in range(leaf_count):
            _namespace(stack, f"{middle}-{leaf}")
            near = _End(f"cbn{number}-{leaf}", f"198.18.{leaf}.1", middle)
            cables.append(_Cable(near, _End(f"cbf{number}-{leaf}", f"198.18.{leaf}.2", f"{middle}-{leaf}")))
        kind, relay_pid = _connect(stack, cables, bits_per_s, round_trip_s)
        for cable in cables:
            _run(*cable.far.prefix, "ip", "route", "add", "default", "via", cable.near.address)
        # Per namespace: nothing outside this one is forwarded.
        _run(*cables[0].near.prefix, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        leaves = [Link(cable.far.prefix, kind, cable.far.address) for cable in cables]
        yield Star(cables[0].near.prefix, kind, leaves, cables[0].near.address, relay_pid)


def _connect(
    stack: ExitStack, cables: Sequence[_Cable], bits_per_s: int, round_trip_s: float
) -> tuple[str, int | None]:
    """Makes the devices and shapes what is between them; returns what does it, and its process."""
    for cable in cables:
        stack.callback(
            _run_quietly, "ip", "link", "del", cable.near.device
        )  # unless it went with its namespace
    relay_pid = None
    try:
        kind = _by_netem(cables, bits_per_s, round_trip_s / 2)
    except Unavailable:
        for cable in cables:
            _run_quietly(*cable.near.prefix, "ip", "link", "del", cable.near.device)
        kind, relay_pid = _by_relay(stack, cables, bits_per_s, round_trip_s / 2)
    for cable in cables:
        for end in (cable.near, cable.far):
            _run(*end.prefix, "ip", "addr", "add", f"{end.address}/30", "dev", end.device)
            _run(*end.prefix, "ip", "link", "set", end.device, "mtu", str(MTU), "up")
    return kind, relay_pid


def _move(end: _End) -> None:
    if end.namespace:
        _run("ip", "link", "set", end.device, "netns", end.namespace)


def _by_netem(cables: Sequence[_Cable], bits_per_s: int, one_way_s: float) -> str:
    netem = [
        "root",
        "netem",
        "limit",
        "1000",
        "delay",
        f"{one_way_s * 1e6:.0f}us",
        "rate",
        f"{bits_per_s}bit",
    ]
    for cable in cables:
        _run("ip", "link", "add", cable.near.device, "type", "veth", "peer", "name", cable.far.device)
        for end in (cable.near, cable.far):
            _move(end)  # before it is shaped: moving takes that away
            _run(*end.prefix, "tc", "qdisc", "add", "dev", end.device, *netem)
    return "veth and netem"


def _by_relay(
    stack: ExitStack, cables: Sequence[_Cable], bits_per_s: int, one_way_s: float
) -> tuple[str, int]:
    if not os.path.exists("/dev/net/tun"):
        raise Unavailable("this kernel offers neither netem nor TUN devices: no link can be shaped")
    ends = [end for cable in cables for end in (cable.near, cable.far)]
    command = [sys.executable, "-m", "tests.bench.relay", str(LOAD_CORE), str(bits_per_s), str(one_way_s)]
    process = subprocess.Popen(
        [*command, *(end.device for end in ends)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    stack.enter_context(stopped_in_the_end(process))
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise Unavailable("the relay between TUN devices did not start")
    for end in ends:
        _move(end)
    return "TUN devices and a relay process (this kernel has no netem)", process.pid
