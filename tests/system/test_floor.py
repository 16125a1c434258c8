"""The example environment on three hosts of this machine, from nothing to nothing: what a user does with `labtest` and at the prompt of `labshell`.

One environment for the whole file, and one prompt for most of it. The tests are steps of one story: each leaves the environment as the spec and the
changes made so far describe it, and the last but one finds the spec alone.
"""

from __future__ import annotations

import hashlib
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import left_of, need_labs
from tests.system.floor import HOSTS, Floor, Operator, Reader, copied_floor, rebuilt_wheel

from labshell.session.opening import last_wanted
from labtest.deploy import StateFolder
from labtest.spec import read_environment

BUCKET = "floor"
KEY = "prices"
BODY = hashlib.shake_256(b"prices of the floor").digest(5 * 2**20 + 12345)
NEXT_VERSION = "0.1.1"
#: Where labtest puts things on the hosts of this spec.
OURS = ("/etc/aviary", "/opt/aviary", "/opt/seaweedfs", "/etc/systemd/system/*.d")
#: In a host: reads an object with the client library alone, and prints what it read.
READ = f"""
import cashy, hashlib
with cashy.connect() as cache, cache.open("s3://{BUCKET}/{KEY}") as prices:
    print(prices.size, hashlib.sha256(prices.view()).hexdigest())
"""


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    need_labs()
    folder = tmp_path_factory.mktemp("floor")
    with copied_floor(folder, f"floor{uuid.uuid4().hex[:6]}") as floor:
        rebuilt_wheel(tmp_path_factory.mktemp("source"), NEXT_VERSION, folder / "lab/versions")
        yield floor


@contextmanager
def operator_of(floor: Floor) -> Iterator[Operator]:
    """Somebody who has just come to the prompt."""
    operator = Operator(floor)
    try:
        yield operator.at_prompt()
    finally:
        operator.close()


@pytest.fixture(scope="module")
def prompt(floor: Floor) -> Iterator[Operator]:
    """Somebody who stays at the prompt through all of it."""
    with operator_of(floor) as operator:
        yield operator


def test_from_nothing_to_a_floor_with_two_commands(floor: Floor) -> None:
    booted = floor.labtest("up", str(floor.spec))
    assert all(f"  {host}  " in booted for host in HOSTS)
    said = floor.labshell("apply -y; status")
    assert "10 starts, 10 health checks on 3 hosts" in said
    assert "apply: done" in said
    assert len([line for line in said.splitlines() if "  running  " in line]) == 10
    assert len(floor.lives()) == 10


def test_what_is_as_it_should_be_is_left_alone(floor: Floor) -> None:
    before = floor.lives()
    assert floor.labshell("plan").splitlines() == ["nothing to do"]
    assert floor.labshell("apply -y; diff").splitlines() == ["nothing to do", "no differences"]
    assert floor.lives() == before


def test_objects_are_written_and_read_through_all_hosts(floor: Floor) -> None:
    clients = {host: floor.s3(host) for host in HOSTS}
    clients["a"].create_bucket(Bucket=BUCKET)
    for host, client in clients.items():
        client.put_object(Bucket=BUCKET, Key=f"from-{host}", Body=host.encode() * 100_000)
    for client in clients.values():
        for host in HOSTS:
            found = client.get_object(Bucket=BUCKET, Key=f"from-{host}")["Body"].read()
            assert found == host.encode() * 100_000


