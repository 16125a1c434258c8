"""The greeting: two hosts of one cluster agree; everybody else is refused, with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.cashy.v1.peer_pb2 import PeerChallenge, PeerHello, PeerProof, PeerRefusal, PeerWelcome
from cashy.core.peer_frames import PAYLOAD_BYTES_MAX, PEER_PROTOCOL_OLDEST, PEER_PROTOCOL_VERSION, Kind
from cashy.core.peer_greeting import (
    NONCE_BYTES,
    AcceptingGreeting,
    ConnectingGreeting,
    GreetingRefused,
    PeerIdentity,
)

KEY = b"sixteen bytes or"
ANNA = PeerIdentity("floor", "anna", KEY, 4 << 20)
BERT = PeerIdentity("floor", "bert", KEY, 4 << 20)
HOSTS = ("anna", "bert")


def client(identity: PeerIdentity = ANNA, to_host: str = "bert", nonce: int = 1) -> ConnectingGreeting:
    return ConnectingGreeting(identity, to_host, bytes([nonce]) * NONCE_BYTES)


def server(
    identity: PeerIdentity = BERT, hosts: tuple[str, ...] = HOSTS, nonce: int = 2
) -> AcceptingGreeting:
    return AcceptingGreeting(identity, hosts, bytes([nonce]) * NONCE_BYTES, 64)


def greet(connecting: ConnectingGreeting, accepting: AcceptingGreeting) -> tuple[str, int]:
    """All four steps; gives what each side learns."""
    proof = connecting.challenged(accepting.greeted(connecting.hello))
    host, welcome = accepting.proved(proof)
    return host, connecting.welcomed(welcome)


def refusal(connecting: ConnectingGreeting, accepting: AcceptingGreeting) -> GreetingRefused:
    with pytest.raises(GreetingRefused) as caught:
        greet(connecting, accepting)
    return caught.value


def test_hosts_of_one_cluster_agree() -> None:
    assert greet(client(), server()) == ("anna", 64)


@pytest.mark.parametrize(
    ("connecting", "accepting", "reason", "pattern"),
    [
        (client(replace(ANNA, cluster="other")), server(), PeerRefusal.CLUSTER, "'other'.*'floor'"),
        (client(replace(ANNA, key=b"another key entirely")), server(), PeerRefusal.KEY, "does not have this cluster's key"),
        (client(replace(ANNA, block_bytes=1 << 20)), server(), PeerRefusal.BLOCK_SIZE, "1048576"),
        (client(), server(hosts=("bert", "carl")), PeerRefusal.UNKNOWN_HOST, "'anna' is not in the list of peers"),
        (client(to_host="carl"), server(), PeerRefusal.WRONG_HOST, "leads to 'bert'"),
        (client(BERT), server(), PeerRefusal.WRONG_HOST, "this is 'bert'"),
    ],
)  # fmt: skip
def test_everybody_else_is_refused(
    connecting: ConnectingGreeting, accepting: AcceptingGreeting, reason: int, pattern: str
) -> None:
    error = refusal(connecting, accepting)
    assert error.reason == reason
    with pytest.raises(GreetingRefused, match=pattern):
        raise error


def test_block_size_is_checked_by_both_sides() -> None:
    """The connecting side looks at CHALLENGE; the accepting one does not rely on it."""
    accepting = server(replace(BERT, block_bytes=1 << 20))
    connecting = client()
    challenge = PeerChallenge.FromString(accepting.greeted(connecting.hello))
    challenge.block_bytes = 4 << 20
    accepting._challenge = challenge.SerializeToString()  # as if it had said so
    with pytest.raises(GreetingRefused) as caught:
        accepting.proved(connecting.challenged(accepting._challenge))
    assert caught.value.reason == PeerRefusal.BLOCK_SIZE


def claiming(claim: PeerHello | PeerChallenge, oldest: int, newest: int) -> bytes:
    """As a host says it that speaks these versions; 0 is how one said it that knew of one only."""
    claim.protocol_version, claim.protocol_version_newest = oldest, newest
    return claim.SerializeToString()


@pytest.mark.parametrize(
    ("oldest", "newest", "agreed"),
    [
        (PEER_PROTOCOL_OLDEST, PEER_PROTOCOL_VERSION, PEER_PROTOCOL_VERSION),
        (PEER_PROTOCOL_OLDEST, 0, PEER_PROTOCOL_OLDEST),
        (1, PEER_PROTOCOL_OLDEST, PEER_PROTOCOL_OLDEST),
        (PEER_PROTOCOL_VERSION, PEER_PROTOCOL_VERSION + 7, PEER_PROTOCOL_VERSION),
    ],
)
def test_the_highest_version_that_both_speak_counts(oldest: int, newest: int, agreed: int) -> None:
    accepting, connecting = server(), client()
    accepting.greeted(claiming(PeerHello.FromString(connecting.hello), oldest, newest))
    assert accepting.version == agreed
    challenge = PeerChallenge.FromString(server().greeted(client().hello))
    connecting.challenged(claiming(challenge, oldest, newest))
    assert connecting.version == agreed


@pytest.mark.parametrize(
    ("oldest", "newest"),
    [(PEER_PROTOCOL_VERSION + 1, PEER_PROTOCOL_VERSION + 2), (1, PEER_PROTOCOL_OLDEST - 1), (PEER_PROTOCOL_OLDEST - 1, 0)],
)  # fmt: skip
def test_hosts_without_a_common_version_are_told_so_by_either_side(oldest: int, newest: int) -> None:
    with pytest.raises(GreetingRefused, match="upgrade the older one") as caught:
        server().greeted(claiming(PeerHello.FromString(client().hello), oldest, newest))
    assert caught.value.reason == PeerRefusal.VERSION
    challenge = PeerChallenge.FromString(server().greeted(client().hello))
    with pytest.raises(GreetingRefused) as caught:
        client().challenged(claiming(challenge, oldest, newest))
    assert caught.value.reason == PeerRefusal.VERSION


@pytest.mark.parametrize("name", ["cluster", "host", "to_host", "block_bytes", "nonce"])
def test_nothing_of_hello_can_be_changed_on_the_way(name: str) -> None:
    """Both sides' proofs cover all of it: whoever changes a field without the key is found out, whatever the field."""
    changed = {
        "cluster": "floor",
        "host": "carl",
        "to_host": "carl",
        "block_bytes": 1,
        "nonce": bytes(NONCE_BYTES),
    }
    connecting, accepting = client(), server(hosts=("anna", "carl"))
    hello = PeerHello.FromString(connecting.hello)
    setattr(hello, name, changed[name])
    tampered = hello.SerializeToString() + (b"" if name != "cluster" else b"\x38\x01")  # an unknown field
    with pytest.raises(GreetingRefused) as caught:
        accepting.proved(connecting.challenged(accepting.greeted(tampered)))
    assert caught.value.reason == PeerRefusal.KEY


