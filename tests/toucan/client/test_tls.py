"""TLS both ways: the server proves itself to the client, and the client may prove itself with a certificate or a token."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.toucan.client.mini_engine import User
from tests.toucan.client.mini_server import MiniServer

from toucan.client import ServerUnavailable, connect


class Authority:
    """Signs certificates and writes them into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate_file = folder / f"{name}.pem"
        made = self._build(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), True
        )
        self.certificate_file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for this host and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._build(subject, key).add_extension(x509.SubjectAlternativeName(names), False)
        certificate_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate_file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[MiniServer]:
    certificate_file, key_file = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(key_file.read_bytes(), certificate_file.read_bytes())],
        root_certificates=authority.certificate_file.read_bytes(),
        require_client_auth=True,
    )
    server = MiniServer(users={"secret": User("ann", ("ACC1",))}, credentials=credentials)
    yield server
    server.close()


def test_a_certificate_and_a_token_open_the_door(tls_server: MiniServer, authority: Authority) -> None:
    certificate_file, key_file = authority.issue("ann")
    with connect(
        tls_server.address,
        token="secret",
        ca_file=authority.certificate_file,
        certificate_file=certificate_file,
        key_file=key_file,
    ) as client:
        assert client.identity().user == "ann"


def test_a_server_of_another_authority_is_not_trusted(
    tls_server: MiniServer, authority: Authority, tmp_path: Path
) -> None:
    certificate_file, key_file = authority.issue("ann")
    other = Authority(tmp_path, "other")
    with (
        connect(
            tls_server.address,
            timeout_s=0.5,
            ca_file=other.certificate_file,
            certificate_file=certificate_file,
            key_file=key_file,
        ) as client,
        pytest.raises(ServerUnavailable, match=r"(?i)certificate|handshake|ssl"),
    ):
        # Nothing can have been sent: this is no unknown outcome.
        client.cancel(1)


def test_without_a_certificate_the_door_stays_shut(tls_server: MiniServer, authority: Authority) -> None:
    with (
        connect(
            tls_server.address, token="secret", ca_file=authority.certificate_file, timeout_s=0.5
        ) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.identity()
