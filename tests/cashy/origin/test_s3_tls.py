"""Stores behind https: received straight into the buffer as well, and only from whom the certificate names."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cashy.errors import OriginUnavailable
from cashy.origin.s3 import S3Origin

from .conformance import RUNNERS, Reading, fails_with, pattern
from .raw_store import good_answer, raw_store


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a fresh key and a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "store.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("loop", RUNNERS)
def test_reads_over_tls(loop: str, certificate: Path) -> None:
    data = pattern(50, 2_000_000)

    async def main() -> None:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with raw_store(good_answer(data), tls=serving) as store:
            origin = S3Origin("tls", store.url, connections_max=2, ssl_context=trusting)
            readings = [
                Reading(origin, "bucket", "key", offset, 1 << 20) for offset in range(0, 900_000, 100_000)
            ]
            for index, reading in enumerate(readings):
                assert await reading.data() == data[index * 100_000 :][: 1 << 20]
            cancelled = Reading(origin, "bucket", "key", 0, 1 << 21)
            while not cancelled.sink.calls:
                await asyncio.sleep(0)
            if not cancelled.outcomes:  # a loop may take all of it in one turn
                cancelled.cancel()
                await cancelled.settle_cancelled()
            await origin.close()

    RUNNERS[loop](main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_unknown_certificate_is_refused(loop: str, certificate: Path) -> None:
    async def main() -> None:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate)
        async with raw_store(good_answer(b"data"), tls=serving) as store:
            origin = S3Origin("tls", store.url)
            error = await fails_with(OriginUnavailable, origin, "bucket", "key")
            assert "certificate" in str(error).lower()
            assert store.requests == []
            await origin.close()

    RUNNERS[loop](main())
