"""FIX sessions as services of a host: an order goes the whole way by FIX, and both processes are killed under it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from tests.systemd.installed_host import InstalledHost, install_host

from labtest.namespaces.errors import LabsNotPossible

pytestmark = [pytest.mark.system]

EXCHANGE, ACCEPTOR, SESSION = (
    "toucan-exchange.service",
    "toucan-fix-acceptor.service",
    "toucan-fix@SIM.service",
)
ENGINE, SERVER = "toucan-engine.service", "toucan-server@1.service"
TOUCAN = "/opt/aviary/current/bin/toucan"
TOKEN, TOKEN_FILE = "token-of-alice", "/etc/aviary/alice.token"
USERS_TOML = f"""\
[user.alice]
token_sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"
accounts = ["ACC1"]
actions = ["trade"]
"""
FIX_TOML = """
[fix.SIM]
host = "127.0.0.1"
port = 7090
sender_comp_id = "DESK"
target_comp_id = "AVIARY"
username = "desk"
password_file = "/etc/aviary/fix-SIM.password"
reconnect_s = 1
[fix_acceptor.session.DESK]
firm = "desk"
username = "desk"
password_file = "/etc/aviary/fix-SIM.password"
"""


def _add_quickfix(host: InstalledHost) -> None:
    """What `make install-systemd EXTRA=fix` would add, which takes minutes to build: the same module, as it is in the environment of the tests."""
    (site,) = (host.host.disk / "opt/aviary/current/").resolve().glob("lib/python3*/site-packages")
    for file in metadata.distribution("quickfix-tls").files or ():
        target = site / file
        if ".." not in file.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


@pytest.fixture(scope="module")
def host(installed: Path) -> Iterator[InstalledHost]:
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(install_host(installed))
        except LabsNotPossible as error:
            pytest.skip(str(error))
        _add_quickfix(host)
        settings = host.run("cat", "/etc/aviary/toucan.toml")
        settings = settings.replace("/run/toucan-exchange/exchange.sock", "/run/toucan-fix/SIM/venue.sock")
        host.write("/etc/aviary/toucan.toml", settings + FIX_TOML)
        host.write("/etc/aviary/fix-SIM.password", "a password of tests\n")
        host.write("/etc/aviary/toucan-users.toml", USERS_TOML)
        host.write(TOKEN_FILE, TOKEN)
        host.run("chmod", "600", TOKEN_FILE)
        host.run("systemd-tmpfiles", "--create", "aviary.conf")
        host.systemctl("start", EXCHANGE, ACCEPTOR, SESSION, ENGINE, SERVER)
        yield host


def toucan(host: InstalledHost, *words: str) -> Any:
    """What the command says, as JSON."""
    return json.loads(host.run(TOUCAN, *words, "--token-file", TOKEN_FILE, "--json"))


def is_ready(host: InstalledHost) -> bool:
    return "venue SIM ready" in host.show(ENGINE, "StatusText")[0]


def status_of(host: InstalledHost, order_id: int) -> str:
    (found,) = [one for one in toucan(host, "orders", "--all") if one["order_id"] == order_id]
    return str(found["status"])


def test_units_are_right_in_the_eyes_of_systemd(host: InstalledHost) -> None:
    done = host.host.run(["systemd-analyze", "verify", ACCEPTOR, SESSION], timeout_s=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_order_goes_by_fix_and_outlives_both_processes(host: InstalledHost) -> None:
    host.until(lambda: is_ready(host), "the venue is ready")
    host.until(
        lambda: host.show(SESSION, "StatusText")[0].startswith("logged on at AVIARY; an engine; "),
        "the session says that it is there",
    )
    bought = toucan(
        host, "buy", "10", "AAPL", "@", "100.00", "--tif", "gtc", "--account", "ACC1", "--wait", "20"
    )
    assert bought["status"] == "new"
    for unit in (SESSION, ACCEPTOR):
        before = host.pid(unit)
        host.systemctl("kill", "--signal=KILL", unit)
        host.until(lambda unit=unit, before=before: host.pid(unit) not in (0, before), f"{unit} is back")  # type: ignore[misc]
        host.until(lambda: not is_ready(host) or host.is_active(unit), "it is noticed")  # noqa: B023
        host.until(lambda: is_ready(host), "the venue is ready again")
    toucan(host, "cancel", str(bought["order_id"]))
    host.until(lambda: status_of(host, bought["order_id"]) == "canceled", "the order is cancelled")


def test_what_the_processes_say_has_no_password(host: InstalledHost) -> None:
    for unit in (SESSION, ACCEPTOR):
        assert "a password of tests" not in host.journal(unit)
        assert "a password of tests" not in host.run("cat", f"/proc/{host.pid(unit)}/cmdline")
    modes = host.run("sh", "-c", "find /var/lib/toucan-fix /var/lib/toucan-fix-acceptor -type f -perm /077")
    assert modes == ""


def test_sessions_end_in_order_and_know_this_start_of_the_host(host: InstalledHost) -> None:
    assert len(host.run("cat", "/var/lib/toucan-fix/SIM/boot").strip()) == 36
    host.systemctl("stop", ENGINE, SESSION, ACCEPTOR)
    for unit in (SESSION, ACCEPTOR):
        result, code = host.show(unit, "Result", "ExecMainStatus")
        assert (result, code) == ("success", "0"), unit
