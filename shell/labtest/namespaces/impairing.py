"""Puts a relay into a host's cable, tells it what to do, and takes it out again when the cable is to be plain."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from labtest.namespaces.errors import FaultNotPossible
from labtest.namespaces.limits import LAUNCH_TIMEOUT_S, RELAY_QUEUE_BYTES_MAX
from labtest.namespaces.readable import wait_readable
from labtest.namespaces.state import Folder, HostState, LabState, is_running, start_ticks
from labtest.namespaces.wiring import BRIDGE, in_switch, master_of, port_of

__all__ = ["apply_impairment", "relay_counts"]

_RELAY = Path(__file__).with_name("relay.py")
_TUN = Path("/dev/net/tun")
_MESSAGE_BYTES_MAX = 65_536


def apply_impairment(folder: Folder, state: LabState, host: HostState) -> None:
    """Makes the host's cable what ``host.impairment`` says. Raises :class:`FaultNotPossible` where the kernel has no TUN devices."""
    is_relayed = is_running(host.relay_pid, host.relay_started)
    if host.impairment.is_none():
        if host.relay_pid:
            _take_out(folder, host)
        return
    if not is_relayed:
        _put_in(folder, state, host)
    _tell(folder, state, host)


def relay_counts(folder: Folder, state: LabState, host: HostState) -> dict[str, int]:
    """Frames ``lost`` and ``passed`` by the host's relay so far; empty without one."""
    return _tell(folder, state, host) if is_running(host.relay_pid, host.relay_started) else {}


def _put_in(folder: Folder, state: LabState, host: HostState) -> None:
    if not _TUN.exists():
        raise FaultNotPossible(
            f"{_TUN} is missing, and links are impaired with it: load the kernel module  tun  (modprobe tun)"
        )
    cgroup = Path(state.cgroup) / f".relay{host.index}"
    cgroup.mkdir(exist_ok=True)
    near, far = f"near{host.index}", f"far{host.index}"
    program = [
        sys.executable,
        "-I",
        "-S",
        str(_RELAY),
        near,
        far,
        str(folder.relay_socket(host.index)),
        str(cgroup),
    ]
    host.relay_pid = _start(["nsenter", f"--net={folder.switch}", "setsid", "--fork", *program], host.name)
    host.relay_started = start_ticks(host.relay_pid)
    mine = master_of(host)
    commands = f"""\
link add name {mine} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set dev {near} master {mine} up
link set dev {far} master {BRIDGE} up
link set dev {mine} up
"""
    in_switch(folder.switch, commands + _plugged(host, mine))


def _start(argv: list[str], host: str) -> int:
    """Starts the relay as nobody's child, since it outlives whoever starts it; returns its process id."""
    starter = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
    )
    with starter:
        assert starter.stdout is not None
        is_ready = wait_readable(starter.stdout.fileno(), LAUNCH_TIMEOUT_S)
        words = starter.stdout.readline().split() if is_ready else []
    if len(words) != 2 or words[0] != b"ready":
        raise FaultNotPossible(
            f"{host}: the relay in its cable did not start: are TUN devices allowed here ({_TUN})?"
        )
    return int(words[1])


def _take_out(folder: Folder, host: HostState) -> None:
    mine = master_of(host)
    in_switch(folder.switch, _plugged(host, BRIDGE) + f"link del dev {mine}\n")
    if is_running(host.relay_pid, host.relay_started):
        os.kill(host.relay_pid, signal.SIGKILL)
    host.relay_pid = host.relay_started = 0


def _plugged(host: HostState, bridge: str) -> str:
    return f"link set dev {port_of(host)} master {bridge}\n" if host.is_up() and not host.is_cut_off else ""


def _tell(folder: Folder, state: LabState, host: HostState) -> dict[str, int]:
    impairment = host.impairment
    order = {
        "delay_s": impairment.delay_ms / 1e3,
        "jitter_s": impairment.jitter_ms / 1e3,
        "loss": impairment.loss_percent / 100,
        "bytes_per_s": impairment.rate_mbit * 1e6 / 8,
        "cut_from": [state.host(name).mac for name in impairment.cut_from],
        "queue_bytes_max": RELAY_QUEUE_BYTES_MAX,
    }
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(LAUNCH_TIMEOUT_S)
            connection.connect(str(folder.relay_socket(host.index)))
            connection.send(json.dumps(order).encode())
            answer: dict[str, int] = json.loads(connection.recv(_MESSAGE_BYTES_MAX))
            return answer
    except (OSError, ValueError) as error:
        raise FaultNotPossible(
            f"{host.name}: the relay in its cable does not answer ({error}); clear it and try again"
        ) from None
