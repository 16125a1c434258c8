"""Makes the lab's certificate authorities, the certificate of its order-entry servers, and those of its cache's hosts.

Usage: ``certificates.py FOLDER HOST…``: writes ``ca.pem``, ``toucan.pem`` (for these names) and ``toucan-key.pem``; and ``cluster-ca.pem`` with two
templates that give each host its own, ``cluster.pem.j2`` and ``cluster-key.pem.j2``. The authorities' keys are forgotten at once: who needs
another certificate makes all of them again.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cashy.certificates import issue_certificate, make_authority

__all__ = ["main"]

LIFE = timedelta(days=3650)
CLUSTER = "floor"


def main() -> None:
    """Writes the files."""
    folder, hosts = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(exist_ok=True)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = _name("the floor's authority")
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _certificate(_name("toucan"), authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "toucan-key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "toucan.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _make_cluster(folder, hosts)


def _make_cluster(folder: Path, hosts: list[str]) -> None:
    """As `cashy ca` does it, for the cluster of cashy.toml.j2."""
    now = datetime.now(UTC)
    authority = make_authority(CLUSTER, now, LIFE)
    own = {host: issue_certificate(authority, CLUSTER, host, now, life=LIFE) for host in hosts}
    (folder / "cluster-ca.pem").write_bytes(authority.certificate)
    (folder / "cluster.pem.j2").write_text(
        _by_host({host: pair.certificate.decode() for host, pair in own.items()})
    )
    keys = folder / "cluster-key.pem.j2"
    keys.touch(0o600)
    keys.write_text(_by_host({host: pair.key.decode() for host, pair in own.items()}))


def _by_host(contents: dict[str, str]) -> str:
    return "".join(
        f'{{% if host.name == "{host}" %}}{content}{{% endif %}}' for host, content in contents.items()
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )


if __name__ == "__main__":
    main()
