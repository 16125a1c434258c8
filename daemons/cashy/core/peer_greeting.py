"""The greeting of two hosts: who may talk to whom, decided from values.

Law. The four steps of a mutual challenge and response over the cluster's key, each side a small object that is fed payloads and gives
payloads; randomness (the nonce) is a parameter, frames and sockets are elsewhere.

HELLO and CHALLENGE say who the sides are and what they need from each other; PROOF and WELCOME are HMAC-SHA256 (RFC 2104) over the
*whole* of both, under different labels, so that neither name, block size nor nonce can be changed on the way, and no side's proof can be
sent back to it. A new nonce of each side in every connection makes a recorded greeting useless. What a stranger may learn without the key
is whether version and cluster's name were right (people need to be told that), and nothing about the list of peers. The version that counts follows
from both, so nobody can lower it on the way either.

Over TLS the greeting is the same, and its claims are held against the certificates: ``check`` of the accepting side is asked about the name in
HELLO before anything is answered. The key then is one more lock and may be missing on both sides (``b""``); without TLS there must be one.

Not covered without TLS: frames carry checksums, not signatures, and are not encrypted. Who can change packets between two hosts of
a cluster can change blocks. A weak key can be guessed from one recorded greeting: hence the least length of a key where settings are read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import sha256

from google.protobuf.message import DecodeError

from aviary.cashy.v1.peer_pb2 import PeerChallenge, PeerHello, PeerProof, PeerRefusal, PeerWelcome
from cashy.core.peer_frames import PEER_PROTOCOL_OLDEST, PEER_PROTOCOL_VERSION, PeerError

__all__ = ["AcceptingGreeting", "ConnectingGreeting", "GreetingRefused", "NONCE_BYTES", "PeerIdentity"]

NONCE_BYTES = 32

_MESSAGE_CHARACTERS_MAX = (
    400  # of a refusal, so that it fits its frame whatever names the other side has sent
)

_CLIENT_LABEL = b"cashy peer client 1"
_SERVER_LABEL = b"cashy peer server 1"


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who this host is: its cluster's name, its own name among the peers, block size, and the cluster's key: 16 bytes or more, over TLS also none."""

    cluster: str
    host: str
    key: bytes = field(repr=False)
    block_bytes: int


