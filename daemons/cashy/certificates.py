"""X.509 certificates of a cluster: made, read and described; bytes in, bytes out.

A cluster's authority signs one certificate for each host. Its name there is ``cashy://CLUSTER/HOST`` among the URIs (see
:mod:`cashy.core.peer_certificate`); addresses are added for other programs that look at it, and open nothing. Keys are on the curve P-256: what every
TLS 1.3 has, small and quick. The authority's certificate may sign hosts and no further authority (path length 0).

Nothing here opens files; the time is an argument. ``cryptography`` is imported by who imports this, so only by what makes or checks certificates.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cashy.core.peer_certificate import host_uri
from cashy.errors import ConfigError

__all__ = [
    "AUTHORITY_DAYS", "HOST_DAYS", "Described", "Pair", "describe_certificates", "is_signed_by", "issue_certificate", "make_authority",
]  # fmt: skip

#: An authority outlives several generations of hosts' certificates; a host's is short enough that renewing it is practised.
AUTHORITY_DAYS = 3650
HOST_DAYS = 365

#: Certificates count from a little before they were made: hosts' clocks differ.
_CLOCKS_DIFFER = timedelta(hours=1)
#: Longer chains are nobody's.
_CHAIN_MAX = 8


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, each as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """What is worth knowing of one certificate. ``uris`` are names of hosts, ``addresses`` all other names; times are in UTC."""

    subject: str
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    is_authority: bool
    uris: tuple[str, ...]
    addresses: tuple[str, ...]
    sha256: str


def make_authority(cluster: str, now: datetime, life: timedelta = timedelta(days=AUTHORITY_DAYS)) -> Pair:
    """A new authority; each has a name of its own, so that two of one cluster can be told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _name(f"cashy cluster {cluster} {serial:040x}"[: len("cashy cluster  ") + len(cluster) + 8])
    certificate = (
        _builder(name, name, key.public_key(), serial, now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issue_certificate(
    authority: Pair,
    cluster: str,
    host: str,
    now: datetime,
    *,
    addresses: Collection[str] = (),
    life: timedelta = timedelta(days=HOST_DAYS),
) -> Pair:
    """A host's certificate, with a new key. Raises ConfigError if ``authority`` is none, or its key another's."""
    signer, signer_key = _read_authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(host_uri(cluster, host))]
    names += [_address(text) for text in addresses]
    end = min(now + life, signer.not_valid_after_utc)
    certificate = (
        _builder(_name(host), signer.subject, key.public_key(), x509.random_serial_number(), now, end - now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False
        )
        .sign(signer_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def describe_certificates(pem: bytes) -> list[Described]:
    """Every certificate of a PEM file, in its order; raises ValueError if there is none, or one cannot be read."""
    return [_describe(certificate) for certificate in x509.load_pem_x509_certificates(pem)]


def is_signed_by(pem: bytes, authorities: bytes) -> bool:
    """Whether the first certificate of ``pem`` leads to one of ``authorities``, over those that follow it; raises ValueError as above.

    Signatures and names only: times and uses are TLS's business.
    """
    current, *chain = x509.load_pem_x509_certificates(pem)
    roots = x509.load_pem_x509_certificates(authorities)
    for _ in range(_CHAIN_MAX):
        if any(_issued(current, root) for root in roots):
            return True
        issuer = next((each for each in chain if _issued(current, each)), None)
        if issuer is None or issuer == current:
            return False
        current = issuer
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read_authority(authority: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
        key = serialization.load_pem_private_key(authority.key, password=None)
    except (ValueError, TypeError):
        raise ConfigError(
            "the authority's certificate or key cannot be read: it must be PEM, the key without a passphrase"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError("the authority's key is not that of its certificate: two folders were mixed")
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    end = (now + life).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(min(now - _CLOCKS_DIFFER, end - _CLOCKS_DIFFER))
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise ConfigError(f"{text!r} is neither an IP address nor a DNS name") from None


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _describe(certificate: x509.Certificate) -> Described:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    return Described(
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        is_authority,
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        (
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        ),
        certificate.fingerprint(hashes.SHA256()).hex(),
    )
