"""The units as files: what can be said of them without a running systemd."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.systemd.conftest import SYSTEMD

from cashy.cli import cashy_group
from cashy.s3.credentials import load_credentials
from cashy.settings import load_settings as load_cashy_settings
from toucan.cli import toucan_group
from toucan.fix.settings import FixAcceptorSection, FixSection
from toucan.instrument_file import load_instruments
from toucan.risk_file import read_limits
from toucan.server.users import load_users
from toucan.settings import load_settings as load_toucan_settings
from toucan.web.settings import WebSection

UNITS = SYSTEMD / "system"
EXAMPLES = SYSTEMD / "examples"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
NOTHING_TO_RELOAD = ("toucan-exchange.service", "toucan-fix@.service", "toucan-fix-acceptor.service")
#: Tenths of what `systemd-analyze security` calls exposure: 2.0.
EXPOSURE_MAX = 20


def directives(name: str) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit, each with the values of its keys; an empty value resets."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    text = (UNITS / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(header[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def commands() -> Iterator[tuple[str, list[str]]]:
    for name in SERVICES:
        for line in directives(name)["Service"]["ExecStart"]:
            yield name, shlex.split(line.replace("%i", "default"))


@pytest.mark.parametrize("name", SERVICES)
def test_exposure_is_small(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNITS / name)],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "SYSTEMD_PAGER": "cat"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_what_every_daemon_needs(name: str) -> None:
    unit, service = directives(name)["Unit"], directives(name)["Service"]
    assert service["Type"] == ["notify"]
    assert service["WatchdogSec"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["2 78"]
    assert unit["StartLimitIntervalSec"]
    assert unit["StartLimitBurst"]
    assert service["RemoveIPC"] == ["no"], "the arena must outlive its master"
    assert service["User"] in (["cashy"], ["toucan"]), "a dynamic user's shared memory goes with its unit"
    assert "DynamicUser" not in service
    assert ("ExecReload" in service) == (name not in NOTHING_TO_RELOAD)


def test_options_of_commands_exist() -> None:
    programs: dict[str, click.Group] = {"cashy": cashy_group, "toucan": toucan_group}
    for name, words in commands():
        assert words[0].startswith("/opt/aviary/current/bin/"), name
        group = programs[Path(words[0]).name]
        command = group.get_command(click.Context(group), words[1])
        assert command is not None, f"{name}: there is no {words[1]!r}"
        command.make_context(
            words[1], words[2:], ignore_unknown_options=False
        )  # raises for what is no option


def test_units_that_are_named_exist() -> None:
    known = {path.name for path in UNITS.iterdir()}
    for name in known:
        unit = directives(name).get("Unit", {})
        for key in ("Wants", "Requires", "PartOf", "After"):
            for other in " ".join(unit.get(key, [])).split():
                template = re.sub(r"@[^.]+\.", "@.", other)
                if other.startswith(("cashy", "toucan", "aviary")):
                    assert template in known, f"{name}: {key}={other}"


def test_every_slice_exists() -> None:
    for name in SERVICES:
        (used,) = directives(name)["Service"]["Slice"]
        assert (UNITS / used).exists()


def test_examples_are_read_by_the_daemons_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "aviary"
    shutil.copytree(EXAMPLES, folder)
    for secret in ("cashy-keys.toml", "toucan-users.toml"):
        (folder / secret).chmod(0o640)
    assert load_cashy_settings(folder / "cashy.toml", environ={}).origins
    assert len(load_credentials(folder / "cashy-keys.toml")) == 0, "an example must not let anybody in"
    settings = load_toucan_settings(folder / "toucan.toml")
    instruments = {one.symbol: one for one in load_instruments(folder / "instruments.toml")}
    assert {one.venue for one in instruments.values()} <= settings.venue.keys()
    assert read_limits(folder / "limits.toml", instruments)
    assert load_users(folder / "toucan-users.toml").by_token("") is None
    read = {
        "cashy.toml",
        "cashy-keys.toml",
        "toucan.toml",
        "instruments.toml",
        "limits.toml",
        "toucan-users.toml",
    }
    assert {path.name for path in EXAMPLES.iterdir()} == read


def uncommented(path: Path) -> str:
    """The text with the examples that stand in comments: lines that begin with ``#`` and no blank."""
    return re.sub(r"(?m)^#(?=[\[a-z])", "", path.read_text())


