"""A cluster's authority for tests, certificates of hosts in all conditions, and both ends of the peer protocol over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cashy.peer.hosts import ANNA, BERT, HOSTS, MemoryService, until

from cashy.certificates import Pair, issue_certificate, make_authority
from cashy.core.peer_greeting import PeerIdentity
from cashy.peer.client import Peer
from cashy.peer.server import PeerServer
from cashy.peer.tls import LoadedTls, PeerTls, TlsFiles, load_peer_tls

__all__ = ["CLUSTER", "Authority", "first_flight", "secure_pair", "secure_peer", "secure_server"]

CLUSTER = "floor"


@dataclass
class Authority:
    """One, with a folder for its files."""

    folder: Path
    cluster: str = CLUSTER
    pair: Pair = field(init=False)

    def __post_init__(self) -> None:
        self.pair = make_authority(self.cluster, datetime.now(UTC))

    def issue(
        self, host: str, *, cluster: str | None = None, days: float = 30, ago: timedelta = timedelta(0)
    ) -> Pair:
        return issue_certificate(
            self.pair, cluster or self.cluster, host, datetime.now(UTC) - ago, life=timedelta(days=days)
        )

    def files(self, host: str, own: Pair | None = None, *, trusted: Collection[Authority] = ()) -> TlsFiles:
        """The host's three files."""
        own = own or self.issue(host)
        files = TlsFiles(*(self.folder / f"{host}{suffix}" for suffix in (".pem", "-key.pem", "-ca.pem")))
        files.certificate.write_bytes(own.certificate)
        files.key.write_bytes(own.key)
        files.key.chmod(0o600)
        files.authorities.write_bytes(b"".join(each.pair.certificate for each in trusted or (self,)))
        return files

    def load(self, host: str, own: Pair | None = None, *, trusted: Collection[Authority] = ()) -> LoadedTls:
        return load_peer_tls(self.files(host, own, trusted=trusted), self.cluster, host)

    def tls(self, host: str, own: Pair | None = None, *, trusted: Collection[Authority] = ()) -> PeerTls:
        return PeerTls(self.load(host, own, trusted=trusted))


@asynccontextmanager
async def secure_server(
    service: MemoryService, tls: PeerTls, identity: PeerIdentity = BERT
) -> AsyncIterator[PeerServer]:
    server = PeerServer(service, identity=identity, hosts=HOSTS, tls=tls)
    server.listen("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.close()
        assert server.counters()["connections"] == server.counters()["greetings_under_way"] == 0


@asynccontextmanager
async def secure_peer(
    address: tuple[str, int], tls: PeerTls | None, identity: PeerIdentity = ANNA, name: str = "bert"
) -> AsyncIterator[Peer]:
    peer = Peer(name, address, identity=identity, tls=tls, jitter=lambda: 0.5)
    peer.start()
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def secure_pair(service: MemoryService, authority: Authority) -> AsyncIterator[tuple[Peer, PeerServer]]:
    """Two hosts, connected."""
    async with (
        secure_server(service, authority.tls("bert")) as server,
        secure_peer(server.address, authority.tls("anna")) as peer,
    ):
        await until(lambda: peer.is_up)
        yield peer, server


def first_flight(context: ssl.SSLContext) -> bytes:
    """What a client says first."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
