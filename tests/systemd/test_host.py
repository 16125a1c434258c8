"""The units on a host whose systemd is real: one host for all of these tests, which are in an order in which each leaves it running."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.systemd.installed_host import DAEMONS, KEY, PYTHON, SECRET, TOOLS, InstalledHost, install_host

from labtest.namespaces.errors import LabsNotPossible

pytestmark = [pytest.mark.system]

MASTER, WORKER, ENGINE, SERVER, EXCHANGE = DAEMONS
SECOND_WORKER = "cashy-s3@2.service"
OBJECTS = 12
OBJECT_BYTES = 1_500_000  # two blocks of these settings


@pytest.fixture(scope="module")
def host(installed: Path) -> Iterator[InstalledHost]:
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(install_host(installed))
        except LabsNotPossible as error:
            pytest.skip(str(error))
        host.run("mkdir", "/srv/cashy/data")
        for number in range(OBJECTS):
            host.run("sh", "-c", f"head -c {OBJECT_BYTES} /dev/urandom > /srv/cashy/data/{number}")
        host.run("sh", "-c", "head -c 20000 /dev/urandom > /srv/cashy/data/small")
        host.systemctl("start", "cashy.target", "toucan.target", EXCHANGE, SECOND_WORKER)
        yield host


def get(host: InstalledHost, path: str) -> bytes:
    """An object's digest by a signed GET."""
    program = (
        "import sys, argparse, hashlib, http.client; sys.path.insert(0, sys.argv[1]); from load import Load\n"
        "o = argparse.Namespace(endpoint='127.0.0.1:9000', path=sys.argv[2], key=sys.argv[3], secret=sys.argv[4])\n"
        "c = http.client.HTTPConnection(o.endpoint); c.request('GET', o.path, headers=Load(o).headers())\n"
        "a = c.getresponse(); print(a.status, hashlib.sha256(a.read()).hexdigest())"
    )
    return host.run(PYTHON, "-c", program, TOOLS, path, KEY, SECRET).encode()


