"""The network of a lab: a switch in a network namespace of its own, a port for each host, and one cable to this machine.

The machine itself gets one interface for each lab, and no rule of its packet filter concerns what hosts say to each other. All of it is gone with
the switch's namespace. A host is cut off by taking its port out of the switch: its ``eth0`` stays up, and what it sends is heard by nobody, as when
a switch in between fails.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.programs import run_program
from labtest.namespaces.state import HostState, LabState

__all__ = [
    "BRIDGE",
    "address_of",
    "free_network",
    "host_commands",
    "in_switch",
    "mac_of",
    "make_switch",
    "master_of",
    "plug_in",
    "port_of",
    "switch_commands",
    "unplug",
]

BRIDGE = "bridge"
#: Hosts have addresses from here on; the machine has .1.
_FIRST_HOST = 11
#: What labs take their networks from, one /24 each: a part of 10/8 (RFC 1918) that few use.
_NETWORKS = (10, 213)
_LINK_PREFIX = "avlab"


def port_of(host: HostState) -> str:
    """The name of a host's port on the switch."""
    return f"port{host.index}"


def address_of(subnet: str, index: int) -> str:
    """The address of the ``index``-th host (from 0)."""
    return f"{subnet}.{_FIRST_HOST + index}"


def mac_of(number: int, index: int) -> str:
    """A locally administered address (IEEE 802), the same after each boot, as that of a network card is."""
    return f"02:61:76:00:{number:02x}:{index:02x}"


def free_network(taken: Iterable[int]) -> tuple[int, str, str]:
    """Number, first three bytes, and the name of the machine's interface, of a network that nothing on this machine uses.

    ``taken``: numbers of labs that may not have their interface yet. Raises :class:`LabsNotPossible` when all are in use.
    """
    used = set(taken) | _routed_numbers()
    for number in range(1, 255):
        link = f"{_LINK_PREFIX}{number}"
        if number not in used and not Path(f"/sys/class/net/{link}").exists():
            return number, ".".join(map(str, (*_NETWORKS, number))), link
    raise LabsNotPossible(
        "all 254 networks of 10.213.0.0/16 are in use: take labs down (labtest status, labtest down)"
    )


def _routed_numbers() -> set[int]:
    """Those that the machine has a route to already, e.g. of a lab in a lab."""
    numbers = set()
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        destination = int(line.split()[1], 16).to_bytes(4, "little")
        if (destination[0], destination[1]) == _NETWORKS:
            numbers.add(destination[2])
    return numbers


def in_switch(switch: Path, commands: str) -> None:
    """Runs commands of ip(8), one a line, in the switch's namespace."""
    run_program("nsenter", f"--net={switch}", "ip", "-batch", "-", stdin=commands)


def make_switch(switch: Path, link: str, subnet: str) -> None:
    """Makes the switch, and the machine's cable to it."""
    switch.touch()
    run_program("unshare", f"--net={switch}", "true")
    # Ports and bridges of a switch have no addresses, and need not ask the network for one.
    no_addresses = "for each in all default; do echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done"
    if Path("/proc/sys/net/ipv6").exists():
        run_program("nsenter", f"--net={switch}", "sh", "-c", no_addresses)
    run_program(
        "ip",
        "-batch",
        "-",
        stdin=f"""\
link add {link} type veth peer name machine netns {switch}
link set {link} addrgenmode none
address add {subnet}.1/24 dev {link}
link set {link} up
""",
    )
    in_switch(
        switch,
        f"""\
link add name {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set machine master {BRIDGE} up
link set dev {BRIDGE} up
""",
    )


def plug_in(switch: Path, hosts: Iterable[tuple[HostState, int]]) -> None:
    """Gives each host its ``eth0``, by the id of a process in its network namespace, and connects it as its state says."""
    in_switch(switch, "".join(switch_commands(host, pid) for host, pid in hosts))


def switch_commands(host: HostState, pid: int) -> str:
    """What :func:`plug_in` does for one host."""
    port = port_of(host)
    made = f"link add {port} type veth peer name eth0 address {host.mac} netns {pid}\nlink set {port} up\n"
    return made if host.is_cut_off else made + f"link set {port} master {master_of(host)}\n"


def unplug(switch: Path, host: HostState) -> None:
    """Takes a host's cable away, with the ``eth0`` at its other end. It may be gone already."""
    subprocess.run(
        ["nsenter", f"--net={switch}", "ip", "link", "del", "dev", port_of(host)],
        capture_output=True,
        check=False,
    )


def master_of(host: HostState) -> str:
    """The bridge that a host's port belongs to: that in front of its relay, if it has one."""
    return f"{BRIDGE}{host.index}" if host.relay_pid else BRIDGE


def host_commands(state: LabState, host: HostState) -> str:
    """Commands of ip(8) that are run in the host."""
    return f"link set lo up\naddress add {host.address}/24 broadcast {state.subnet}.255 dev eth0\nlink set eth0 up\n"
