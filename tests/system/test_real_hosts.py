"""What can be seen on real hosts alone: two users of one daemon, a limit between two hosts, how long a host that says nothing is waited for, and a
host that loses its power in the middle of a change of the list of hosts.

One set of three hosts for all of it; on each a reader reads without end and checks every byte (:mod:`tests.system.faults.load`). Figures are printed
(`pytest -s`); what is asserted of times is what a machine that is slow, and stands still now and then, can hold.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.labtest.namespaces.support import need_labs
from tests.systemd.conftest import installed, wheel  # noqa: F401 - fixtures
from tests.systemd.installed_host import PYTHON

from .faults.hosts import MASTER, NAMES, TOOLS, Floor, floor, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

#: In which something that takes seconds at most has to be done.
GENEROUS_S = 20.0
#: What host a may ask of each other host in a second; blocks have 256 KiB.
PEER_LIMIT_BYTES = 1 << 20
BLOCK_BYTES = 256 << 10


@pytest.fixture(scope="module")
def hosts(installed: Path) -> Iterator[Floor]:  # noqa: F811
    need_labs()
    limit = f"peer_bandwidth_bytes_per_s = {PEER_LIMIT_BYTES}\n"
    with floor(installed, is_listed=True, cluster="lease_s = 1.0\n", per_host={"a": limit}) as made:
        made.until_read()
        yield made


# --- two users ---

FAIR_MASTER = "cashy-master@fair.service"
FAIR_SOCKET = "/run/cashy/fair/cashy.sock"
GREEDY_CLIENTS = 12  # in three processes
#: When so much has come, nearly all that one user may keep is kept: seven eighths of the memory.
KEPT_BYTES = 26 << 20
FAIR_TOML = f"""\
[memory]
size = "32MiB"
block_size = "256KiB"
[limits]
clients_per_user_max = {GREEDY_CLIENTS}
[[origin]]
kind = "directory"
path = "/srv/fair"
bandwidth_bytes_per_s = "8MiB"
"""


@pytest.fixture
def fair(hosts: Floor) -> Iterator[Floor]:
    """A second daemon on host a, and two users who may use it."""
    host = hosts.hosts["a"]
    host.write("/etc/aviary/cashy-fair.toml", FAIR_TOML)
    host.write("/etc/aviary/cashy-fair.env", "CASHY_CONFIG=/etc/aviary/cashy-fair.toml\n")
    host.run("mkdir", "-p", "/srv/fair/data")
    for name, mib in (("much", 48), ("little", 8), ("less", 8)):
        host.run("sh", "-c", f"head -c {mib << 20} /dev/urandom > /srv/fair/data/{name}")
    for user in ("greedy", "modest"):
        host.run("useradd", "--no-create-home", "--gid", "cashy", user)
    host.systemctl("start", FAIR_MASTER)
    try:
        yield hosts
    finally:
        host.systemctl("stop", FAIR_MASTER)


def _as_user(hosts: Floor, kind: str, user: str, file: str, seconds: float = GENEROUS_S) -> dict[str, Any]:
    """Lets somebody use the daemon; what came of it (:mod:`tests.system.faults.users`)."""
    told = hosts.hosts["a"].run(
        "setpriv", f"--reuid={user}", "--regid=cashy", "--clear-groups",
        PYTHON, f"{TOOLS}/users.py", kind, FAIR_SOCKET, f"/srv/fair/data/{file}", str(seconds),
    )  # fmt: skip
    return dict(json.loads(told))


def test_a_user_who_reads_a_block_now_and_then_is_served_whatever_another_asks_for(fair: Floor) -> None:
    """While the greedy one's reads wait for the origin, and when his views have all the memory that they may."""
    with ThreadPoolExecutor(3) as threads:
        flood = [
            threads.submit(_as_user, fair, "greedy", "greedy", "much") for _ in range(GREEDY_CLIENTS // 4)
        ]
        try:
            until(lambda: fair.figures("a", "fair")["clients"] > GREEDY_CLIENTS, "the greedy one's clients")
            modest = [_as_user(fair, "modest", "modest", "little", 1.5)]
            one_more = _as_user(fair, "knock", "greedy", "much")
            until(lambda: fair.figures("a", "fair")["bytes_from_origin"] > KEPT_BYTES, "views are kept")
            modest.append(_as_user(fair, "modest", "modest", "less", 2.5))
        finally:
            fair.hosts["a"].run("touch", "/srv/fair/data/much.over")
        greedy = [each.result() for each in flood]
    greedy_s = statistics.median(second for each in greedy for second in each["took_s"])
    errors = sum(sum(each["errors"].values()) for each in greedy)
    for when, each in zip(("while they wait", "without room"), modest, strict=True):
        took_s = each["took_s"]
        print(
            f"\nmodest {when}: {len(took_s)} blocks, median {statistics.median(took_s):.3f}, worst {max(took_s):.3f} s"
        )
        assert each["uid"] != greedy[0]["uid"]
        assert (each["errors"], each["wrong"]) == ({}, 0), "he is not refused"
        assert max(took_s) < GENEROUS_S
        # An eighth of what the greedy one's reads bring: he waits for turns, and never for room.
        assert statistics.median(took_s) < greedy_s / 2
    print(
        f"greedy: {sum(len(each['took_s']) for each in greedy)} reads, median {greedy_s:.2f} s, {errors} without room"
    )
    assert sum(each["wrong"] for each in greedy) == 0
    assert [error.partition(":")[0] for error in one_more["errors"]] == ["SlowDown"], one_more
    whys = {error for each in greedy for error in each["errors"]}
    assert {error.partition(":")[0] for error in whys} <= {"ArenaFull", "SlowDown"}, whys


# --- bandwidth ---


def test_no_more_than_the_limit_comes_from_each_other_host(hosts: Floor) -> None:
    since = time.time()
    figures = [hosts.figures("a")]
    for _ in range(3):
        time.sleep(1.2)
        figures.append(hosts.figures("a"))
    seconds = (figures[-1]["at_ns"] - figures[0]["at_ns"]) / 1e9
    came = {
        name: (figures[-1][key] - figures[0][key]) / seconds
        for name in "bc" for key in [f"peer.{name}.bytes_received_total"]
    }  # fmt: skip
    waiting = [each["fills_waiting"] for each in figures]
    hosts.until_read(["a"], since)
    print(f"\nbytes a second from each: {came}, in {seconds:.1f} s; blocks waiting: {waiting}")
    # Blocks whose reads began before, a burst of a tenth of a second, and what frames and questions take.
    slack = (4 * BLOCK_BYTES + PEER_LIMIT_BYTES / 10) / seconds
    assert all(rate <= PEER_LIMIT_BYTES * 1.1 + slack for rate in came.values()), came
    assert sum(came.values()) > 0, "it does ask them"
    until(lambda: hosts.figure("a", "fills_waiting") > 0, "it would ask for more")
    assert hosts.wrong() == []
    assert hosts.failed(since) == []


# --- silence ---


def _lost_after_s(hosts: Floor, name: str, victim: str, since: float) -> float | None:
    """When a host's master gave another one up, in seconds after a time (UTC); None: it has not."""
    lines = hosts.hosts[name].run(
        "journalctl", "--no-pager", "--quiet", "--output=json", f"--unit={MASTER}", f"--since=@{since:.6f}", "--grep=peer_lost",
        check=False,
    )  # fmt: skip
    for entry in map(json.loads, lines.splitlines()):
        if json.loads(entry["MESSAGE"]).get("peer") == victim:
            return int(entry["__REALTIME_TIMESTAMP"]) / 1e6 - since
    return None


def _reads(hosts: Floor, name: str, since: float) -> int:
    """Reads of a host's reader in its records that ended after a time."""
    return sum(record.reads for record in hosts.records(name, since))


@contextmanager
def stands_still(hosts: Floor, name: str) -> Iterator[None]:
    hosts.lab.freeze(name)
    try:
        yield
    finally:
        hosts.lab.thaw(name)


@contextmanager
def is_cut_off(hosts: Floor, name: str) -> Iterator[None]:
    hosts.lab.partition(name)
    try:
        yield
    finally:
        hosts.lab.heal(name)


@pytest.mark.parametrize(("fault", "victim"), [(stands_still, "c"), (is_cut_off, "b")])
def test_a_silent_host_is_left_and_nobody_waits_for_it_any_more(
    hosts: Floor, fault: Callable[[Floor, str], AbstractContextManager[None]], victim: str
) -> None:
    others = [name for name in NAMES if name != victim]
    since = time.time()
    with fault(hosts, victim):
        until(
            lambda: None not in [_lost_after_s(hosts, name, victim, since) for name in others],
            f"the others leave {victim}",
        )
        left = time.time()
        # Nearly every read wants a block of the silent one's: if each had to wait for it, this would take twice as long. Host a has a limit.
        quick = [name for name in others if name != "a"]
        went_on_s = until(
            lambda: all(_reads(hosts, name, left) >= 20 for name in quick),
            f"{quick} read on",
            1.5 * GENEROUS_S,
        )
    lost_s = {name: _lost_after_s(hosts, name, victim, since) or 0.0 for name in others}
    slowest_s = hosts.slowest_s(since, others)
    print(
        f"\n{victim} {fault.__name__}: left after {lost_s} s, 20 reads {went_on_s:.1f} s after that, slowest read {slowest_s:.2f} s"
    )
    hosts.until_read()
    assert hosts.wrong() == []
    assert hosts.failed(since, others) == []
    assert max(lost_s.values()) < GENEROUS_S
    assert slowest_s < GENEROUS_S


# --- the list of hosts ---


def _agree(hosts: Floor, members: str) -> bool:
    """Whether every host goes by the newest list, and those in it count by no other, and know it of each other."""
    for name in NAMES:
        figures = hosts.figures(name)
        if figures["membership_version"] != hosts.list_version:
            return False
        settled = {"membership_unconfirmed": 0, "membership_lists_counted": 1, "membership_acts": 1}
        if name in members and any(figures[key] != value for key, value in settled.items()):
            return False
    return True


@pytest.mark.parametrize(("members", "comes_back_with"), [("ab", "old"), ("abc", "new")])
def test_a_host_that_loses_its_power_while_the_list_changes_costs_nobody_a_read(
    hosts: Floor, members: str, comes_back_with: str
) -> None:
    """Host c leaves the list, and joins it again."""
    since = time.time()
    fresh = hosts.next_list(members)
    hosts.write_list("a", fresh)
    until(lambda: hosts.figure("a", "membership_version") == hosts.list_version, "a goes by the new list")
    hosts.lab.power_cut("b")
    last = "b" if comes_back_with == "old" else "c"
    for name in {"b", "c"} - {last}:
        hosts.write_list(name, fresh)
    hosts.until_read(["a", "c"])
    hosts.lab.boot("b")
    recovered_s = hosts.until_read()
    between = {name: hosts.figure(name, "membership_version") for name in NAMES}
    hosts.write_list(last, fresh)
    agreed_s = until(partial(_agree, hosts, members), "all hosts agree")
    hosts.until_read()
    print(
        f"\nb comes back with the {comes_back_with} list {between}: read there after {recovered_s:.1f} s, agreed {agreed_s:.1f} s after "
        f"the last has it, slowest read elsewhere {hosts.slowest_s(since, ['a', 'c']):.2f} s"
    )
    assert between[last] < hosts.list_version
    assert hosts.wrong() == []
    assert hosts.failed(since, ["a", "c"]) == []