def test_units_are_right_in_the_eyes_of_systemd(host: InstalledHost) -> None:
    units = ["cashy.target", "toucan.target", "aviary.slice", "cashy-s3@1.socket", *DAEMONS]
    done = host.host.run(["systemd-analyze", "verify", *units], timeout_s=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_targets_start_everything_and_each_daemon_says_how_it_does(host: InstalledHost) -> None:
    expected = {MASTER: "serving; ", WORKER: "serving S3 on 127.0.0.1:9000; ", ENGINE: "serving; event ",
                SERVER: "serving on 127.0.0.1:7070; ", EXCHANGE: "serving; life "}  # fmt: skip
    for unit, beginning in expected.items():
        state, sub, text = host.show(unit, "ActiveState", "SubState", "StatusText")
        assert (state, sub) == ("active", "running")
        assert text.startswith(beginning)
    assert host.is_active("cashy.target")
    assert host.is_active("toucan.target")
    host.until(lambda: "venue SIM ready" in host.show(ENGINE, "StatusText")[0], "the venue is ready")
    for unit in DAEMONS:
        status = host.run("cat", f"/proc/{host.pid(unit)}/status")
        assert "Seccomp:\t2" in status
        assert "CapBnd:\t0000000000000000" in status


def test_a_restart_of_the_workers_refuses_no_connection_and_loses_no_request(host: InstalledHost) -> None:
    arguments = [
        "--path",
        "/data/small",
        "--size",
        "20000",
        "--key",
        KEY,
        "--secret",
        SECRET,
        "--threads",
        "6",
    ]
    with host.program("load.py", *arguments) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stdout.readline() == "running\n"
        before = [host.pid(unit) for unit in (WORKER, SECOND_WORKER)]
        host.systemctl("restart", WORKER)
        host.systemctl("restart", SECOND_WORKER)
        host.systemctl("restart", WORKER, SECOND_WORKER)  # nobody is there for a moment
        after = [host.pid(unit) for unit in (WORKER, SECOND_WORKER)]
        load.stdin.close()
        told = json.loads(load.stdout.readline())
    assert set(before).isdisjoint(after)
    assert set(told["outcomes"]) == {"ok"}
    assert told["outcomes"]["ok"] > 100


def replaced(host: InstalledHost, unit: str, pid: int, restarts: int = -1) -> None:
    """Waits until another process than ``pid`` serves, started by systemd itself if ``restarts`` is what there were."""
    host.until(
        lambda: host.is_active(unit) and host.pid(unit) not in (0, pid) and host.restarts(unit) > restarts,
        f"{unit} is back",
    )


def reload(host: InstalledHost, *units: str) -> None:
    """Reloads units, and waits until each has said what came of it: on a loaded machine a daemon may be late to hear of it."""
    since = host.cursor()
    host.systemctl("reload", *units)
    for unit in units:
        host.until(partial(has_reloaded, host, unit, since), f"{unit} has reloaded")


def has_reloaded(host: InstalledHost, unit: str, since: str) -> bool:
    return " read again" in host.journal(unit, since)


def has_refused(host: InstalledHost, *units: str, is_so: bool = True) -> None:
    """Waits until the units say by ERRNO= what became of a reload: the job itself ends well either way."""
    wanted = str(errno.EINVAL if is_so else 0)
    for unit in units:
        host.until(lambda unit=unit: host.show(unit, "StatusErrno") == [wanted], f"{unit} says {wanted}")  # type: ignore[misc]


def stopped(host: InstalledHost, unit: str) -> None:
    """Waits until a unit has stopped as it should."""
    host.until(
        lambda: host.show(unit, "ActiveState", "Result") == ["inactive", "success"], f"{unit} has stopped"
    )


def segment(host: InstalledHost) -> tuple[str, str]:
    """Name and inode of the arena."""
    (line,) = [
        line
        for line in host.run("sh", "-c", "stat --format='%n %i %F' /dev/shm/cashy.*").splitlines()
        if "regular" in line
    ]
    name, inode, *_ = line.split()
    return name, inode


def test_the_arena_and_its_views_survive_a_restart_of_the_master(host: InstalledHost) -> None:
    urls = [f"/data/{number}" for number in range(OBJECTS)]
    cold = [get(host, url) for url in urls]
    assert all(answer.startswith(b"200 ") for answer in cold)
    arena = segment(host)
    with host.program("holder.py", "s3://data/3", user="65534", group="cashy") as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        before = json.loads(holder.stdout.readline())["before"]
        for how in ("restart", "kill"):
            pid = host.pid(MASTER)
            if how == "restart":
                host.systemctl("restart", MASTER)
            else:
                host.systemctl("kill", "--signal=KILL", "--kill-whom=main", MASTER)
            replaced(host, MASTER, pid)
            assert segment(host) == arena
        holder.stdin.write("\n")
        holder.stdin.flush()
        told = json.loads(holder.stdout.readline())
    assert told == {"after": before, "again": before}
    assert [get(host, url) for url in urls] == cold
    assert host.metric(9101, "cashy_origin_reads_total") == 0, "all of it was there at once"


def test_a_reload_applies_what_can_be_and_names_what_cannot(host: InstalledHost) -> None:
    since = host.cursor()
    original = host.run("cat", "/etc/aviary/cashy.toml")
    changed = original.replace('"64MiB"', '"128MiB"').replace("3600", "1800") + "[limits]\nclients_max = 50\n"
    host.write("/etc/aviary/cashy.toml", changed)
    host.write("/etc/aviary/cashy-keys.toml", f'[key.{KEY}]\nsecret = "another one"\n')
    reload(host, MASTER, WORKER, SECOND_WORKER)
    said = [json.loads(line) for line in host.journal(MASTER, since).splitlines() if line.startswith("{")]
    (told,) = [line for line in said if line["event"] == "settings read again"]
    assert told["applied"] == ["limits.clients_max", "freshness.revalidate_after_s"]
    assert [line["setting"] for line in said if line["event"] == "this setting needs a restart"] == [
        "memory.size"
    ]
    host.until(
        lambda: host.show(MASTER, "StatusText")[0].endswith("; needs a restart: memory.size"),
        "the status says so",
    )
    assert get(host, "/data/small").startswith(b"403 "), "the old secret is no longer taken"
    host.write("/etc/aviary/cashy-keys.toml", f'[key.{KEY}]\nsecret = "{SECRET}"\n')
    host.write("/etc/aviary/cashy.toml", "[memory]\nsiez = 1\n")
    reload(host, MASTER, WORKER)
    assert "/etc/aviary/cashy.toml:2: unknown key" in host.journal(MASTER, since)
    has_refused(host, MASTER, WORKER)
    host.write("/etc/aviary/cashy.toml", original)
    reload(host, MASTER, WORKER, SECOND_WORKER)
    has_refused(host, MASTER, WORKER, is_so=False)
    assert get(host, "/data/small").startswith(b"200 ")
    assert (host.restarts(MASTER), host.restarts(WORKER)) == (1, 0)  # the kill of the test before


def test_order_entry_reloads_limits_and_users_and_names_the_rest(host: InstalledHost) -> None:
    since = host.cursor()
    originals = {
        name: host.run("cat", f"/etc/aviary/{name}")
        for name in ("toucan.toml", "limits.toml", "instruments.toml")
    }
    host.write("/etc/aviary/limits.toml", originals["limits.toml"].replace("50000\n", "40000\n"))
    host.write("/etc/aviary/instruments.toml", originals["instruments.toml"].replace("Apple Inc.", "Apple"))
    host.write(
        "/etc/aviary/toucan.toml",
        originals["toucan.toml"].replace(":7070", ":7071").replace("[venue.SIM]", "[venue.OTHER]"),
    )
    reload(host, ENGINE, SERVER)
    engine, server = host.journal(ENGINE, since), host.journal(SERVER, since)
    assert "limits=loaded" in engine
    for setting in ("venue.OTHER", "venue.SIM", "instruments (/etc/aviary/instruments.toml)"):
        assert any("needs a restart" in line and setting in line for line in engine.splitlines()), setting
    assert "users read" in server
    assert "setting=server.listen" in server
    host.write("/etc/aviary/limits.toml", 'base_currency = "USD"\n[firm]\nmax_open_oders = 1\n')
    for name in ("toucan.toml", "instruments.toml"):
        host.write(f"/etc/aviary/{name}", originals[name])
    reload(host, ENGINE)
    assert "/etc/aviary/limits.toml:3: " in host.journal(ENGINE, since)
    has_refused(host, ENGINE)
    host.write("/etc/aviary/limits.toml", originals["limits.toml"])
    reload(host, ENGINE, SERVER)
    has_refused(host, ENGINE, SERVER, is_so=False)
    assert [host.restarts(unit) for unit in (ENGINE, SERVER)] == [0, 0]


def test_a_killed_daemon_is_started_again(host: InstalledHost) -> None:
    pids = {unit: host.pid(unit) for unit in DAEMONS}
    for unit in DAEMONS:
        host.systemctl("kill", "--signal=KILL", "--kill-whom=main", unit)
    for unit, pid in pids.items():
        replaced(host, unit, pid)
    assert get(host, "/data/small").startswith(b"200 ")
    host.until(lambda: "venue SIM ready" in host.show(ENGINE, "StatusText")[0], "the venue is ready again")
    host.until(lambda: "event" in host.show(SERVER, "StatusText")[0], "the front end follows the new engine")


def test_the_watchdog_ends_a_daemon_whose_loop_stands_still(host: InstalledHost) -> None:
    since = host.cursor()
    for unit in DAEMONS:
        (command,) = [
            line.partition("=")[2].replace("\\", "").strip()
            for line in host.run("systemctl", "cat", unit).replace("\\\n", " ").splitlines()
            if line.startswith("ExecStart=")
        ]
        program, _, arguments = command.partition(" ")
        wrapped = f"{PYTHON} {TOOLS}/blocking.py {Path(program).name} {arguments}"
        host.run("mkdir", "-p", f"/run/systemd/system/{unit}.d")
        host.write(
            f"/run/systemd/system/{unit}.d/watchdog.conf",
            f"[Service]\nExecStart=\nExecStart={wrapped}\nWatchdogSec=3s\n",
        )
    host.systemctl("daemon-reload")
    host.systemctl("restart", *DAEMONS)
    before = {unit: (host.pid(unit), host.restarts(unit)) for unit in DAEMONS}
    for unit in DAEMONS:
        host.systemctl("kill", "--signal=USR1", "--kill-whom=main", unit)
    for unit, (pid, restarts) in before.items():
        replaced(host, unit, pid, restarts)
        told = host.journal(unit, since)
        assert "Watchdog timeout" in told
        assert "in stand_still" in told, "where it hung is in the journal"
    host.run("sh", "-c", "rm -r /run/systemd/system/*.service.d")
    host.systemctl("daemon-reload")
    host.systemctl("restart", *DAEMONS)


def test_a_frozen_worker_is_replaced(host: InstalledHost) -> None:
    host.run("mkdir", "-p", f"/run/systemd/system/{SECOND_WORKER}.d")
    host.write(f"/run/systemd/system/{SECOND_WORKER}.d/watchdog.conf", "[Service]\nWatchdogSec=2s\n")
    host.systemctl("daemon-reload")
    host.systemctl("restart", SECOND_WORKER)
    pid = host.pid(SECOND_WORKER)
    host.systemctl("kill", "--signal=STOP", "--kill-whom=main", SECOND_WORKER)
    replaced(host, SECOND_WORKER, pid)


def test_wrong_settings_end_in_failed_at_once_with_the_reason_in_the_journal(host: InstalledHost) -> None:
    host.write("/etc/aviary/cashy-wrong.env", "CASHY_CONFIG=/etc/aviary/cashy-wrong.toml\n")
    host.write("/etc/aviary/cashy-wrong.toml", '[memory]\nsiez = "1GiB"\n')
    assert host.status_of("systemctl", "start", "cashy-master@wrong") != 0
    state, result, status, restarts = host.show(
        "cashy-master@wrong", "ActiveState", "Result", "ExecMainStatus", "NRestarts"
    )
    assert (state, result, status, restarts) == ("failed", "exit-code", "78", "0")
    assert (
        '/etc/aviary/cashy-wrong.toml:2: unknown key "siez" in [memory]; did you mean "size"?'
        in host.journal("cashy-master@wrong")
    )


def test_what_stays_wrong_is_tried_a_few_times_and_then_left(host: InstalledHost) -> None:
    host.write("/etc/aviary/cashy-away.env", "CASHY_CONFIG=/etc/aviary/cashy-away.toml\n")
    host.write("/etc/aviary/cashy-away.toml", '[[origin]]\nkind = "directory"\npath = "/mnt/not-mounted"\n')
    host.run("mkdir", "-p", "/run/systemd/system/cashy-master@away.service.d")
    host.write(
        "/run/systemd/system/cashy-master@away.service.d/quick.conf",
        "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=10ms\n",
    )
    host.systemctl("daemon-reload")
    host.status_of("systemctl", "start", "--no-block", "cashy-master@away")
    host.until(lambda: host.show("cashy-master@away", "SubState")[0] == "failed", "it is given up")
    assert host.restarts("cashy-master@away") >= 2
    assert "/mnt/not-mounted is not a directory" in host.journal("cashy-master@away")


def test_shared_memory_is_removed_at_a_stop_if_that_is_asked_for(host: InstalledHost) -> None:
    host.write("/etc/aviary/cashy-brief.env", "CASHY_CONFIG=/etc/aviary/cashy-brief.toml\n")
    settings = host.run("cat", "/etc/aviary/cashy.toml").replace("9101", "9109")
    host.write("/etc/aviary/cashy-brief.toml", settings + "[instance]\nremove_on_exit = true\n")
    host.systemctl("start", "cashy-master@brief")
    assert ".brief." in host.run("ls", "/dev/shm")
    host.systemctl("stop", "cashy-master@brief")
    assert "brief" not in host.run("ls", "/dev/shm")


def test_stopping_the_targets_stops_everything_and_keeps_the_arena(host: InstalledHost) -> None:
    host.systemctl("stop", "cashy.target", "toucan.target")
    # systemd waits for the target's own stop only; what is part of it follows.
    for unit in (*DAEMONS, SECOND_WORKER, "cashy-s3@1.socket", "cashy-s3@2.socket"):
        stopped(host, unit)
    for user in ("cashy", "toucan"):
        assert host.run("ps", "-o", "args=", "-u", user, check=False) == ""
    arena = segment(host)
    host.systemctl("start", "cashy.target")
    assert segment(host) == arena
    assert get(host, "/data/0").startswith(b"200 ")
