"""Where the server is and how one proves who one is: addresses, TLS, token; what gRPC channels are made with."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from toucan.client.errors import InvalidRequest
from toucan.client.limits import (
    ADDRESSES_MAX,
    DEFAULT_PORT,
    KEEPALIVE_TIME_MS,
    KEEPALIVE_TIMEOUT_MS,
    MESSAGE_BYTES_MAX,
    RECONNECT_BACKOFF_MS_MAX,
    RECONNECT_BACKOFF_MS_MIN,
    TOKEN_BYTES_MAX,
)

__all__ = ["Access", "Address", "access_from", "addresses_from", "channel_options"]

_LOOPBACK = ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """One front end: a host and port, or (``path``) a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this host."""
        return bool(self.path) or self.host in _LOOPBACK or self.host.startswith("127.")

    def probe(self, timeout_s: float) -> None:
        """Connects and hangs up: before anything is sent, an OSError here means that nothing was. gRPC alone does not tell the two apart."""
        if self.path:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(timeout_s)
                sock.connect(self.path)
        else:
            socket.create_connection((self.host, self.port), timeout_s).close()


def addresses_from(text: str) -> tuple[Address, ...]:
    """``HOST:PORT[,HOST:PORT…]``; a port may be left out; ``unix:PATH``. Raises :class:`~toucan.client.errors.InvalidRequest`."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > ADDRESSES_MAX:
        raise InvalidRequest(f"{len(parts)} addresses of servers; {ADDRESSES_MAX} are the most")
    return tuple(_address_from(part) for part in parts)


def _address_from(text: str) -> Address:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address(path=text.removeprefix("unix:"))
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or (not separator and text):
        host, port = text, str(DEFAULT_PORT)
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host.removeprefix("[").removesuffix("]") if is_bracketed else host
    is_number = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536
    if not host or not is_number or "/" in host or (":" in host and not is_bracketed):
        raise InvalidRequest(
            f"{text[:80]!r} is no address of a server; write HOST:PORT, [IPv6]:PORT or unix:PATH"
        )
    return Address(host, int(port))


@dataclass(frozen=True, slots=True)
class Access:
    """Addresses and credentials of one client."""

    addresses: tuple[Address, ...]
    #: None: no TLS.
    credentials: grpc.ChannelCredentials | None
    #: Sent with every call.
    metadata: tuple[tuple[str, str], ...] = field(repr=False, default=())

    def target(self, index: int) -> str:
        """What gRPC is told to connect to."""
        address = self.addresses[index % len(self.addresses)]
        return str(address) if address.path else f"dns:///{address}"


def access_from(
    address: str | None,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    tls: bool | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    certificate_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
) -> Access:
    """Checks what a caller gave and fills in the rest from ``$TOUCAN_SERVER``, ``$TOUCAN_TOKEN_FILE`` and ``$TOUCAN_TLS_CA``.

    Raises :class:`~toucan.client.errors.InvalidRequest`, also where a token would travel in clear to another host.
    """
    addresses = addresses_from(address or os.environ.get("TOUCAN_SERVER") or f"127.0.0.1:{DEFAULT_PORT}")
    if token is None:
        token_file = token_file or os.environ.get("TOUCAN_TOKEN_FILE") or None
        token = None if token_file is None else _token_from(Path(token_file))
    if (certificate_file is None) != (key_file is None):
        raise InvalidRequest("a client certificate needs both its file and that of its key")
    if tls is not False:
        ca_file = ca_file or os.environ.get("TOUCAN_TLS_CA") or None
    if tls is None:
        tls = ca_file is not None or certificate_file is not None
    elif not tls and (ca_file is not None or certificate_file is not None):
        raise InvalidRequest("certificates are given, but TLS is switched off; leave one of them out")
    if token is not None and not tls and not all(one.is_local for one in addresses):
        raise InvalidRequest(
            "a token would go to another host in clear, where anybody on the way can read it; use TLS (a CA file, or tls)"
        )
    credentials = None
    if tls:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(ca_file, "CA file"),
            private_key=_read(key_file, "key file"),
            certificate_chain=_read(certificate_file, "certificate file"),
        )
    return Access(addresses, credentials, () if token is None else (("authorization", f"Bearer {token}"),))


def _read(path: str | os.PathLike[str] | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read the {what} {os.fspath(path)}: {error.strerror}") from None


def _token_from(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(f"cannot read the token file {path}: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & 0o007:
        raise InvalidRequest(f"the token file {path} can be read by everybody: chmod o= {path}")
    token = data.decode("ascii", "replace").strip()
    if not token or len(data) > TOKEN_BYTES_MAX or not token.isprintable() or " " in token:
        raise InvalidRequest(f"the token file {path} does not hold one token on one line")
    return token


def channel_options() -> Sequence[tuple[str, int]]:
    """How channels of this library behave."""
    return (
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MIN),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MAX),
        # Finds a host or process that is gone without a word, also behind streams that have nothing to say; the server allows one every 5 s.
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # A new channel is a new connection: gRPC would share the frozen one, and its pause after a failure.
        ("grpc.use_local_subchannel_pool", 1),
        # What probe() finds must be what gRPC finds.
        ("grpc.enable_http_proxy", 0),
        # Only this library decides what is sent again, since only it knows under which key.
        ("grpc.enable_retries", 0),
    )
