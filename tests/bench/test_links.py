"""The shaped links: as slow as they were told to be, loudly unavailable without root, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from .link import shaped_link, shaped_star
from .machine import stopped_in_the_end
from .row import Unavailable

_BITS_PER_S = 80_000_000
_ROUND_TRIP_S = 0.040
_BYTES = 4_000_000

#: Prints how long the first answer and all of it took; the middle's clock starts with the connection.
_ASK = """
import socket, sys, time
started = time.monotonic()
with socket.create_connection((sys.argv[1], 7401)) as connection:
    first = time.monotonic()
    received = 0
    while piece := connection.recv(1 << 16):
        received += len(piece)
print(received, first - started, time.monotonic() - first)
"""
_SEND = """
import socket, sys
with socket.create_server((sys.argv[1], 7401)) as server:
    print("ready", flush=True)
    while True:
        with server.accept()[0] as connection:
            connection.sendall(bytes(int(sys.argv[2])))
"""


def _left(what: str) -> str:
    return subprocess.run(["ip", *what.split()], capture_output=True, text=True, check=True).stdout


def _asked(prefix: list[str], address: str) -> tuple[int, float, float]:
    command = [*prefix, sys.executable, "-c", _ASK, address]
    received, connected_s, took_s = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    return int(received), float(connected_s), float(took_s)


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
def test_star_is_as_slow_as_told_joins_its_leaves_and_leaves_nothing() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    with ExitStack() as stack:
        try:
            star = stack.enter_context(shaped_star(2, _BITS_PER_S, _ROUND_TRIP_S))
        except Unavailable as error:
            pytest.skip(str(error))
        near, far = star.leaves
        command = [*far.prefix, sys.executable, "-c", _SEND, far.address, str(_BYTES)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        stack.enter_context(stopped_in_the_end(server))
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        # Never sooner than the links allow; how much later is the machine's affair.
        for prefix, links in ((star.prefix, 1), (near.prefix, 2)):
            received, connected_s, took_s = _asked(prefix, far.address)
            assert received == _BYTES
            assert connected_s >= links * _ROUND_TRIP_S
            assert took_s >= 0.9 * _BYTES * 8 / _BITS_PER_S
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding
    assert f"cashybench{os.getpid()}" not in _left("netns list")
    _wait_until_gone(f"{os.getpid()}-")


def _wait_until_gone(part: str) -> None:
    """The kernel takes a namespace's devices away a moment after the namespace."""
    deadline = time.monotonic() + 10
    while f"cbn{part}" in _left("-brief link") or f"cbf{part}" in _left("-brief link"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_root_links_are_unavailable_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="run as root"), shaped_link():
        pass
    with pytest.raises(Unavailable, match="run as root"), shaped_star(3, _BITS_PER_S, _ROUND_TRIP_S):
        pass
