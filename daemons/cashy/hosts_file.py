"""The file of a cluster's hosts (``[cluster] hosts_file``): its format, read and written. docs/membership.md has it for operators.

.. code-block:: toml

    version = 8            # counts up with each change
    hosts = 2              # how many [[peer]] follow
    gone = ["c"]           # hosts of earlier lists that are off for good (may be left out)

    [[peer]]
    name = "a"
    address = "10.0.0.1:9100"

    [[peer]]
    name = "b"
    address = "10.0.0.2:9100"
    weight = 2.0

As strict as the settings. ``hosts`` is there because a file that is cut off after an entry is valid TOML, with fewer hosts: whoever writes the file
in place, and not by renaming another one over it, must not take half of the cluster out.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from cashy.errors import ConfigError
from cashy.setting_sections import PeerSettings
from cashy.setting_values import parse_value
from cashy.settings import PEERS_MAX, check_peers, explain_mismatch
from hostkit.toml_lines import KeyPath, line_of

__all__ = ["HOSTS_FILE_BYTES_MAX", "HostList", "format_hosts", "parse_hosts", "read_hosts"]

#: The largest cluster's list, with comments; a larger file is something else, named by mistake.
HOSTS_FILE_BYTES_MAX = 1 << 20

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - refused here
_VERSION_MAX = (1 << 63) - 1


class HostList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list of hosts. ``version`` counts up with each change, from 1; 0: it stands in the settings, and never changes."""

    version: Annotated[int, msgspec.Meta(ge=1, le=_VERSION_MAX)]
    host_count: Annotated[int, msgspec.Meta(ge=1, le=PEERS_MAX)] = msgspec.field(name="hosts")
    peers: tuple[PeerSettings, ...] = msgspec.field(name="peer")
    gone: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Names of its hosts."""
        return frozenset(peer.name for peer in self.peers)

    @classmethod
    def fixed(cls, peers: tuple[PeerSettings, ...]) -> HostList:
        """The list of the settings."""
        return cls(version=0, host_count=len(peers), peers=peers)


def read_hosts(path: Path) -> HostList:
    """Reads the file. Raises :class:`~cashy.errors.ConfigError`, which names file and line."""
    try:
        # Not blocking: a pipe named by mistake must not hang the start.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            data = file.read(HOSTS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the list of hosts {path}: {error.strerror}") from None
    if len(data) > HOSTS_FILE_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {HOSTS_FILE_BYTES_MAX:,} bytes: it must be another file")
    try:
        return parse_hosts(data.decode(), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the list of hosts is not UTF-8 text") from None


def parse_hosts(text: str, source: str) -> HostList:
    """The list in a text from ``source``. Raises :class:`~cashy.errors.ConfigError`."""

    def error(place: KeyPath, message: str) -> ConfigError:
        return ConfigError(f"{source}:{line_of(text, place) or 1}: {message}")

    if not text.strip():
        raise ConfigError(f"{source}: the list of hosts is empty")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        line = re.search(r"at line (\d+)", str(wrong))
        raise ConfigError(f"{source}:{line[1] if line else 1}: not valid TOML: {wrong}") from None
    try:
        hosts = msgspec.convert(data, HostList, dec_hook=parse_value)
    except msgspec.ValidationError as wrong:
        raise error(*explain_mismatch(str(wrong))) from None
    if len(hosts.peers) != hosts.host_count:
        raise error(
            ("hosts",),
            f"hosts = {hosts.host_count}, but {len(hosts.peers)} [[peer]] follow: the file is cut off, or `hosts` was not changed with it",
        )
    check_peers(hosts.peers, error)
    for index, peer in enumerate(hosts.peers):
        if peer.address.host in _WILDCARDS:
            raise error(
                ("peer", index, "address"),
                f"nobody can connect to {peer.address}; give the address that the other hosts reach",
            )
    for name in hosts.gone:
        if name in hosts.names:
            raise error(
                ("gone",), f'"{name}" is in the list and among those that are gone; it is one or the other'
            )
    return hosts


def format_hosts(hosts: HostList) -> str:
    """The text of a list, as :func:`parse_hosts` reads it."""
    lines = [f"version = {hosts.version}", f"hosts = {len(hosts.peers)}"]
    if hosts.gone:
        lines.append("gone = [" + ", ".join(f'"{name}"' for name in hosts.gone) + "]")
    for peer in hosts.peers:
        lines += [
            "",
            "[[peer]]",
            f'name = "{peer.name}"',
            f'address = "{peer.address}"',
            f"weight = {peer.weight!r}",
        ]
    return "\n".join(lines) + "\n"
