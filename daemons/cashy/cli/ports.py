"""Ports that stay one program's while it is restarted.

A socket that is bound and does not listen takes no connections, but keeps the kernel from giving its port to anybody
who asks for any. Whoever binds with SO_REUSEADDR (or SO_REUSEPORT, as S3 workers do, who share theirs) can listen
beside it. So a daemon that was killed finds its port free, and a ready line stays true.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cashy.errors import ConfigError
from cashy.setting_values import Address

__all__ = ["listening", "reserved_address", "shifted"]

#: Connections that wait while a worker is restarted; the kernel caps it at net.core.somaxconn.
_BACKLOG = 4096


def shifted(address: Address, count: int) -> Address:
    """The address ``count`` ports further; port 0 (any) stays what it is. ConfigError beyond the last port."""
    if not address.port:
        return address
    host = address.rpartition(":")[0]
    try:
        return Address.parse(f"{host}:{address.port + count}")
    except ValueError:
        raise ConfigError(
            f"port {address.port + count} is needed, too, beside {address}, but 65535 is the last one; choose a lower port"
        ) from None


@contextmanager
def reserved_address(listen: Address, advice: str) -> Iterator[Address]:
    """Holds the port until the end; gives the address with the real port.

    The first bind, without SO_REUSEPORT, is what notices another program on the port; then a ConfigError ends
    in ``advice``.
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen.host, listen.port))
            port = probe.getsockname()[1]
        holder = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen on {listen}: {error.strerror}; {advice}") from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((listen.host, port))
        yield Address(f"[{listen.host}]:{port}" if family == socket.AF_INET6 else f"{listen.host}:{port}")


@contextmanager
def listening(address: Address) -> Iterator[socket.socket]:
    """A socket that listens on a reserved address, beside others there, until the end."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address.host.strip("[]"), address.port))
        listener.listen(_BACKLOG)
        yield listener