def test_what_examples_have_in_comments_is_right_as_well(tmp_path: Path) -> None:
    (tmp_path / "cashy.toml").write_text(uncommented(EXAMPLES / "cashy.toml"))
    settings = load_cashy_settings(tmp_path / "cashy.toml", environ={})
    assert (len(settings.origins), len(settings.peers), settings.cluster.host) == (2, 2, "rack1")
    keys = tmp_path / "keys.toml"
    keys.write_text(uncommented(EXAMPLES / "cashy-keys.toml"))
    keys.chmod(0o600)
    assert load_credentials(keys).authorise("AKIDRESEARCH", "research-1", "read")
    (tmp_path / "toucan.toml").write_text(uncommented(EXAMPLES / "toucan.toml"))
    toucan = load_toucan_settings(tmp_path / "toucan.toml")
    assert toucan.web.has_tls
    assert toucan.venue["BROKER"].address == str(toucan.fix["BROKER"].socket_path("BROKER"))
    users = tmp_path / "users.toml"
    users.write_text(uncommented(EXAMPLES / "toucan-users.toml").replace("…", "0" * 64))
    users.chmod(0o600)
    assert load_users(users)


def test_users_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    for kind in ("sysusers.d", "tmpfiles.d"):
        shutil.copytree(SYSTEMD / kind, tmp_path / "usr/lib" / kind)
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        done = subprocess.run(
            [*command, f"--root={tmp_path}", "aviary.conf"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    users = dict(line.split(":", 1) for line in (tmp_path / "etc/passwd").read_text().splitlines())
    for name in ("cashy", "toucan"):
        assert users[name].endswith(f":/var/lib/{name}:/usr/sbin/nologin")
    assert os.readlink(tmp_path / "run/cashy/cashy.sock") == "default/cashy.sock"


def test_each_gateway_has_a_socket_of_its_own_on_the_same_address() -> None:
    socket = directives("toucan-web@.socket")["Socket"]
    assert socket["ListenStream"] == [WebSection().listen]
    assert socket["ReusePort"] == ["yes"]
    web = directives("toucan-web@.service")
    assert web["Unit"]["Requires"] == ["toucan-web@%i.socket"]
    assert WebSection().state == f"/run/{web['Service']['RuntimeDirectory'][0]}"
    assert web["Service"]["RuntimeDirectoryPreserve"] == ["yes"], "sessions outlive a gateway"


def test_fix_sessions_have_the_folders_that_their_settings_say() -> None:
    session = FixSection("h", 1, "US", "THEM")
    service = directives("toucan-fix@.service")["Service"]
    assert session.store_path("%i") == Path("/var/lib", service["StateDirectory"][0])
    assert session.socket_path("%i").parent == Path("/run", service["RuntimeDirectory"][0])
    acceptor = directives("toucan-fix-acceptor.service")["Service"]
    assert FixAcceptorSection().store == f"/var/lib/{acceptor['StateDirectory'][0]}"
    assert (acceptor["IPAddressDeny"], acceptor["IPAddressAllow"]) == (["any"], ["localhost"])


def test_each_worker_has_a_socket_of_its_own_on_the_same_address() -> None:
    socket = directives("cashy-s3@.socket")["Socket"]
    assert socket["ListenStream"] == [str(load_cashy_settings(None, environ={}).s3.listen)]
    assert socket["ReusePort"] == ["yes"]
    assert directives("cashy-s3@.service")["Unit"]["Requires"] == ["cashy-s3@%i.socket"]
