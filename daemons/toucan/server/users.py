"""The users file: who may connect, how he shows who he is, and what he may do. TOML::

    [user.alice]
    token_sha256 = "9f86d081…"        # of her token; a list while one follows another
    certificates = ["alice"]          # common names or DNS names of client certificates
    accounts = ["ACC1", "ACC2"]       # or "*"
    actions = ["trade"]               # toucan.server.entitlements says what there is
    symbols = ["AAPL", "MSFT"]        # left out: all

The file has no secret in it: of a token only the hash is kept, and a token made by :func:`new_token` is too long to be guessed from it (a password
would not be). Still a file that everyone may write or read is refused, since it says who is worth impersonating. It is read strictly: a
misspelt key that is silently ignored would give somebody other rights than his operator believes.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hostkit.strict_toml import StrictTomlError, parse_toml
from hostkit.toml_lines import KeyPath, line_of
from toucan.core.events import ENGINE
from toucan.core.risk_tree import is_name
from toucan.errors import InvalidSettings
from toucan.server.entitlements import ACTIONS, User, expanded
from toucan.server.files import read_trusted
from toucan.server.limits import TOKEN_BYTES_MAX, USERS_FILE_BYTES_MAX, USERS_MAX

__all__ = ["Credential", "Users", "local_users", "hash_token", "load_users", "new_token", "parse_users"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOKEN_BYTES = 32


class Credential(msgspec.Struct, frozen=True):
    """How somebody has shown who he is: by a token with this SHA-256 (hex), or by a certificate with this name; both empty: he is the local user."""

    token_sha256: str = ""
    certificate: str = ""


def new_token() -> str:
    """A token that nobody can guess: 256 random bits, in characters that need no quoting."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What the users file says of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Users:
    """All users of a file; immutable, a newer file makes another one."""

    def __init__(self, users: Mapping[str, User], credentials: Mapping[Credential, str]) -> None:
        self._users = dict(users)
        #: By the digest's first half, which is public enough; the whole is compared in constant time.
        self._tokens = {
            one.token_sha256[:32]: (one, name) for one, name in credentials.items() if one.token_sha256
        }
        self._certificates = {one.certificate: name for one, name in credentials.items() if one.certificate}

    def __len__(self) -> int:
        return len(self._users)

    def by_token(self, token: str) -> tuple[User, Credential] | None:
        """Whose token it is."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        digest = hash_token(token)
        credential, name = self._tokens.get(digest[:32], (Credential(), ""))
        if not hmac.compare_digest(digest, credential.token_sha256):
            return None
        return self._users[name], credential

    def by_certificate(self, names: Iterable[str]) -> tuple[User, Credential] | None:
        """Whose certificate it is, by the names in it; None also if they are of several users."""
        found = {self._certificates[name]: name for name in names if name in self._certificates}
        if len(found) != 1:
            return None
        user, name = found.popitem()
        return self._users[user], Credential(certificate=name)

    def renewed(self, name: str, credential: Credential) -> User | None:
        """The user as he is in this file, if it still takes that credential for his."""
        user = self._users.get(name)
        if user is None:
            return None
        if credential.token_sha256:
            _, holder = self._tokens.get(credential.token_sha256[:32], (credential, ""))
            return user if holder == name else None
        if credential.certificate:
            return user if self._certificates.get(credential.certificate) == name else None
        return user


def local_users(name: str) -> Users:
    """The one user of a front end that asks nobody who he is; he may do everything."""
    return Users({name: User(name, None, frozenset(ACTIONS))}, {})


# ---------------------------------------------------------------- the file


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accounts: list[str] | str
    actions: list[str]
    token_sha256: list[str] | str = []
    certificates: list[str] = []
    symbols: list[str] | str = "*"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: dict[str, dict[str, Any]] = {}


_ENTRY_KEYS = _Entry.__struct_fields__


class _Mistake(Exception):
    def __init__(self, path: KeyPath, text: str) -> None:
        super().__init__(text)
        self.path = path


def load_users(path: Path) -> Users:
    """Reads a users file. Raises :class:`~toucan.errors.InvalidSettings` with file and line."""
    return parse_users(_read(path), str(path))


def _read(path: Path) -> str:
    raw = read_trusted(path, "the users file", USERS_FILE_BYTES_MAX, is_private=True)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSettings(f"{path}: the users file is not UTF-8 text") from None


def parse_users(text: str, name: str) -> Users:
    """The users of a file's text; mistakes are told as being in the file ``name``. Raises :class:`~toucan.errors.InvalidSettings`."""
    try:
        return _users_of(parse_toml(text, _File, name).user)
    except StrictTomlError as error:
        raise InvalidSettings(str(error)) from None
    except _Mistake as mistake:
        line = line_of(text, mistake.path) if mistake.path else None
        raise InvalidSettings(f"{name}:{line or 1}: {mistake}") from None


