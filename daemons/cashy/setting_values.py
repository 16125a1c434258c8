"""Kinds of values that settings have and TOML has not: sizes, addresses, endpoints, absolute paths.

Law: each kind is a subclass of the plain type that its readers want, so a setting can be used as the number
or text it is; it is made only by ``parse``, whose ValueError is a sentence that shows the operator how to
write it.
"""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import Any

from cashy.core.peer_certificate import parse_serial

__all__ = [
    "Address",
    "BLOCK_BYTES_MAX",
    "BLOCK_BYTES_MIN",
    "BlockSize",
    "ByteSize",
    "DomainName",
    "HttpUrl",
    "SerialNumber",
    "format_size",
    "parse_size",
    "parse_value",
]

#: Smaller blocks cost more headers and requests than they save; larger ones waste their tail and come late.
BLOCK_BYTES_MIN, BLOCK_BYTES_MAX = 64 << 10, 64 << 20

#: Labels of a DNS name; at least one letter in the last, or it would be an IP address (RFC 1123 2.1).
_DOMAIN = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*(?=[a-z0-9-]*[a-z])[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)

_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)?")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(value: object) -> int:
    """Reads a size in bytes: a whole number, or text like ``"256MiB"`` (B, KiB to TiB; powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f'{value!r} is no size; write bytes or a number with KiB, MiB, GiB or TiB, as in "256MiB"'
        )
    return int(match[1]) * _SIZE_UNITS[match[2] or "B"]


def format_size(size_bytes: int) -> str:
    """Writes a size in the largest unit that divides it: ``268435456`` as ``256MiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return str(size_bytes)


class ByteSize(int):
    """A size in bytes; in files and on the command line also ``"256MiB"``."""

    @classmethod
    def parse(cls, value: object) -> ByteSize:
        """Raises ValueError for what is no size."""
        return cls(parse_size(value))


class BlockSize(ByteSize):
    """A size in bytes that is a power of two from 64 KiB to 64 MiB."""

    @classmethod
    def parse(cls, value: object) -> BlockSize:
        """Raises ValueError for another size."""
        size_bytes = parse_size(value)
        if size_bytes.bit_count() != 1 or not BLOCK_BYTES_MIN <= size_bytes <= BLOCK_BYTES_MAX:
            raise ValueError(f"{value!r} is no block size; it must be a power of two from 64KiB to 64MiB")
        return cls(size_bytes)


class Address(str):
    """``HOST:PORT`` to listen on; port 0 lets the kernel choose; an IPv6 host stands in brackets."""

    @classmethod
    def parse(cls, value: object) -> Address:
        """Raises ValueError for anything else."""
        host, _, port = str(value).rpartition(":")
        if not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f'{value!r} is no address; write HOST:PORT, as in "127.0.0.1:9000"')
        return cls(value)

    @classmethod
    def of(cls, address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
        """The address of a bound socket (``getsockname``)."""
        host, port = address[:2]
        return cls(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    @property
    def host(self) -> str:
        """The host without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port, 0 to 65535."""
        return int(self.rpartition(":")[2])


class DomainName(str):
    """A DNS name such as ``s3.example.com``, kept in small letters."""

    @classmethod
    def parse(cls, value: object) -> DomainName:
        """Raises ValueError for anything else, a port and an IP address too."""
        name = str(value).lower().removesuffix(".")
        if _DOMAIN.fullmatch(name) is None:
            raise ValueError(f'{value!r} is no domain; write a name without port, as in "s3.example.com"')
        return cls(name)


class SerialNumber(int):
    """A certificate's serial number, as hexadecimal text with or without colons."""

    @classmethod
    def parse(cls, value: object) -> SerialNumber:
        """Raises ValueError for anything else."""
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no serial number; write it as text, as `cashy ca show` prints it")
        return cls(parse_serial(value))


class HttpUrl(str):
    """``http://HOST[:PORT]`` or ``https://…``, without query or user name."""

    @classmethod
    def parse(cls, value: object) -> HttpUrl:
        """Raises ValueError for anything else."""
        parts = urllib.parse.urlsplit(str(value))
        _ = parts.port  # raises ValueError itself when it is no number up to 65535
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ValueError(
                f'{value!r} is no endpoint; write http://HOST:PORT or https://HOST, without "?" and "@"'
            )
        return cls(str(value).rstrip("/"))


def parse_value(wanted: type[Any], value: object) -> object:
    """Makes one of the types above, or an absolute path, of a TOML value: msgspec's ``dec_hook``."""
    if issubclass(wanted, (ByteSize, Address, DomainName, HttpUrl, SerialNumber)):
        return wanted.parse(value)
    if issubclass(wanted, Path):
        if not isinstance(value, (str, Path)) or not Path(value).is_absolute():
            raise ValueError(f'{str(value)!r} is no absolute path; write one that begins with "/"')
        return Path(value)
    raise NotImplementedError(wanted)
