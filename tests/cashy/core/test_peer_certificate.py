"""Whom a certificate stands for, when its end is told, and who may use the client socket: by tables, and for all names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.allowed_clients import EVERYBODY, AllowedClients
from cashy.core.certificate_age import (
    EXPIRES_SOON_S,
    EXPIRES_VERY_SOON_S,
    SAID_AGAIN_S,
    Age,
    age_of,
    is_worth_saying,
)
from cashy.core.peer_certificate import (
    PeerCertificate,
    certified_hosts,
    check_certificate,
    describe_names,
    host_uri,
    parse_serial,
    peer_certificate,
)
from cashy.core.peer_greeting import GreetingRefused

NAMES = st.text("aA0._-", min_size=1, max_size=5)


def test_a_certificate_is_read_from_what_ssl_says() -> None:
    described = {
        "subjectAltName": (
            ("DNS", "cashy://floor/x"),
            ("URI", "cashy://floor/a"),
            ("URI", "https://a.example"),
        ),
        "serialNumber": "0A1B",
    }
    assert peer_certificate(described) == PeerCertificate(("cashy://floor/a", "https://a.example"), 0x0A1B)
    assert peer_certificate({}) == PeerCertificate((), 0)


@given(NAMES, NAMES, NAMES, NAMES)
def test_a_name_is_that_of_one_host_of_one_cluster(cluster: str, host: str, other: str, another: str) -> None:
    assert (host_uri(cluster, host) == host_uri(other, another)) == ((cluster, host) == (other, another))
    certificate = PeerCertificate((host_uri(cluster, host),), 7)
    if (cluster, host) == (other, another):
        check_certificate(certificate, other, another, ())
    else:
        with pytest.raises(GreetingRefused, match="not for cashy://") as refusal:
            check_certificate(certificate, other, another, ())
        assert refusal.value.reason == PeerRefusal.CERTIFICATE


@pytest.mark.parametrize(
    "uri",
    [
        "cashy://floor", "cashy://floor/", "cashy://floor/A", "cashy://FLOOR/a", "cashy://floor/a/", "cashy://floor/ab", "cashy:///a",
        "cashy://floor/*", "https://floor/a", "cashy://floor/a?", "cashy://floor//a", "cashy://x@floor/a", " cashy://floor/a",
    ],
)  # fmt: skip
def test_what_is_nearly_the_name_is_not_it(uri: str) -> None:
    with pytest.raises(GreetingRefused):
        check_certificate(PeerCertificate((uri,), 7), "floor", "a", ())


def test_a_refused_serial_number_is_refused() -> None:
    certificate = PeerCertificate(("cashy://floor/a",), 0xABC)
    check_certificate(certificate, "floor", "a", {0xABD})
    with pytest.raises(GreetingRefused, match=r"serial number abc is refused \(cluster.tls_refused\)"):
        check_certificate(certificate, "floor", "a", {0xABC})


def test_of_a_list_of_hosts_those_that_it_names() -> None:
    uris = ("cashy://floor/a", "cashy://floor/c", "cashy://other/b")
    assert certified_hosts(uris, "floor", ("a", "b", "c")) == {"a", "c"}


def test_names_in_a_message_are_few_and_short() -> None:
    assert describe_names(()) == describe_names(("https://x",)) == "no host of any cluster"
    assert describe_names(("cashy://f/b", "cashy://f/a")) == "cashy://f/a, cashy://f/b"
    assert len(describe_names([f"cashy://f/{number:0900}" for number in range(1000)])) < 700


@pytest.mark.parametrize(
    ("text", "number"), [("0a", 10), ("0A:FF", 0x0AFF), ("f" * 40, (1 << 160) - 1), ("0", 0)]
)
def test_serial_numbers_as_they_are_printed(text: str, number: int) -> None:
    assert parse_serial(text) == number


@pytest.mark.parametrize("text", ["", ":", "0x1f", "-1", "g", "f" * 41, "1 2", "1_0"])
def test_what_is_no_serial_number(text: str) -> None:
    with pytest.raises(ValueError, match="is no serial number"):
        parse_serial(text)


# ------------------------------------------------------------ age


@pytest.mark.parametrize(
    ("left_s", "age"),
    [
        (EXPIRES_SOON_S, Age.FRESH), (EXPIRES_SOON_S - 1, Age.SOON), (EXPIRES_VERY_SOON_S, Age.SOON),
        (EXPIRES_VERY_SOON_S - 1, Age.VERY_SOON), (1, Age.VERY_SOON), (0, Age.EXPIRED), (-1e9, Age.EXPIRED),
    ],
)  # fmt: skip
def test_urgency_grows(left_s: float, age: Age) -> None:
    assert age_of(left_s) is age


def test_over_a_certificates_last_month_a_line_a_day_and_one_for_each_step() -> None:
    told: tuple[Age, float] | None = None
    lines = []
    end, hour = 40 * 86400.0, 3600.0
    now = 0.0
    while now < end + 2 * 86400:
        age = age_of(end - now)
        if is_worth_saying(age, now, told):
            told = age, now
            lines.append(age)
        now += hour
    assert lines == sorted(lines)
    assert [lines.count(age) for age in Age] == [0, 27, 3, 2]
    assert not is_worth_saying(Age.SOON, SAID_AGAIN_S - 1, (Age.SOON, 0.0))
    assert is_worth_saying(Age.VERY_SOON, 1.0, (Age.SOON, 0.0))


# ------------------------------------------------------------ the client socket

OWN = 990


@pytest.mark.parametrize(
    ("allowed", "uid", "groups", "verdict"),
    [
        (EVERYBODY, 1234, {5}, True),
        (AllowedClients(frozenset({7})), 7, {5}, True),
        (AllowedClients(frozenset({7})), 8, {7}, False),
        (AllowedClients(frozenset(), frozenset({5})), 8, {4, 5}, True),
        (AllowedClients(frozenset(), frozenset({5})), 5, {4}, False),
        (AllowedClients(frozenset({7}), frozenset({5})), 7, {4}, True),
        (AllowedClients(frozenset({7}), frozenset({5})), 8, {5}, True),
        (AllowedClients(frozenset({7}), frozenset({5})), 8, {4}, False),
        (AllowedClients(frozenset(), frozenset()), 8, {4}, False),
        (AllowedClients(frozenset({7})), 0, {0}, True),
        (AllowedClients(frozenset({7})), OWN, {4}, True),
    ],
)
def test_who_may_connect(allowed: AllowedClients, uid: int, groups: set[int], verdict: bool) -> None:
    assert allowed.allows(uid, groups, OWN) is verdict
