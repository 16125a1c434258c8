"""The sections of the FIX processes, and what their commands say when they cannot begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from toucan.errors import InvalidSettings
from toucan.fix.settings import read_password
from toucan.settings import load_settings

_VENUE = '[fix.v]\nhost = "h"\nport = 1\nsender_comp_id = "US"\ntarget_comp_id = "THEM"\n'
_CLIENT = '[fix_acceptor.session.C]\nfirm = "one"\n'


def _load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "toucan.toml"
    path.write_text(text)
    load_settings(path)


def test_what_is_not_said_is_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "toucan.toml"
    path.write_text(_VENUE + _CLIENT)
    settings = load_settings(path)
    section = settings.fix["v"]
    assert section.store_path("v") == Path("/var/lib/toucan-fix/v")
    assert section.socket_path("v") == Path("/run/toucan-fix/v/venue.sock")
    assert settings.fix_acceptor.session["C"].firm == "one"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (_VENUE.replace("port = 1", "port = 0"), "fix.v.port"),
        (_VENUE.replace('"h"', '""'), "fix.v.host"),
        (_VENUE.replace('"US"', '"U S"'), "fix.v.sender_comp_id"),
        (_VENUE + 'password = "p"\npassword_file = "f"', "fix.v.password_file"),
        (_VENUE + "heartbeat_s = 0", "fix.v.heartbeat_s"),
        (_VENUE + "reconnect_s = 3601", "fix.v.reconnect_s"),
        (_VENUE + 'start_time = "22:00:00"', "fix.v.end_time"),
        (_VENUE + 'start_time = "22:00"\nend_time = "21:00:00"', "fix.v.start_time"),
        (_VENUE + 'start_day = "Sunday"\nend_day = "Friday"', "fix.v.start_time"),
        (_VENUE + 'start_time = "22:00:00"\nend_time = "21:00:00"\nstart_day = "Sun"', "fix.v.start_day"),
        (_VENUE + "hearbeat_s = 5", "did you mean 'heartbeat_s'"),
        (_CLIENT + '[fix_acceptor.session.D]\nfirm = "one"', "fix_acceptor.session.D.firm"),
        (_CLIENT + '[fix_acceptor.drop_copy.C]\nfirms = ["one"]', "fix_acceptor.drop_copy.C"),
        (_CLIENT + "[fix_acceptor.drop_copy.D]\nfirms = []", "fix_acceptor.drop_copy.D.firms"),
        ('[fix_acceptor.session."a b"]\nfirm = "one"', "fix_acceptor.session.a b"),
        ('[fix_acceptor.session.C]\nfirm = "a/b"', "fix_acceptor.session.C.firm"),
        ("[fix_acceptor]\nport = 65536", "fix_acceptor.port"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        _load(tmp_path, text)
    assert key in str(caught.value)


def test_a_password_comes_out_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    assert read_password("k", str(path)) == "secret"
    assert read_password("k", "") == ""
    for wrong in ("", "two\nlines"):
        path.write_text(wrong)
        with pytest.raises(InvalidSettings, match="k:"):
            read_password("k", str(path))
    with pytest.raises(InvalidSettings, match="cannot read"):
        read_password("k", str(tmp_path / "nix"))


def _run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = code or "from toucan.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.system
def test_commands_say_in_one_line_why_they_cannot_begin(tmp_path: Path) -> None:
    instruments = tmp_path / "instruments.toml"
    instruments.write_text('[[instrument]]\nsymbol = "ABC"\ncurrency = "USD"\nvenue = "v"\n')
    config = tmp_path / "toucan.toml"
    config.write_text(f'[engine]\ninstruments = "{instruments}"\n{_VENUE}store = "{tmp_path}/s"\n')
    done = _run("fix", "w", "--config", str(config))
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "[fix.w]" in done.stderr
    done = _run("fix-acceptor", "--config", str(config))
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "nobody may log on" in done.stderr
    missing = "import sys; sys.modules['quickfix'] = None; from toucan.cli import main; main()"
    done = _run("fix", "v", "--config", str(config), code=missing)
    assert done.returncode == 1
    assert "pip install 'aviary[fix]'" in done.stderr