def test_a_recorded_greeting_is_useless() -> None:
    connecting, accepting = client(), server()
    proof = connecting.challenged(accepting.greeted(connecting.hello))
    _, welcome = accepting.proved(proof)
    again = server(nonce=3)
    again.greeted(connecting.hello)
    with pytest.raises(GreetingRefused, match="does not have this cluster's key"):
        again.proved(proof)
    other = client(nonce=4)
    other.challenged(server().greeted(other.hello))
    with pytest.raises(GreetingRefused, match="does not prove"):
        other.welcomed(welcome)


def test_a_proof_cannot_be_sent_back() -> None:
    """A server without the key that returns the client's own proof."""
    connecting = client()
    proof = PeerProof.FromString(connecting.challenged(server().greeted(connecting.hello)))
    with pytest.raises(GreetingRefused) as caught:
        connecting.welcomed(PeerWelcome(mac=proof.mac, requests_max=9).SerializeToString())
    assert caught.value.reason == PeerRefusal.KEY


def test_a_server_without_the_key_is_no_peer() -> None:
    connecting = client()
    stranger = server(replace(BERT, key=b"another key entirely"))
    connecting.challenged(stranger.greeted(connecting.hello))
    with pytest.raises(GreetingRefused, match="somebody else answers"):
        connecting.welcomed(PeerWelcome(mac=bytes(32), requests_max=9).SerializeToString())


def test_short_nonces_and_silly_limits_are_malformed() -> None:
    for nonce in (b"", bytes(NONCE_BYTES - 1), bytes(NONCE_BYTES + 1)):
        with pytest.raises(GreetingRefused, match="HELLO's nonce is malformed"):
            server().greeted(ConnectingGreeting(ANNA, "bert", nonce).hello)
        with pytest.raises(GreetingRefused, match="CHALLENGE's nonce is malformed"):
            client().challenged(AcceptingGreeting(BERT, HOSTS, nonce, 1).greeted(client().hello))
    connecting, accepting = client(), AcceptingGreeting(BERT, HOSTS, bytes(NONCE_BYTES), 0)
    with pytest.raises(GreetingRefused, match="requests_max is malformed"):
        greet(connecting, accepting)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    accepting = server()
    accepting.greeted(client().hello)
    for step in (server().greeted, accepting.proved, client().challenged, client().welcomed):
        with pytest.raises(GreetingRefused):
            step(noise)
    assert isinstance(client().refused(noise), GreetingRefused)


def test_refusal_fits_its_frame_and_comes_back() -> None:
    sent = GreetingRefused(PeerRefusal.KEY, "\N{SNOWMAN}" * 5000)
    payload = sent.payload()
    assert len(payload) <= PAYLOAD_BYTES_MAX[Kind.REFUSED]
    error = client().refused(payload)
    assert error.reason_name == "KEY"
    assert "'bert' refuses this host" in error.message
    unknown = client().refused(PeerRefusal(reason=77).SerializeToString())  # type: ignore[arg-type]
    assert unknown.reason_name == "reason 77"


def test_key_is_not_shown() -> None:
    assert "sixteen" not in repr(ANNA)