def _users_of(tables: Mapping[str, dict[str, Any]]) -> Users:
    if len(tables) > USERS_MAX:
        raise _Mistake((), f"{len(tables):,} users are too many; {USERS_MAX:,} are the most")
    users: dict[str, User] = {}
    credentials: dict[Credential, str] = {}
    for name, table in tables.items():
        entry = _entry(name, table)
        users[name] = _user(name, entry)
        for credential in _credentials(name, entry):
            other = credentials.setdefault(credential, name)
            if other != name:
                what = "token" if credential.token_sha256 else f'certificate "{credential.certificate}"'
                raise _Mistake(
                    ("user", name), f'"{name}" has the same {what} as "{other}"; each needs his own'
                )
    return Users(users, credentials)


def _entry(name: str, table: dict[str, Any]) -> _Entry:
    for key in table:
        if key not in _ENTRY_KEYS:
            near = difflib.get_close_matches(key, _ENTRY_KEYS, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(_ENTRY_KEYS)}"
            raise _Mistake(("user", name, key), f'unknown key "{key}" of a user; {hint}')
    try:
        return msgspec.convert(table, _Entry)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).replace("`", "'").partition(" - at '$.")
        key = re.split(r"[.\['\"]", place)[0]
        raise _Mistake(("user", name, key), f"{key}: {problem}" if key else problem) from None


def _user(name: str, entry: _Entry) -> User:
    if not is_name(name) or name == ENGINE.user:
        raise _Mistake(
            ("user", name),
            f'"{name[:80]}" cannot be the name of a user; use up to 64 characters, no blanks, no "/", and not "{ENGINE.user}"',
        )
    for index, action in enumerate(entry.actions):
        if action not in ACTIONS:
            near = difflib.get_close_matches(action, ACTIONS, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(ACTIONS)}"
            raise _Mistake(("user", name, "actions", index), f'unknown action "{action[:40]}"; {hint}')
    return User(
        name,
        _list_or_all(name, "accounts", entry.accounts),
        expanded(entry.actions),
        _list_or_all(name, "symbols", entry.symbols),
    )


def _list_or_all(name: str, key: str, value: list[str] | str) -> frozenset[str] | None:
    if value == "*":
        return None
    if isinstance(value, str) or "*" in value:
        raise _Mistake(("user", name, key), f'{key}: write a list of names, or "*" alone for all')
    return frozenset(value)


def _credentials(name: str, entry: _Entry) -> list[Credential]:
    digests = [entry.token_sha256] if isinstance(entry.token_sha256, str) else entry.token_sha256
    for digest in digests:
        if not _DIGEST.fullmatch(digest):
            raise _Mistake(
                ("user", name, "token_sha256"),
                "token_sha256: expected 64 hex digits in small letters; `toucan server hash-token` makes them",
            )
    if not all(entry.certificates):
        raise _Mistake(("user", name, "certificates"), "certificates: a name is empty")
    found = [Credential(token_sha256=digest) for digest in digests]
    found += [Credential(certificate=one) for one in entry.certificates]
    if not found:
        raise _Mistake(
            ("user", name), f'"{name}" has no way to show who he is; give token_sha256 or certificates'
        )
    return found
