"""Addresses, tokens and certificates: what is taken, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from toucan.client.endpoints import access_from, addresses_from
from toucan.client.errors import InvalidRequest
from toucan.client.limits import ADDRESSES_MAX, TOKEN_BYTES_MAX


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCAN_SERVER", raising=False)
    monkeypatch.delenv("TOUCAN_TOKEN_FILE", raising=False)
    monkeypatch.delenv("TOUCAN_TLS_CA", raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("h:1", ["h:1"]),
        ("h", ["h:7070"]),
        ("h:1, g:2", ["h:1", "g:2"]),
        ("[::1]:9", ["[::1]:9"]),
        ("[::1]", ["[::1]:7070"]),
        ("unix:/run/toucan.sock", ["unix:/run/toucan.sock"]),
    ],
)
def test_addresses(text: str, shown: list[str]) -> None:
    assert [str(address) for address in addresses_from(text)] == shown


@pytest.mark.parametrize(
    "text", ["", ":1", "h:", "h:x", "h:0", "h:65536", "::1:5", "http://h:1", "h:1,,g:1", "unix:"]
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no address of a server"):
        addresses_from(text)


def test_most_addresses_and_one_more() -> None:
    assert len(addresses_from(",".join(["h:1"] * ADDRESSES_MAX))) == ADDRESSES_MAX
    with pytest.raises(InvalidRequest, match="16 are the most"):
        addresses_from(",".join(["h:1"] * (ADDRESSES_MAX + 1)))


def test_environment_says_what_is_not_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert str(access_from(None).addresses[0]) == "127.0.0.1:7070"
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    monkeypatch.setenv("TOUCAN_SERVER", "localhost:1234")
    monkeypatch.setenv("TOUCAN_TOKEN_FILE", str(token))
    access = access_from(None)
    assert (str(access.addresses[0]), access.metadata) == (
        "localhost:1234",
        (("authorization", "Bearer secret"),),
    )
    assert "secret" not in repr(access)


def test_an_authority_in_the_environment_means_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM")
    monkeypatch.setenv("TOUCAN_TLS_CA", str(authority))
    assert access_from("example.net:1", token="x").credentials is not None
    assert access_from("127.0.0.1:1", token="x", tls=False).credentials is None
    authority.unlink()
    with pytest.raises(InvalidRequest, match="cannot read the CA file"):
        access_from("example.net:1", token="x")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/x"])
def test_a_token_may_go_in_clear_on_this_host(address: str) -> None:
    assert access_from(address, token="x").metadata


def test_a_token_does_not_go_to_another_host_in_clear() -> None:
    with pytest.raises(InvalidRequest, match="in clear, where anybody on the way can read it; use TLS"):
        access_from("127.0.0.1:1,example.net:1", token="x")
    assert access_from("example.net:1", token="x", tls=True).credentials is not None


@pytest.mark.parametrize("text", ["", "two words", "line\nline", "x" * (TOKEN_BYTES_MAX + 1)])
def test_a_file_without_one_token_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidRequest, match="does not hold one token on one line"):
        access_from("127.0.0.1:1", token_file=path)


def test_largest_token_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * TOKEN_BYTES_MAX)
    path.chmod(0o600)
    assert access_from("127.0.0.1:1", token_file=path).metadata


def test_a_token_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match="can be read by everybody: chmod o= "):
        access_from("127.0.0.1:1", token_file=path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InvalidRequest, match=r"cannot read the token file .*missing: No such file"):
        access_from("h", token_file=missing)
    with pytest.raises(InvalidRequest, match=r"cannot read the CA file .*missing: No such file"):
        access_from("h", ca_file=missing)
    with pytest.raises(InvalidRequest, match="needs both its file and that of its key"):
        access_from("h", certificate_file=missing)
    with pytest.raises(InvalidRequest, match="TLS is switched off"):
        access_from("h", ca_file=missing, tls=False)
