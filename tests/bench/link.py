"""A link of 1 Gbit/s and 5 ms to a network namespace of our own, made and removed here.

A veth pair with ``tc netem`` where the kernel has it; else a pair of TUN devices joined by a relay (``relay.py``), which does the same in a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .generator import REPOSITORY
from .machine import LOAD_CORE, program, stopped_in_the_end
from .relay import MTU
from .row import Unavailable

__all__ = ["FAR", "Link", "shaped_link"]

#: Addresses of RFC 2544's range for benchmarks, which no network uses.
NEAR, FAR = "198.18.97.1", "198.18.97.2"
BITS_PER_S = 1_000_000_000
#: Half of the round trip, in each direction.
ONE_WAY_S = 0.0025


@dataclass(frozen=True)
class Link:
    """A namespace at the far end, and what makes the link slow."""

    namespace: str
    near: str
    far: str
    kind: str = ""

    @property
    def prefix(self) -> list[str]:
        """Starts a command at the far end."""
        return ["ip", "netns", "exec", self.namespace]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")


def _run_quietly(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


@contextmanager
def shaped_link() -> Iterator[Link]:
    """The link; raises :class:`Unavailable` without root, or where the kernel offers neither netem nor TUN."""
    if os.geteuid():
        raise Unavailable(
            "a shaped link needs a network namespace, and that root: run as root to see this row"
        )
    for name in ("ip", "tc"):
        program(name, "Debian package iproute2")
    names = f"cashybench{os.getpid()}", f"cbn{os.getpid()}", f"cbf{os.getpid()}"
    with ExitStack() as stack:
        _run("ip", "netns", "add", names[0])
        stack.callback(_run_quietly, "ip", "netns", "del", names[0])
        stack.callback(_run_quietly, "ip", "link", "del", names[1])
        try:
            kind = _by_netem(Link(*names))
        except Unavailable:
            _run_quietly("ip", "link", "del", names[1])
            kind = _by_relay(Link(*names), stack)
        yield Link(*names, kind)


def _bring_up(link: Link) -> None:
    _run("ip", "addr", "add", f"{NEAR}/30", "dev", link.near)
    _run("ip", "link", "set", link.near, "mtu", str(MTU), "up")
    _run(*link.prefix, "ip", "addr", "add", f"{FAR}/30", "dev", link.far)
    _run(*link.prefix, "ip", "link", "set", link.far, "mtu", str(MTU), "up")
    _run(*link.prefix, "ip", "link", "set", "lo", "up")


def _by_netem(link: Link) -> str:
    _run("ip", "link", "add", link.near, "type", "veth", "peer", "name", link.far, "netns", link.namespace)
    netem = [
        "root",
        "netem",
        "limit",
        "1000",
        "delay",
        f"{ONE_WAY_S * 1e6:.0f}us",
        "rate",
        f"{BITS_PER_S}bit",
    ]
    _run("tc", "qdisc", "add", "dev", link.near, *netem)
    _run(*link.prefix, "tc", "qdisc", "add", "dev", link.far, *netem)
    _bring_up(link)
    return "veth and netem"


def _by_relay(link: Link, stack: ExitStack) -> str:
    if not os.path.exists("/dev/net/tun"):
        raise Unavailable("this kernel offers neither netem nor TUN devices: no link can be shaped")
    command = [sys.executable, "-m", "tests.bench.relay", str(LOAD_CORE), link.near, link.far]
    process = subprocess.Popen(
        [*command, str(BITS_PER_S), str(ONE_WAY_S)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    stack.enter_context(stopped_in_the_end(process))
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise Unavailable("the relay between two TUN devices did not start")
    _run("ip", "link", "set", link.far, "netns", link.namespace)
    _bring_up(link)
    return "two TUN devices and a relay process (this kernel has no netem)"
