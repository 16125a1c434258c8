"""Keys of S3 clients and what they may do, from a TOML file of one table for each (:data:`KEY_FIELDS`)::

    [key.AKIDEXAMPLE]
    secret = "…"
    rights = "read-write"

The file is read at the start, and again when that is asked for; strictly: a misspelt ``bucket`` that is silently ignored would give a key other
rights than its operator believes. It holds secrets in plain text (SigV4 needs them so), hence a file that everyone may read is refused. A key that
is not there is told from a wrong signature, as S3 does; no message of this module shows a secret.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Any, NamedTuple

from cashy.core.s3_forward import StoreKey
from cashy.errors import ConfigError
from cashy.s3.limits import CREDENTIALS_FILE_BYTES_MAX
from hostkit.toml_lines import line_of

__all__ = ["KEY_FIELDS", "Credentials", "Key", "KeyField", "load_credentials"]


class KeyField(NamedTuple):
    """What may stand in a key's table; from this its reference page is made."""

    name: str
    type_text: str
    default: str
    help_text: str


#: All of them; whatever else stands there is an error.
KEY_FIELDS = (
    KeyField("secret", "text", "required", "What the key's holder signs with."),
    KeyField("buckets", "list of shell patterns", '`["*"]`', "Buckets that the key is for."),
    KeyField(
        "rights",
        '"read" or "read-write"',
        "read",
        "What it may do there, as far as the store allows it as well.",
    ),
    KeyField(
        "store_key",
        "text",
        "the key itself",
        "Key with which its holder's requests to an S3 store are signed; goes with store_secret.",
    ),
    KeyField("store_secret", "text", "secret", "Secret of store_key."),
)
_KNOWN = tuple(field.name for field in KEY_FIELDS)
_RIGHTS = {"read": frozenset(("read",)), "read-write": frozenset(("read", "write"))}
_KEY_ID = re.compile(r"[!-.0-~]{1,128}")  # visible ASCII but "/", which ends it in a signature's scope


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the secret it signs with, the buckets and rights it has, and who its holder is at the store (empty: the same)."""

    key_id: str
    secret: str = field(repr=False)
    buckets: tuple[str, ...] = ("*",)
    rights: frozenset[str] = frozenset(("read",))
    store_key: str = ""
    store_secret: str = field(default="", repr=False)


class Credentials:
    """All keys of an endpoint, and whether unsigned requests may read."""

    def __init__(self, keys: Iterable[Key] = (), *, anonymous: bool = False) -> None:
        self.anonymous = anonymous
        self._keys = {key.key_id: key for key in keys}
        self._buckets = {key.key_id: _matcher(key.buckets) for key in self._keys.values()}

    def __len__(self) -> int:
        return len(self._keys)

    def secret_of(self, key_id: str) -> str | None:
        """The secret of a key, None for an unknown one."""
        key = self._keys.get(key_id)
        return None if key is None else key.secret

    def at_store(self, key_id: str | None) -> StoreKey | None:
        """With what the holder's requests to a store are signed; None (unsigned) for nobody in particular."""
        key = None if key_id is None else self._keys.get(key_id)
        if key is None:
            return None
        return StoreKey(key.store_key or key.key_id, key.store_secret or key.secret)

    def may_list_buckets(self, key_id: str | None) -> bool:
        """Whether the holder may see the names of all buckets: that a store has, not only those that its patterns allow."""
        key = None if key_id is None else self._keys.get(key_id)
        return self.authorise(key_id, "", "read") and (key is None or "*" in key.buckets)

    def authorise(self, key_id: str | None, bucket: str, right: str) -> bool:
        """Whether the holder of a key (None: nobody in particular) may ``read`` or ``write`` in a bucket.

        An empty ``bucket`` stands for what belongs to none (the list of buckets).
        """
        if key_id is None:
            return self.anonymous and right == "read"
        key = self._keys.get(key_id)
        if key is None or right not in key.rights:
            return False
        return not bucket or self._buckets[key_id].fullmatch(bucket) is not None


