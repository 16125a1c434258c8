"""Limits of a lab, each with its reason."""

from __future__ import annotations

__all__ = [
    "COMMAND_TIMEOUT_S",
    "DISK_BYTES",
    "HOSTS_MAX",
    "HOST_NAME_LENGTH_MAX",
    "JOURNAL_LINES_TOLD",
    "LAUNCH_TIMEOUT_S",
    "RELAY_QUEUE_BYTES_MAX",
    "REMOVAL_TIMEOUT_S",
    "RUN_BYTES",
    "SHARED_MEMORY_BYTES",
    "TEMPORARY_BYTES",
    "UP_TIMEOUT_S",
]

#: An idle host takes 40 MB and half a second of CPU to boot; more of them than this on one machine tests the machine.
HOSTS_MAX = 100

#: HOST_NAME_MAX of Linux is 64 bytes; DNS labels, and so most software, stop at 63.
HOST_NAME_LENGTH_MAX = 63

#: What a host can write to its disk, which is memory that is taken as it is used.
DISK_BYTES = 4 * 2**30
SHARED_MEMORY_BYTES = 2**30
TEMPORARY_BYTES = 2**30
#: As systemd does for /run on small machines; units and sockets take a few MB at most.
RUN_BYTES = 128 * 2**20

#: All hosts of a lab, from nothing to answering ssh. Twenty take 10 s on two busy cores; a machine that swaps takes longer.
UP_TIMEOUT_S = 60.0

#: From the start of the launcher until it has made its namespaces, or has become the host's systemd. Milliseconds, but for a starved machine.
LAUNCH_TIMEOUT_S = 20.0

#: A command that is run in a host, unless the caller says otherwise; programs of this machine that set up links and mounts, always.
COMMAND_TIMEOUT_S = 60.0

#: Until the kernel has ended all processes of a host that was killed. Those that write out a large core or hang in a device take longest.
REMOVAL_TIMEOUT_S = 20.0

#: Of the journal of a host whose boot failed.
JOURNAL_LINES_TOLD = 15

#: Bytes under way in one direction of a delayed link; what finds it full is dropped. 100 ms at 1 Gbit/s, or 1 s at 100 Mbit/s.
RELAY_QUEUE_BYTES_MAX = 12 * 2**20
