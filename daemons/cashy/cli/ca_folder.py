"""The folder of a cluster's authority: its certificate and key, and the hosts' that it made.

```text
DIR/             0700
  ca.toml        the cluster's name
  ca.pem         the authorities that hosts shall trust, the one that signs first; two while one takes the other's place
  ca-key.pem     0600: who has it can make hosts of this cluster
  hosts/HOST.pem, hosts/HOST.key (0600)
```

Files are whole or not there: written under another name, synced, then put in place. Nothing is overwritten unless that was asked for. Which
authority signs follows from the key alone, so a rotation that was interrupted leaves one that works.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cashy.certificates import (
    AUTHORITY_DAYS,
    HOST_DAYS,
    Described,
    Pair,
    describe_certificates,
    is_signed_by,
    issue_certificate,
    make_authority,
)
from cashy.errors import ConfigError

__all__ = ["AuthorityFolder", "write_new"]

_SECRET, _PUBLIC, _FOLDER = 0o600, 0o644, 0o700


class AuthorityFolder:
    """An existing one; see :meth:`create`. Methods raise ConfigError, and OSError as the file system has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        self._hosts = folder / "hosts"
        try:
            cluster = tomllib.loads((folder / "ca.toml").read_text(encoding="utf-8"))["cluster"]
        except FileNotFoundError:
            raise ConfigError(
                f"{folder} is no folder of an authority: make one with `cashy ca init DIR --cluster NAME`, or name it with --ca DIR"
            ) from None
        except (tomllib.TOMLDecodeError, KeyError, UnicodeDecodeError):
            raise ConfigError(
                f'{folder / "ca.toml"} must say which cluster it is for: cluster = "NAME"'
            ) from None
        self.cluster = str(cluster)

    @classmethod
    def create(cls, folder: Path, cluster: str, now: datetime, days: int = AUTHORITY_DAYS) -> AuthorityFolder:
        """Makes the folder and a new authority in it; refuses one that has any of its files."""
        there = [name for name in ("ca.toml", "ca.pem", "ca-key.pem") if (folder / name).exists()]
        if there:
            raise ConfigError(
                f"{folder} has {', '.join(there)} already, and nothing is overwritten: name another folder, or see `cashy ca rotate`"
            )
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        (folder / "hosts").mkdir(mode=_FOLDER, exist_ok=True)
        pair = make_authority(cluster, now, timedelta(days=days))
        write_new(folder / "ca-key.pem", pair.key, _SECRET)
        write_new(folder / "ca.pem", pair.certificate, _PUBLIC)
        write_new(folder / "ca.toml", f'cluster = "{cluster}"\n'.encode(), _PUBLIC)
        return cls(folder)

    def files_of(self, host: str) -> tuple[Path, Path]:
        """Where a host's certificate and key are, or would be."""
        return self._hosts / f"{host}.pem", self._hosts / f"{host}.key"

    def issue(
        self,
        host: str,
        now: datetime,
        *,
        addresses: Collection[str] = (),
        days: int = HOST_DAYS,
        is_renewal: bool = False,
    ) -> Described:
        """Writes a host's new certificate and key; ``is_renewal``: in place of those that are there."""
        certificate, key = self.files_of(host)
        if not is_renewal and (certificate.exists() or key.exists()):
            raise ConfigError(
                f"{certificate} or its key is there already, and nothing is overwritten: give --renew to replace both"
            )
        pair = issue_certificate(
            self._signing(), self.cluster, host, now, addresses=addresses, life=timedelta(days=days)
        )
        self._hosts.mkdir(mode=_FOLDER, exist_ok=True)
        write = _replace if is_renewal else write_new
        write(key, pair.key, _SECRET)
        write(certificate, pair.certificate, _PUBLIC)
        return describe_certificates(pair.certificate)[0]

    def rotate(self, now: datetime, days: int = AUTHORITY_DAYS) -> Described:
        """A second authority, which signs from now on; the first is trusted beside it until :meth:`finish`."""
        old = self.authorities.read_bytes()
        if len(describe_certificates(old)) > 1:
            raise ConfigError(
                f"{self.authorities} has two authorities: a rotation is under way already; end it with `cashy ca rotate --finish`"
            )
        pair = make_authority(self.cluster, now, timedelta(days=days))
        _replace(self.authorities, pair.certificate + old, _PUBLIC)
        _replace(self._key, pair.key, _SECRET)
        return describe_certificates(pair.certificate)[0]

    def finish(self) -> Described:
        """From now on only the authority that signs is to be trusted. Refuses while a host here has a certificate of another."""
        signing = self._signing().certificate
        behind = [
            path.stem
            for path in sorted(self._hosts.glob("*.pem"))
            if not is_signed_by(path.read_bytes(), signing)
        ]
        if behind:
            raise ConfigError(
                f"these hosts have certificates of the old authority: {', '.join(behind)}; issue them anew (cashy ca issue HOST --renew), "
                "or remove their files if they are no more"
            )
        _replace(self.authorities, signing, _PUBLIC)
        return describe_certificates(signing)[0]

    def close(self) -> None:
        """Removes the key: nothing more can be signed."""
        self._key.unlink()

    def _signing(self) -> Pair:
        """The authority whose key is here."""
        key_text = self._key.read_bytes()
        try:
            public = serialization.load_pem_private_key(key_text, password=None).public_key()
            found = x509.load_pem_x509_certificates(self.authorities.read_bytes())
        except (ValueError, TypeError):
            raise ConfigError(f"{self._key} or {self.authorities} cannot be read as PEM") from None
        for certificate in found:
            if certificate.public_key() == public:
                return Pair(certificate.public_bytes(serialization.Encoding.PEM), key_text)
        raise ConfigError(
            f"{self._key} is the key of no certificate in {self.authorities}: two folders were mixed"
        )


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Writes a file whole, where none is yet; raises ConfigError if one is."""
    temporary = _written(path, content, mode)
    try:
        os.link(temporary, path)  # unlike a rename it fails where something is
    except FileExistsError:
        raise ConfigError(f"{path} is there already, and nothing is overwritten") from None
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = _written(path, content, mode)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    _sync_folder(path.parent)


def _written(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink()  # it may have half a key
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
