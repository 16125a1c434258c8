"""The file of keys: strict, private, and telling."""

from __future__ import annotations

from pathlib import Path

import pytest

from cashy.errors import ConfigError
from cashy.s3.credentials import Credentials, Key, load_credentials
from cashy.s3.limits import CREDENTIALS_FILE_BYTES_MAX

GOOD = """\
# keys of the desk
[key.AKIDREAD]
secret = "s3cr3t"

[key.AKIDALL]
secret = "other"
buckets = ["data-*", "logs"]
rights = "read-write"
"""


def write(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    credentials = load_credentials(write(tmp_path, GOOD))
    assert len(credentials) == 2
    assert credentials.secret_of("AKIDREAD") == "s3cr3t"
    assert credentials.secret_of("AKIDNOBODY") is None


@pytest.mark.parametrize(
    ("key_id", "bucket", "right", "may"),
    [
        ("AKIDREAD", "any", "read", True),
        ("AKIDREAD", "any", "write", False),
        ("AKIDALL", "data-1", "read", True),
        ("AKIDALL", "data-1", "write", True),
        ("AKIDALL", "logs", "write", True),
        ("AKIDALL", "logs2", "read", False),
        ("AKIDALL", "my-data-1", "read", False),
        ("AKIDALL", "", "read", True),
        ("AKIDNOBODY", "any", "read", False),
        (None, "any", "read", False),
    ],
)
def test_rights(tmp_path: Path, key_id: str | None, bucket: str, right: str, may: bool) -> None:
    assert load_credentials(write(tmp_path, GOOD)).authorise(key_id, bucket, right) is may


def test_anonymous_may_read_and_nothing_else() -> None:
    credentials = load_credentials(None, anonymous=True)
    assert credentials.authorise(None, "any", "read")
    assert not credentials.authorise(None, "any", "write")
    assert not Credentials().authorise(None, "any", "read")


def test_a_key_without_buckets_may_nothing(tmp_path: Path) -> None:
    credentials = load_credentials(write(tmp_path, '[key.A]\nsecret = "x"\nbuckets = []\n'))
    assert not credentials.authorise("A", "any", "read")


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_file_open_to_everyone_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, GOOD, mode)
    with pytest.raises(ConfigError, match=f"run  chmod 600 {path}"):
        load_credentials(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_file_of_a_user_or_group_is_taken(tmp_path: Path, mode: int) -> None:
    assert len(load_credentials(write(tmp_path, GOOD, mode))) == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[key.A]\nsecret = "x"\nbucket = ["*"]\n', 3, 'unknown key "bucket"; did you mean "buckets"?'),
        ('[key.A]\nsecret = "x"\nzzz = 1\n', 3, "known: secret, buckets, rights, store_key, store_secret"),
        ('[keys.A]\nsecret = "x"\n', 1, 'unknown table "keys"; did you mean "key"?'),
        ('\n[key.A]\nrights = "read"\n', 2, "needs a secret"),
        ('[key.A]\nsecret = ""\n', 2, "needs a secret"),
        ('[key.A]\nsecret = "x"\nrights = "write"\n', 3, 'rights is "read" or "read-write"'),
        ('[key.A]\nsecret = "x"\nbuckets = "*"\n', 3, "buckets is a list"),
        ('[key.A]\nsecret = "x"\nstore_key = "B"\n', 3, "go together"),
        ('[key.A]\nsecret = "x"\nstore_secret = "topsecret"\n', 3, "go together"),
        ('[key.A]\nsecret = "x"\nstore_key = "B"\nstore_secret = 5\n', 3, "go together"),
        ('[key.A]\nsecret = "x"\nstore_key = "a/b"\nstore_secret = "topsecret"\n', 3, "visible ASCII"),
        ('[key.A]\nsecret = "x"\nstore_key = "B"\nstore_secret = ""\n', 3, "not empty"),
        ('[key."a/b"]\nsecret = "x"\n', 1, "the id of a key"),
        ('[key.A]\nsecret = "x"\nsecret = "topsecret"\n', 3, "not valid TOML"),
        ("key = 5\n", 1, "one table per key"),
    ],
)
def test_mistakes_are_shown_with_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_credentials(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)
    assert "topsecret" not in str(caught.value)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_credentials(tmp_path / "missing")
    with pytest.raises(ConfigError, match="cannot read"):
        load_credentials(tmp_path)
    path = write(tmp_path, "#" * CREDENTIALS_FILE_BYTES_MAX)
    assert len(load_credentials(path)) == 0
    path.write_text("#" * (CREDENTIALS_FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load_credentials(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_credentials(path)


def test_a_secret_is_not_shown() -> None:
    assert "s3cr3t" not in repr(Key("A", "s3cr3t", store_key="B", store_secret="other s3cr3t"))


def test_who_a_key_is_at_the_store(tmp_path: Path) -> None:
    text = GOOD + '[key.A]\nsecret = "x"\nstore_key = "B"\nstore_secret = "y"\n'
    credentials = load_credentials(write(tmp_path, text))
    assert credentials.at_store("A") == ("B", "y")
    assert credentials.at_store("AKIDREAD") == ("AKIDREAD", "s3cr3t")
    assert credentials.at_store(None) is None
    assert credentials.at_store("AKIDNOBODY") is None


def test_who_may_see_the_names_of_all_buckets(tmp_path: Path) -> None:
    credentials = load_credentials(write(tmp_path, GOOD))
    assert credentials.may_list_buckets("AKIDREAD")
    assert not credentials.may_list_buckets("AKIDALL")  # of these, only those that its patterns allow
    assert not credentials.may_list_buckets("AKIDNOBODY")
    assert not credentials.may_list_buckets(None)
    assert load_credentials(None, anonymous=True).may_list_buckets(None)
