"""The users file: strict, private, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.toucan.server.support import write_users

from toucan.errors import InvalidSettings
from toucan.server.limits import TOKEN_BYTES_MAX, USERS_FILE_BYTES_MAX, USERS_MAX
from toucan.server.users import Credential, hash_token, load_users, new_token, parse_users

_HASH = hash_token("secret")


def _file(body: str) -> str:
    return f"""
[user.alice]
token_sha256 = "{_HASH}"
accounts = ["ACC1"]
actions = ["trade"]
{body}
"""


def test_token_and_certificate_lead_to_their_user() -> None:
    users = parse_users(_file('certificates = ["alice.example"]'), "u")
    found = users.by_token("secret")
    assert found is not None
    user, credential = found
    assert (user.name, user.accounts, user.symbols) == ("alice", frozenset({"ACC1"}), None)
    assert user.actions == {"trade", "cancel", "view"}
    assert credential == Credential(token_sha256=_HASH)
    assert users.by_token("other") is None
    assert users.by_token("") is None
    assert users.by_token("s" * (TOKEN_BYTES_MAX + 1)) is None
    assert users.by_certificate(["localhost", "alice.example"]) is not None
    assert users.by_certificate(["localhost"]) is None


def test_certificate_with_names_of_two_users_is_nobodys() -> None:
    text = '[user.a]\ncertificates = ["a"]\naccounts = []\nactions = []\n[user.b]\ncertificates = ["b"]\naccounts = []\nactions = []\n'
    users = parse_users(text, "u")
    assert users.by_certificate(["a"]) is not None
    assert users.by_certificate(["a", "b"]) is None


def test_two_tokens_may_follow_each_other() -> None:
    text = f'[user.a]\ntoken_sha256 = ["{_HASH}", "{hash_token("next")}"]\naccounts = "*"\nactions = ["view"]\nsymbols = ["AAPL"]\n'
    users = parse_users(text, "u")
    for token in ("secret", "next"):
        found = users.by_token(token)
        assert found is not None
        assert found[0].accounts is None
        assert found[0].symbols == frozenset({"AAPL"})


def test_credential_that_was_taken_away_is_not_renewed() -> None:
    before = parse_users(_file('certificates = ["c"]'), "u")
    token, certificate = Credential(token_sha256=_HASH), Credential(certificate="c")
    assert before.renewed("alice", token) is not None
    assert before.renewed("alice", certificate) is not None
    after = parse_users(f'[user.bob]\ntoken_sha256 = "{_HASH}"\naccounts = []\nactions = []\n', "u")
    assert after.renewed("alice", token) is None
    assert after.renewed("bob", token) is not None
    other = parse_users(_file("").replace(_HASH, hash_token("new")), "u")
    assert other.renewed("alice", token) is None
    assert other.renewed("alice", certificate) is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (_file('acounts = ["ACC2"]'), 6, 'did you mean "accounts"'),
        (_file('actions2 = ["x"]'), 6, 'did you mean "actions"'),
        (_file("").replace("trade", "trades"), 5, 'unknown action "trades"; did you mean "trade"?'),
        (_file("").replace('["ACC1"]', '"ACC1"'), 4, 'write a list of names, or "*" alone'),
        (_file("").replace('["ACC1"]', '["*"]'), 4, 'write a list of names, or "*" alone'),
        (_file("").replace('["ACC1"]', "7"), 4, "accounts"),
        (_file("").replace(_HASH, _HASH[:-1]), 3, "64 hex digits"),
        (_file("").replace(_HASH, _HASH.upper()), 3, "64 hex digits"),
        (_file('certificates = [""]'), 6, "a name is empty"),
        (_file("").replace(f'token_sha256 = "{_HASH}"', ""), 2, "no way to show who he is"),
        (_file("[users]"), 6, "unknown key 'users'"),
        (_file("").replace("alice", '"al ice"'), 2, "cannot be the name of a user"),
        (_file("").replace("alice", "engine"), 2, "cannot be the name of a user"),
        (
            _file(f'[user.bob]\ntoken_sha256 = "{_HASH}"\naccounts = []\nactions = []'),
            6,
            "has the same token",
        ),
        (_file("actions = []"), 6, "TOML"),
        (_file("nonsense"), 6, "TOML"),
        (_file("").replace('actions = ["trade"]', ""), 2, "actions"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_users(text, "users.toml")
    assert str(caught.value).startswith(f"users.toml:{line}: "), caught.value
    assert words in str(caught.value)


def test_number_of_users_is_bounded() -> None:
    def text(count: int) -> str:
        return "".join(
            f'[user.u{n}]\ncertificates = ["{n}"]\naccounts = []\nactions = []\n' for n in range(count)
        )

    assert len(parse_users(text(USERS_MAX), "u")) == USERS_MAX
    with pytest.raises(InvalidSettings, match="too many"):
        parse_users(text(USERS_MAX + 1), "u")


def test_file_that_everyone_may_open_is_refused(tmp_path: Path) -> None:
    path = write_users(tmp_path / "users.toml")
    assert len(load_users(path)) > 3
    for mode in (0o604, 0o602, 0o601):
        os.chmod(path, mode)
        with pytest.raises(InvalidSettings, match="chmod 600"):
            load_users(path)
    os.chmod(path, 0o640)
    assert len(load_users(path)) > 3


def test_files_that_are_no_users_file(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    with pytest.raises(InvalidSettings, match="cannot read the users file"):
        load_users(path)
    path.write_bytes(b"#" * (USERS_FILE_BYTES_MAX + 1))
    os.chmod(path, 0o600)
    with pytest.raises(InvalidSettings, match="larger than"):
        load_users(path)
    path.write_bytes(b"# \xff")
    with pytest.raises(InvalidSettings, match="not UTF-8"):
        load_users(path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(InvalidSettings, match="no regular file"):
        load_users(fifo)


def test_tokens_differ_and_their_hashes_are_sha256() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