def test_the_client_library_reads_blocks_that_another_host_has(floor: Floor) -> None:
    floor.s3("a").put_object(Bucket=BUCKET, Key=KEY, Body=BODY)
    read = {host: _read_with_library(floor, host) for host in HOSTS}
    assert set(read.values()) == {f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"}
    from_peers = sum(floor.metric(host, "cashy_bytes_total", 'tier="peer"') for host in HOSTS)
    assert from_peers >= len(BODY), "each host would have read all of it from the store by itself"


def _read_with_library(floor: Floor, host: str) -> str:
    return floor.on(host, "/opt/aviary/current/bin/python", "-c", READ).strip()


def test_orders_go_in_from_another_host(floor: Floor, prompt: Operator) -> None:
    prompt.says("tool toucan buy 40 AAPL @ 100", "buy 40 AAPL @ 100.00 for ACC1")
    prompt.says("tool toucan sell 40 AAPL @ 100 --account ACC2", "sell 40 AAPL @ 100.00 for ACC2")
    prompt.waits(lambda: _has_positions(prompt, 40), "no positions")


def _has_positions(prompt: Operator, quantity: int) -> bool:
    """Asks until both accounts have what they have traded with each other: fills come when they come."""
    prompt.says("tool toucan positions")
    prompt.waits(lambda: "average" in prompt.screen or "no positions" in prompt.screen, "no answer")
    return bool(prompt.row("ACC1", "AAPL", str(quantity)) and prompt.row("ACC2", "AAPL", str(-quantity)))


def test_a_process_moves_and_what_needs_it_follows(floor: Floor, prompt: Operator) -> None:
    before = floor.lives()
    prompt.says("move exchange b", "move exchange c b   (from c: the only one)", "1 pending")
    prompt.sees_bar("1 change pending")
    prompt.says("status exchange", "exchange  c     running")
    prompt.applies("it moves here from c", "it moves to b")
    prompt.asks_until("status", "toucan-server  a     running", "exchange       b     running")
    prompt.sees_bar("processes 10/10")
    assert "pending" not in prompt.bar
    after = floor.lives()
    moved = {("c", "exchange.service"), ("b", "exchange.service")}
    followed = {("a", "toucan-engine.service"), ("a", "toucan-server@1.service")}
    assert {one for one in {*before, *after} if before.get(one) != after.get(one)} == moved | followed
    assert "not-found" in floor.show("c", "exchange.service", "LoadState")
    prompt.says("tool toucan buy 10 AAPL @ 99", "buy 10 AAPL @ 99.00 for ACC1: new")
    assert _has_positions(prompt, 40)


def test_a_value_is_changed_at_once_and_nothing_restarts(floor: Floor, prompt: Operator) -> None:
    before = floor.lives()
    prompt.says("tool toucan buy 60 AAPL @ 98", "buy 60 AAPL @ 98.00 for ACC1: new")
    prompt.says("set max_order_quantity 50", "reload toucan-engine", "set: done")
    prompt.says("tool toucan buy 60 AAPL @ 98", "the quantity 60 is above 50 (max_order_quantity of firm)")
    prompt.says("tool toucan buy 50 AAPL @ 98", "buy 50 AAPL @ 98.00 for ACC1: new")
    assert floor.lives() == before


def test_the_hosts_of_the_cache_are_changed_from_the_prompt_and_nothing_restarts(
    floor: Floor, prompt: Operator
) -> None:
    before = floor.lives()
    for weight, version in ((0.0, 2), (1.0, 3)):
        prompt.says(f"set cache_weight {weight} --host c --later", "pending")
        prompt.says(f"set hosts_version {version} --later", "pending")
        prompt.applies("/etc/aviary/cashy-hosts.toml")
        prompt.waits(partial(_have_list, floor, version), f"not all go by list {version}")
        assert _read_with_library(floor, "c") == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"
    assert floor.lives() == before


def _have_list(floor: Floor, version: int) -> bool:
    """Whether every host goes by this list, and knows it of the others."""
    return all(
        floor.metric(host, "cashy_membership_version") == version
        and floor.metric(host, "cashy_membership_unconfirmed_hosts") == 0
        and floor.metric(host, "cashy_membership_acts") == 1
        for host in HOSTS
    )


def test_a_killed_daemon_is_back_and_the_prompt_says_that_it_was_gone(floor: Floor, prompt: Operator) -> None:
    (before,) = floor.show("b", "cashy-master@default.service", "MainPID")
    prompt.says(f"run --on b kill -9 {before}")
    prompt.saw_bar("processes 9/10")
    prompt.sees_bar("processes 10/10")
    prompt.says("status cashy-master", "RESTARTS")
    row = prompt.row("cashy-master", "b", "running").split()
    restarts, after = floor.show("b", "cashy-master@default.service", "NRestarts", "MainPID")
    assert restarts == "1"
    assert after != before
    assert after in row
    assert _read_with_library(floor, "b") == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"


def test_logs_and_outputs_of_all_hosts_are_one_text(prompt: Operator) -> None:
    prompt.says(
        "logs cashy-s3 --grep 'serving S3' -n 100",
        "cashy-s3@a serving S3",
        "cashy-s3@b serving S3",
        "cashy-s3@c serving S3",
    )
    assert "cashy-master" not in prompt.screen.replace("cashy-s3", "")
    prompt.says("run uname -s", "a,b,c (3)", "Linux")
    assert prompt.screen.count("Linux") == 1
    prompt.says("run hostname", "a (1)", "b (1)", "c (1)")


def test_a_host_that_is_cut_off_is_seen_and_comes_back_by_itself(floor: Floor, prompt: Operator) -> None:
    before = floor.lives()
    floor.fault("partition", "b")
    prompt.sees_bar("hosts 2/3, b lost")
    prompt.asks_until("status", "cashy-s3       b     unknown (lost", "exchange       b     unknown (lost")
    prompt.says("hosts", "b     lost")
    # The others go on without it.
    assert floor.s3("a").get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == BODY
    prompt.says("run hostname", "no answer", "b")
    floor.fault("heal", "b")
    prompt.sees_bar("hosts 3/3", "processes 10/10")
    prompt.asks_until("status", "cashy-s3       b     running", "exchange       b     running")
    assert floor.lives() == before
    prompt.says("tool toucan buy 5 AAPL @ 97", "buy 5 AAPL @ 97.00 for ACC1")


def test_a_host_that_lost_its_power_is_brought_back_to_what_the_spec_says(
    floor: Floor, prompt: Operator
) -> None:
    floor.fault("power-cut", "a")
    prompt.sees_bar("hosts 2/3, a lost")
    floor.fault("boot", "a")
    # Its units are not enabled: what shall run there is for the shell to say.
    prompt.sees_bar("hosts 3/3", "DOWN", "processes 6/10")
    prompt.asks_until("status --down", "cashy-master   a     down", "toucan-engine  a     down")
    prompt.says("plan", "4 starts")
    plan = prompt.applies(
        "start cashy-master", "start cashy-s3", "start toucan-engine", "start toucan-server"
    )
    assert "restart" not in plan
    prompt.sees_bar("hosts 3/3", "processes 10/10")
    assert _has_positions(prompt, 40)
    assert _read_with_library(floor, "a") == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"


def test_a_version_is_swapped_while_clients_read_and_a_second_shell_has_to_wait(
    floor: Floor, prompt: Operator
) -> None:
    with floor.script() as other, Reader(floor, BUCKET, KEY, BODY) as reader:
        assert other.stdin
        assert other.stdout
        other.stdin.write("hosts\n")
        other.stdin.flush()
        while "c     up" not in (line := other.stdout.readline()):
            assert line, "the second shell has ended"
        prompt.says(f"swap aviary {NEXT_VERSION}", "1 pending")
        prompt.says("apply", f"switch release aviary to {NEXT_VERSION}", "Do it? [y/N]")
        prompt.enter("y")
        prompt.saw_bar("install release aviary")
        refused, _ = other.communicate("apply -y\n", timeout=60)
        assert other.returncode == 4, refused
        assert "locked by" in refused
        assert str(prompt.process.pid) in refused
        prompt.sees_all("apply: done")
    assert set(reader.outcomes) == {"ok"}, reader.outcomes
    assert reader.outcomes["ok"] > 50
    assert reader.sent_again < reader.outcomes["ok"] / 20
    _restarted_one_by_one(floor, "cashy-master@default.service")
    _restarted_one_by_one(floor, "cashy-s3@1.service")
    for host in HOSTS:
        assert NEXT_VERSION in floor.on(host, "/opt/aviary/current/bin/toucan", "--version")
    assert floor.labshell("plan").splitlines() == ["nothing to do"]
    said = json.loads(floor.labshell("history --json"))
    assert f"swap aviary {NEXT_VERSION}" in json.dumps(said)


def _restarted_one_by_one(floor: Floor, unit: str) -> None:
    """No two hosts were without a process at the same time."""
    gaps = sorted(
        tuple(
            at.partition(" ")[2]
            for at in floor.show(host, unit, "ActiveExitTimestamp", "ActiveEnterTimestamp")
        )
        for host in HOSTS
    )
    assert all(came <= went for (_, came), (went, _) in pairwise(gaps)), gaps


def test_a_shell_that_is_killed_while_it_applies_is_rolled_back_by_the_next(floor: Floor) -> None:
    before = floor.on("a", "sha256sum", "/etc/aviary/cashy.toml")
    _killed_while_it_applies(floor, "restart cashy-master", "set revalidate_after_s 3 --later")
    with operator_of(floor) as next_one:
        next_one.sees_bar("interrupted: resume or rollback")
        next_one.sees_bar(
            "processes 10/10"
        )  # the restart that was under way is over: no plan would hold meanwhile
        next_one.says("rollback", "Do it? [y/N]")
        next_one.enter("y")
        next_one.sees_all("rollback: done")
        next_one.waits(lambda: "interrupted" not in next_one.bar, "it is not over")
        next_one.sees_bar("processes 10/10")
    assert floor.on("a", "sha256sum", "/etc/aviary/cashy.toml") == before
    floor.labshell("discard -y")
    assert floor.labshell("plan").splitlines() == ["nothing to do"]


def _killed_while_it_applies(floor: Floor, step: str, *changes: str) -> None:
    """Another shell collects changes, applies them, and is killed while it is at a step."""
    with operator_of(floor) as operator:
        for change in changes:
            operator.says(change, "pending)")
        operator.says("apply", "Do it? [y/N]")
        operator.enter("y")
        operator.saw_bar(step)
        operator.process.send_signal(signal.SIGKILL)
        assert operator.ends() == -signal.SIGKILL


def test_a_shell_that_is_killed_on_the_way_back_to_the_spec_is_taken_on_by_the_next(
    floor: Floor, prompt: Operator
) -> None:
    prompt.says("set max_order_quantity 10000", "set: done")
    _killed_while_it_applies(floor, "restart cashy-s3", "move exchange c", "swap aviary 0.1.0")
    with operator_of(floor) as next_one:
        next_one.sees_bar("interrupted: resume or rollback")
        next_one.says("resume", "Do it? [y/N]")
        assert "restart cashy-master" not in next_one.screen, (
            "all of them were restarted before it was killed"
        )
        next_one.enter("y")
        next_one.sees_all("resume: done")
    # The one who was there all the time has seen what others did.
    prompt.asks_until("status", "exchange       c     running")
    prompt.sees_bar("hosts 3/3", "processes 10/10")
    prompt.waits(lambda: "interrupted" not in prompt.bar, "it is not over")
    prompt.says("plan", "nothing to do")
    prompt.says("diff", "no differences")
    # Of the list of hosts no older one is ever taken again.
    described = read_environment(floor.spec, variables={"hosts_version": "3"})
    in_effect, wanted = last_wanted(described, StateFolder.beside(floor.spec))
    assert floor.target(in_effect) == floor.target(wanted) == floor.target(described)
    for host in HOSTS:
        assert floor.on(host, "/opt/aviary/current/bin/toucan", "--version").split()[-1] == "0.1.0"
        assert _read_with_library(floor, host) == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"
    prompt.says("tool toucan buy 60 AAPL @ 98", "buy 60 AAPL @ 98.00 for ACC1: new")
    assert _has_positions(prompt, 40)


def test_from_a_floor_to_nothing_with_two_commands(floor: Floor, prompt: Operator) -> None:
    prompt.says("quit")
    assert prompt.ends() == 0
    assert prompt.stty() == prompt.modes
    assert "down: done" in floor.labshell("down -y")
    assert floor.lives() == {}
    for host in HOSTS:
        # What else there may be: data of daemons, which stays, and links to units, which the release's own install.sh made.
        assert floor.on(host, "sh", "-c", f"find {' '.join(OURS)} ! -type d 2>/dev/null || true") == ""
        manifest = json.loads(floor.on(host, "cat", f"/var/lib/labtest/{floor.name}/manifest.json"))
        assert (manifest["files"], manifest["releases"], manifest["units"]) == ({}, {}, {})
    lab_id = floor.lab.id
    floor.labtest("down", str(floor.spec))
    assert left_of(lab_id) == []
    assert [pid for pid, argv in _processes() if floor.name in argv] == []


def _processes() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