class GreetingRefused(PeerError):
    """The other side is not whom we talk to. ``reason`` is a ``PeerRefusal.Reason``."""

    def __init__(self, reason: PeerRefusal.Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def reason_name(self) -> str:
        """The reason's name, for counters and messages."""
        known: bool = self.reason in PeerRefusal.Reason.values()
        return PeerRefusal.Reason.Name(self.reason) if known else f"reason {int(self.reason)}"

    def payload(self) -> bytes:
        """The REFUSED frame's payload."""
        return PeerRefusal(
            reason=self.reason, message=self.message[:_MESSAGE_CHARACTERS_MAX]
        ).SerializeToString()


def _mac(key: bytes, label: bytes, hello: bytes, challenge: bytes) -> bytes:
    return hmac.digest(key, label + sha256(hello).digest() + sha256(challenge).digest(), "sha256")


def _malformed(what: str) -> GreetingRefused:
    return GreetingRefused(PeerRefusal.PROTOCOL, f"{what} is malformed")


def _check_version_and_cluster(identity: PeerIdentity, claim: PeerHello | PeerChallenge) -> int:
    """The version that counts: the highest that both speak."""
    who, cluster, oldest = f"host {claim.host!r}", claim.cluster, claim.protocol_version
    newest = claim.protocol_version_newest or oldest
    if oldest > PEER_PROTOCOL_VERSION or newest < PEER_PROTOCOL_OLDEST:
        raise GreetingRefused(
            PeerRefusal.VERSION,
            f"{who} speaks versions {oldest} to {newest} of the peer protocol, this host {PEER_PROTOCOL_OLDEST} to {PEER_PROTOCOL_VERSION}: "
            "upgrade the older one",
        )
    if cluster != identity.cluster:
        raise GreetingRefused(
            PeerRefusal.CLUSTER,
            f"{who} belongs to cluster {cluster!r}, this host to {identity.cluster!r}: check [cluster] name and the [[peer]] addresses",
        )
    return min(newest, PEER_PROTOCOL_VERSION)


def _check_block_size(identity: PeerIdentity, block_bytes: int, who: str) -> None:
    if block_bytes != identity.block_bytes:
        raise GreetingRefused(
            PeerRefusal.BLOCK_SIZE,
            f"{who} has blocks of {block_bytes} bytes, this host of {identity.block_bytes}: all hosts of a cluster need the same block size",
        )


class ConnectingGreeting:
    """The side that connects to ``to_host``. Methods in the order of the frames; each raises :class:`GreetingRefused`."""

    def __init__(self, identity: PeerIdentity, to_host: str, nonce: bytes) -> None:
        self._identity = identity
        self._to_host = to_host
        self._challenge = b""
        #: Of the protocol; 0 before CHALLENGE.
        self.version = 0
        self.hello = PeerHello(
            protocol_version=PEER_PROTOCOL_OLDEST,
            protocol_version_newest=PEER_PROTOCOL_VERSION,
            cluster=identity.cluster,
            host=identity.host,
            to_host=to_host,
            block_bytes=identity.block_bytes,
            nonce=nonce,
        ).SerializeToString()

    def challenged(self, payload: bytes) -> bytes:
        """CHALLENGE came; gives PROOF's payload."""
        try:
            challenge = PeerChallenge.FromString(payload)
        except DecodeError as error:
            raise _malformed("CHALLENGE") from error
        who = f"host {challenge.host!r}"
        self.version = _check_version_and_cluster(self._identity, challenge)
        if challenge.host != self._to_host:
            raise GreetingRefused(
                PeerRefusal.WRONG_HOST,
                f"the address of {self._to_host!r} leads to {challenge.host!r}: check the [[peer]] addresses",
            )
        _check_block_size(self._identity, challenge.block_bytes, who)
        if len(challenge.nonce) != NONCE_BYTES:
            raise _malformed("CHALLENGE's nonce")
        self._challenge = payload
        mac = _mac(self._identity.key, _CLIENT_LABEL, self.hello, payload)
        return PeerProof(mac=mac).SerializeToString()

    def welcomed(self, payload: bytes) -> int:
        """WELCOME came: the server is who it says. Gives the number of requests it takes at a time."""
        try:
            welcome = PeerWelcome.FromString(payload)
        except DecodeError as error:
            raise _malformed("WELCOME") from error
        due = _mac(self._identity.key, _SERVER_LABEL, self.hello, self._challenge)
        if not hmac.compare_digest(welcome.mac, due):
            raise GreetingRefused(
                PeerRefusal.KEY,
                f"{self._to_host!r} does not prove that it has this cluster's key: somebody else answers at its address",
            )
        if welcome.requests_max < 1:
            raise _malformed("WELCOME's requests_max")
        return welcome.requests_max

    def refused(self, payload: bytes) -> GreetingRefused:
        """REFUSED came: the error to report."""
        try:
            refusal = PeerRefusal.FromString(payload)
        except DecodeError:
            return _malformed("REFUSED")
        return GreetingRefused(refusal.reason, f"{self._to_host!r} refuses this host: {refusal.message}")


class AcceptingGreeting:
    """The side that was connected to; ``hosts`` are the names of those that may.

    ``check`` (over TLS) is given the name that the other side claims, and raises :class:`GreetingRefused` if its certificate is another's.
    """

    def __init__(
        self,
        identity: PeerIdentity,
        hosts: Collection[str],
        nonce: bytes,
        requests_max: int,
        check: Callable[[str], None] | None = None,
    ) -> None:
        self._identity = identity
        self._hosts = hosts
        self._check = check
        self._requests_max = requests_max
        #: Of the protocol; 0 before HELLO.
        self.version = 0
        self._hello = b""
        self._claim = PeerHello()
        self._challenge = PeerChallenge(
            protocol_version=PEER_PROTOCOL_OLDEST,
            protocol_version_newest=PEER_PROTOCOL_VERSION,
            cluster=identity.cluster,
            host=identity.host,
            block_bytes=identity.block_bytes,
            nonce=nonce,
        ).SerializeToString()

    def greeted(self, payload: bytes) -> bytes:
        """HELLO came; gives CHALLENGE's payload."""
        try:
            claim = PeerHello.FromString(payload)
        except DecodeError as error:
            raise _malformed("HELLO") from error
        self.version = _check_version_and_cluster(self._identity, claim)
        if len(claim.nonce) != NONCE_BYTES:
            raise _malformed("HELLO's nonce")
        if self._check is not None:
            self._check(claim.host)
        self._hello, self._claim = payload, claim
        return self._challenge

    def proved(self, payload: bytes) -> tuple[str, bytes]:
        """PROOF came; gives the host's name, which is true now, and WELCOME's payload."""
        try:
            proof = PeerProof.FromString(payload)
        except DecodeError as error:
            raise _malformed("PROOF") from error
        key, claim = self._identity.key, self._claim
        if not hmac.compare_digest(proof.mac, _mac(key, _CLIENT_LABEL, self._hello, self._challenge)):
            raise GreetingRefused(
                PeerRefusal.KEY,
                f"host {claim.host!r} does not have this cluster's key: all hosts need the same [cluster] key_file",
            )
        if claim.to_host != self._identity.host or claim.host == self._identity.host:
            raise GreetingRefused(
                PeerRefusal.WRONG_HOST,
                f"{claim.host!r} means to reach {claim.to_host!r}, this is {self._identity.host!r}: check the [[peer]] addresses and [cluster] host",
            )
        if claim.host not in self._hosts:
            raise GreetingRefused(
                PeerRefusal.UNKNOWN_HOST,
                f"host {claim.host!r} is not in the list of peers of {self._identity.host!r}",
            )
        _check_block_size(self._identity, claim.block_bytes, f"host {claim.host!r}")
        mac = _mac(key, _SERVER_LABEL, self._hello, self._challenge)
        welcome = PeerWelcome(mac=mac, requests_max=self._requests_max)
        return claim.host, welcome.SerializeToString()