def load_credentials(path: Path | None, *, anonymous: bool = False) -> Credentials:
    """Reads the file (None: no keys). Raises :class:`~cashy.errors.ConfigError` naming file and line."""
    if path is None:
        return Credentials(anonymous=anonymous)
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(
            f"{path}:{line[1] if line else 1}: not valid TOML"
        ) from None  # its text may hold a secret
    document = _Document(path, text)
    for name in data:
        if name != "key":
            raise document.error((name,), _unknown("table", name, ("key",)))
    keys = data.get("key", {})
    if not isinstance(keys, dict) or not all(isinstance(table, dict) for table in keys.values()):
        raise document.error(("key",), "write one table per key, as in [key.AKIDEXAMPLE]")
    return Credentials((document.key(key_id, table) for key_id, table in keys.items()), anonymous=anonymous)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRWXO:
                raise ConfigError(
                    f"{path} holds secrets and everyone on this host may open it (mode {status.st_mode & 0o777:o}): "
                    f"run  chmod 600 {path}"
                )
            content = file.read(CREDENTIALS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the credentials {path}: {error.strerror}") from None
    if len(content) > CREDENTIALS_FILE_BYTES_MAX:
        raise ConfigError(
            f"{path} is larger than {CREDENTIALS_FILE_BYTES_MAX:,} bytes: no file of credentials"
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the credentials are not UTF-8 text") from None


class _Document:
    """The file, for errors that point into it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    def error(self, place: tuple[str, ...], message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{line_of(self.text, place) or 1}: {message}")

    def key(self, key_id: str, table: Mapping[str, Any]) -> Key:
        place = ("key", key_id)
        if _KEY_ID.fullmatch(key_id) is None:
            raise self.error(place, 'the id of a key has 1 to 128 visible ASCII characters other than "/"')
        for name in table:
            if name not in _KNOWN:
                raise self.error((*place, name), _unknown("key", name, _KNOWN))
        return Key(
            key_id,
            self._secret(place, table),
            self._buckets(place, table),
            self._rights(place, table),
            *self._at_store(place, table),
        )

    def _secret(self, place: tuple[str, ...], table: Mapping[str, Any]) -> str:
        secret = table.get("secret")
        if not isinstance(secret, str) or not secret:
            raise self.error((*place, "secret"), 'every key needs a secret = "…" that is not empty')
        return secret

    def _at_store(self, place: tuple[str, ...], table: Mapping[str, Any]) -> tuple[str, str]:
        values = table.get("store_key", ""), table.get("store_secret", "")
        is_given = [name for name in ("store_key", "store_secret") if name in table]
        if len(is_given) == 1 or not all(isinstance(value, str) for value in values):
            raise self.error((*place, is_given[0]), "store_key and store_secret are texts and go together")
        if is_given and (_KEY_ID.fullmatch(values[0]) is None or not values[1]):
            raise self.error(
                (*place, "store_key"),
                'store_key has 1 to 128 visible ASCII characters other than "/", and store_secret is not empty',
            )
        return values

    def _buckets(self, place: tuple[str, ...], table: Mapping[str, Any]) -> tuple[str, ...]:
        buckets = table.get("buckets", ["*"])
        if not isinstance(buckets, list) or not all(isinstance(bucket, str) and bucket for bucket in buckets):
            raise self.error((*place, "buckets"), 'buckets is a list of patterns, as in ["*"] or ["data-*"]')
        return tuple(buckets)

    def _rights(self, place: tuple[str, ...], table: Mapping[str, Any]) -> frozenset[str]:
        rights = table.get("rights", "read")
        if not isinstance(rights, str) or rights not in _RIGHTS:
            raise self.error((*place, "rights"), 'rights is "read" or "read-write"')
        return _RIGHTS[rights]


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")


def _unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return f'unknown {what} "{name}"; {hint}'
