"""Several masters in one loop, joined by real sockets, over one folder: who reads what from whom."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aviary.cashy.v1.control_pb2 import Fetch, Tier
from cashy.core.names import block_digest, parse_name
from cashy.errors import CashyError, NoSuchObject, SlowDown, VersionChanged
from cashy.master.cluster import make_cluster
from cashy.master.fetch import FetchJob
from cashy.master.fills import Fill
from cashy.master.host import Host, make_origins
from cashy.peer.server import PeerServer
from cashy.settings import load_settings
from shmipc.instance import Instance

from .answers import Answers

BLOCK = 65_536
KEY = b"k" * 32


class Rig:
    """Hosts ``a``, ``b``, … over the folder ``root``."""

    def __init__(
        self, tmp_path: Path, count: int, *, size: str = "16MiB", revalidate_after_s: float = 5.0, local_copies: str = "second-read",
        hedge: bool = False,
    ) -> None:  # fmt: skip
        self.root = tmp_path / "data"
        self.root.mkdir()
        self.names = [chr(ord("a") + number) for number in range(count)]
        self.hosts: dict[str, Host] = {}
        self._stack = ExitStack()
        self._tmp = tmp_path
        self._size = size
        self._revalidate_after_s = revalidate_after_s
        self._local_copies = local_copies
        #: Off where reads are counted one by one: all hosts are in one loop, and one that stands still is late.
        self._hedge = hedge

    def write(self, name: str, data: bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"file://{path}"

    def data_of(self, name: str) -> bytes:
        return Path(name.removeprefix("file://")).read_bytes()

    def _settings_file(self, name: str, ports: dict[str, int]) -> Path:
        key_file = self._tmp / "cluster.key"
        key_file.write_bytes(KEY)
        key_file.chmod(0o600)
        text = f'[memory]\nsize = "{self._size}"\nblock_size = "64KiB"\n'
        text += f"[freshness]\nrevalidate_after_s = {self._revalidate_after_s}\n"
        text += f'[cluster]\nhost = "{name}"\nkey_file = "{key_file}"\ninsecure = true\nlease_s = 1.0\n'
        text += f'local_copies = "{self._local_copies}"\nhedge = {str(self._hedge).lower()}\n'
        text += f'[[origin]]\nkind = "directory"\nname = "data"\npath = "{self.root}"\n'
        for peer, port in ports.items():
            text += f'[[peer]]\nname = "{peer}"\naddress = "127.0.0.1:{port}"\n'
        path = self._tmp / f"{name}.toml"
        path.write_text(text)
        return path

    async def _start(self) -> None:
        holders = [socket.create_server(("127.0.0.1", 0), reuse_port=True) for _ in self.names]
        ports = {name: holder.getsockname()[1] for name, holder in zip(self.names, holders, strict=True)}
        for holder in holders:
            holder.close()
        for name in self.names:
            settings = load_settings(self._settings_file(name, ports))
            instance = Instance("cashytest", f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
            instance.acquire()
            self._stack.callback(instance.close)
            self._stack.callback(instance.remove)
            cluster = make_cluster(settings)
            assert cluster is not None
            host = Host(settings, instance, await make_origins(settings.origins), cluster)
            self._stack.callback(host.store.close)
            host.peer_server = PeerServer(
                host.for_peers, identity=cluster.identity, hosts=cluster.hosts, checksums=host.checksums
            )
            host.peer_server.listen("127.0.0.1", ports[name])
            self.hosts[name] = host
        for host in self.hosts.values():
            host.start()
        await until(lambda: all(peer.is_up for host in self.hosts.values() for peer in peers_of(host)))
        await until(lambda: all(is_coherent(host) for host in self.hosts.values()))

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await self._start()
            try:
                await asyncio.wait_for(story(), 30)
            finally:
                for host in self.hosts.values():
                    await host.close()

        asyncio.run(main())

    def total(self, counter: str) -> int:
        return sum(host.counters.totals().get(counter, 0) for host in self.hosts.values())

    def home_of(self, key: str, index: int) -> str:
        cluster = self.hosts["a"].cluster
        assert cluster is not None
        return cluster.home_of("data", key, index)

    def close(self) -> None:
        self._stack.close()


def peers_of(host: Host) -> list:  # type: ignore[type-arg]
    assert host.cluster is not None
    return list(host.cluster.peers.values())


def is_coherent(host: Host) -> bool:
    return host.store.arena.coherent_until > time.monotonic_ns()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def read(host: Host, name: str, first: int = 0, count: int = 64) -> tuple[bytes, dict[int, Tier]]:
    """What is read, and where each block came from. As clients do, it marks what it reads."""
    answers = Answers(host)
    job = host.new_fetch(1, Fetch(name=name, first_block=first, block_count=count), answers)
    try:
        await job.run(lambda known: None)
        for slot, *_ in answers.blocks.values():
            host.store.touch(slot)
        return answers.content(), answers.tiers
    finally:
        job.release()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, 3)
    yield made
    made.close()


def test_all_hosts_at_once_read_each_block_from_the_origin_once(rig: Rig) -> None:
    datas = {f"bucket/{number}": os.urandom(BLOCK * 8 + number) for number in range(12)}
    names = {rig.write(key, data): data for key, data in datas.items()}

    async def story() -> None:
        reads = [(host, name) for name in names for host in rig.hosts.values()]
        found = await asyncio.gather(*(read(host, name) for host, name in reads))
        for (_, name), (content, _) in zip(reads, found, strict=True):
            assert content == names[name]
        blocks = sum(-(-len(data) // BLOCK) for data in datas.values())
        assert rig.total("origin_reads") == blocks
        assert rig.total("blocks_from_origin") == blocks
        assert rig.total("blocks_from_peer") == 2 * blocks
        assert rig.total("peer_reads_failed") == 0

    rig.run(story)


def test_a_block_is_read_by_its_home(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 20))

    async def story() -> None:
        _, tiers = await read(rig.hosts["a"], name)
        for index, tier in tiers.items():
            expected = Tier.TIER_ORIGIN if rig.home_of("bucket/x", index) == "a" else Tier.TIER_PEER
            assert tier in (
                expected,
                Tier.TIER_LOCAL_MEMORY,
            )  # a first read may have ended before it is announced
        homes = [rig.home_of("bucket/x", index) for index in range(20)]
        for host_name, host in rig.hosts.items():
            assert host.counters.totals().get("blocks_from_origin", 0) == homes.count(host_name)

    rig.run(story)


def test_an_object_nobody_knows_costs_one_question_and_a_missing_one_is_missing_for_all(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(1000))

    async def story() -> None:
        for host in rig.hosts.values():
            await read(host, name)
        assert rig.total("origin_reads") == 1
        assert rig.total("origin_heads") == 0
        for host in rig.hosts.values():
            with pytest.raises(NoSuchObject):
                await read(host, name + "-not-there")

    rig.run(story)


def test_what_a_host_learns_from_another_is_current_no_longer_than_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path, 2, revalidate_after_s=1.0)
    name = rig.write("bucket/x", b"one")

    async def story() -> None:
        home = rig.hosts[rig.home_of("bucket/x", 0)]
        (other,) = (host for host in rig.hosts.values() if host is not home)
        await read(home, name)
        learnt_at = asyncio.get_running_loop().time()
        await asyncio.sleep(0.6)
        await read(other, name)
        rig.write("bucket/x", b"other")
        await asyncio.sleep(max(0.0, learnt_at + 1.05 - asyncio.get_running_loop().time()))
        content, _ = await read(other, name)
        assert content == b"other"

    try:
        rig.run(story)
    finally:
        rig.close()


def test_a_replaced_object_is_forgotten_by_the_host_that_still_vouches_for_it(rig: Rig) -> None:
    """Its home says for seconds that the old version is current; who finds that it is not makes the home look again."""
    name = rig.write("bucket/x", os.urandom(BLOCK * 6))

    async def story() -> None:
        for host in rig.hosts.values():
            await host.stat(name, revalidate=False)
        data = os.urandom(BLOCK * 7)
        rig.write("bucket/x", data)
        for host in rig.hosts.values():
            with contextlib.suppress(VersionChanged):
                await read(host, name)
            content, _ = await read(host, name)  # as the client library begins a read anew
            assert content == data

    rig.run(story)


def test_a_replaced_object_is_asked_of_the_origin_though_the_host_that_vouches_for_it_has_not_noticed(
    rig: Rig,
) -> None:
    """The host whose block turns out to be gone is not the one that is asked what the object is now."""
    name = rig.write("bucket/x", os.urandom(BLOCK * 12))

    async def story() -> None:
        vouches = rig.home_of("bucket/x", 0)
        reader = next(host for host_name, host in rig.hosts.items() if host_name != vouches)
        elsewhere = next(index for index in range(1, 12) if rig.home_of("bucket/x", index) != vouches)
        for host in rig.hosts.values():
            await read(host, name, 0, 1)
        data = os.urandom(BLOCK * 13)
        rig.write("bucket/x", data)
        with pytest.raises(VersionChanged):
            await read(reader, name, elsewhere, 1)
        content, _ = await read(reader, name)
        assert content == data

    rig.run(story)


def test_a_version_that_the_origin_denied_once_and_has_again_is_believed_again(rig: Rig) -> None:
    name = rig.write("bucket/x", b"one")
    path = Path(name.removeprefix("file://"))
    before = path.stat()

    async def story() -> None:
        host = rig.hosts[rig.home_of("bucket/x", 0)]
        known = await host.stat(name, revalidate=False)
        path.write_bytes(b"other")
        host.catalog.forget(known.name, known.content)
        path.write_bytes(b"one")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        for asked in (1, 1, 1):
            assert (await host.stat(name, revalidate=False)).info.version == known.info.version
            assert host.counters.totals()["origin_heads"] == 1 + asked

    rig.run(story)


def has_block(host: Host, name: str) -> bool:
    """Whether the only block of an object is in the host's memory."""
    known = host.catalog.cached(parse_name(name))
    assert known is not None
    return host.store.find(block_digest(known.content.content_id, 0)) >= 0


@pytest.mark.parametrize(
    ("local_copies", "own_stay", "guests_used_again_stay"),
    [("always", False, True), ("second-read", True, True), ("never", True, False)],
)
def test_which_blocks_a_host_keeps_beside_those_it_is_home_to(
    tmp_path: Path, local_copies: str, own_stay: bool, guests_used_again_stay: bool
) -> None:
    """Twice as many guests pass through as there is room for: its own were read once, four of the guests thrice."""
    rig = Rig(tmp_path, 2, size="1MiB", revalidate_after_s=60.0, local_copies=local_copies)
    names: dict[str, list[str]] = {"a": [], "b": []}

    async def story() -> None:
        for number in range(120):
            key = f"bucket/{number}"
            names[rig.home_of(key, 0)].append(rig.write(key, os.urandom(BLOCK)))
        host = rig.hosts["a"]
        own, hot, cold = names["a"][:4], names["b"][:4], names["b"][4:32]
        for name in [*own, *hot, *hot, *hot, *cold]:
            content, _ = await read(host, name)
            assert content == rig.data_of(name)
        assert [has_block(host, name) for name in own] == [own_stay] * 4
        assert [has_block(host, name) for name in hot] == [guests_used_again_stay] * 4
        assert host.counters.totals()["slots_evicted"] >= len(cold) - 12

    try:
        rig.run(story)
    finally:
        rig.close()


def test_a_block_that_is_damaged_in_its_homes_memory_is_noticed_by_whom_it_is_sent_to(rig: Rig) -> None:
    """Its checksums are known from when it came from the origin: bytes that changed since do not fit them."""
    data = os.urandom(BLOCK)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        home = rig.hosts[rig.home_of("bucket/x", 0)]
        others = [host for host in rig.hosts.values() if host is not home]
        assert (await read(home, name))[0] == data
        assert home.checksums is not None
        assert len(home.checksums) == 1
        known = home.catalog.cached(parse_name(name))
        assert known is not None
        slot = home.store.find(block_digest(known.content.content_id, 0))
        home.store.buffer(slot)[BLOCK // 2] ^= 1
        for host in others:
            assert (await read(host, name))[0] == data
            corrupt = [peer.counters()["corrupt_reads_total"] for peer in peers_of(host)]
            assert sum(corrupt) == 1
        assert rig.total("origin_reads") > 1

    rig.run(story)


def test_leaving_a_read_frees_its_home_too(rig: Rig) -> None:
    name = rig.write("bucket/x", os.urandom(BLOCK * 30))

    async def story() -> None:
        host = rig.hosts["a"]
        job: FetchJob = host.new_fetch(1, Fetch(name=name, first_block=0, block_count=30), Answers(host))
        task = asyncio.ensure_future(job.run(lambda known: None))
        await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        job.release()
        for each in rig.hosts.values():
            await until(lambda each=each: not each.fills.fills and not each.routes.active)  # type: ignore[misc]
            await until(lambda each=each: not each.store.arena._held)  # type: ignore[misc]
        content, _ = await read(host, name)
        assert len(content) == BLOCK * 30

    rig.run(story)


def test_two_hosts_never_wait_for_each_other(rig: Rig) -> None:
    """A fill that waits for the very host that asks is not joined: that host goes on to the next, at last to the origin."""
    data = os.urandom(BLOCK)
    name = rig.write("bucket/x", data)

    async def story() -> None:
        host = rig.hosts["a"]
        known = await host.stat(name, revalidate=False)
        home = rig.home_of("bucket/x", 0)
        if home == "a":
            host = rig.hosts["b"]
            known = await host.stat(name, revalidate=False)

        class Nobody:
            def check_room(self, fill: Fill) -> None: ...
            def leased(self, fill: Fill) -> None: ...
            def progressed(self, fill: Fill) -> None: ...
            def finished(self, fill: Fill) -> None: ...
            def failed(self, fill: Fill, error: CashyError) -> None: ...

        fill = host.fills.join(known.content, 0, Nobody())
        assert fill.route.peer == home
        with pytest.raises(SlowDown):
            host.fills.join(known.content, 0, Nobody(), asker=home)

    rig.run(story)


def test_peers_ask_in_vain_for_places_and_origins_that_are_not_there(rig: Rig) -> None:
    name = rig.write("bucket/x", b"data")

    async def story() -> None:
        host = rig.hosts["a"]
        peer = peers_of(host)[0]
        with pytest.raises(CashyError, match="no origin named"):
            await peer.head("elsewhere", name, "bucket", "x", revalidate=False, deadline_s=5)
        with pytest.raises(CashyError):
            await peer.head(
                "data",
                "s3://bucket/../../etc/passwd",
                "bucket",
                "../../etc/passwd",
                revalidate=False,
                deadline_s=5,
            )
        answer = await peer.head("data", name, "", "bucket/x", revalidate=False, deadline_s=5)
        assert answer.meta.size_bytes == 4
        assert 0 < answer.fresh_for_s <= 5
        assert parse_name(name).url == name

    rig.run(story)


def test_a_change_through_one_host_is_seen_through_all_as_soon_as_it_is_over(rig: Rig) -> None:
    name = rig.write("bucket/x", b"old")

    async def story() -> None:
        host = rig.hosts["a"]
        parsed = [parse_name(name)]
        for each in rig.hosts.values():
            assert (await read(each, name))[0] == b"old"
        await host.change_begins(parsed)
        assert (await read(host, name))[0] == b"old"
        assert host.catalog.cached(parsed[0]) is None  # current only for who asked
        rig.write("bucket/x", b"new!")
        await host.change_is_over(parsed, had_begun=True)
        for each in rig.hosts.values():
            assert (await read(each, name))[0] == b"new!"
            assert each.catalog.cached(parsed[0]) is not None

    rig.run(story)


def test_an_answer_to_a_question_from_before_a_change_is_not_kept(rig: Rig) -> None:
    name = rig.write("bucket/x", b"old")

    async def story() -> None:
        for host in rig.hosts.values():
            question = asyncio.ensure_future(host.stat(name, revalidate=True))
            for _ in range(3):  # until it is on its way
                await asyncio.sleep(0)
            host.catalog.changed(parse_name(name))
            later = asyncio.ensure_future(host.stat(name, revalidate=False))
            assert (await question).content.size_bytes == 3
            assert (await later).content.size_bytes == 3
            assert host.catalog.cached(parse_name(name)) is not None  # of the later question
            assert host.counters.totals()["answers_outdated"] == 1

    rig.run(story)


def test_a_host_vouches_only_for_the_version_it_has_on_record(rig: Rig) -> None:
    name = rig.write("bucket/x", b"old")

    async def story() -> None:
        host = rig.hosts["a"]
        old = await host.stat(name, revalidate=False)
        assert host.catalog.fresh_for_s(old) > 0
        rig.write("bucket/x", b"newer")
        await host.change_is_over([parse_name(name)], had_begun=False)
        new = await host.stat(name, revalidate=False)
        assert new.content.size_bytes == 5
        assert host.catalog.fresh_for_s(new) > 0
        assert host.catalog.fresh_for_s(old) == 0

    rig.run(story)


def test_a_change_waits_for_a_host_that_cannot_be_told_until_it_believes_nothing(rig: Rig) -> None:
    name = "s3://bucket/x"  # a file's name would be of no interest: those are not changed through a host
    rig.write("bucket/x", b"old")

    async def story() -> None:
        deaf, host = rig.hosts["c"], rig.hosts["a"]
        await read(deaf, name)
        assert deaf.peer_server is not None
        await deaf.peer_server.close()
        assert deaf.coherence is not None
        await deaf.coherence.close()
        assert deaf.catalog.cached(parse_name(name)) is not None
        rig.write("bucket/x", b"new!")
        await host.change_is_over([parse_name(name)], had_begun=False)
        assert not is_coherent(deaf)
        assert deaf.catalog.cached(parse_name(name)) is None
        assert (await read(deaf, name))[0] == b"new!"
        assert host.counters.totals()["change_rounds_without_all"] == 2

    rig.run(story)


def test_a_host_that_cannot_be_told_directly_hears_of_it_with_its_next_lease(rig: Rig) -> None:
    name = "s3://bucket/x"  # a file's name would be of no interest: those are not changed through a host
    rig.write("bucket/x", b"old")

    async def story() -> None:
        deaf, host = rig.hosts["c"], rig.hosts["a"]
        await read(deaf, name)
        assert deaf.peer_server is not None
        await deaf.peer_server.close()
        rig.write("bucket/x", b"new!")
        await host.change_is_over([parse_name(name)], had_begun=False)
        assert is_coherent(deaf)
        assert (await read(deaf, name))[0] == b"new!"
        assert deaf.counters.totals()["changes_noted"] >= 1

    rig.run(story)


def test_nothing_is_changed_through_a_host_that_reaches_too_few_others(rig: Rig) -> None:
    name = rig.write("bucket/x", b"old")

    async def story() -> None:
        alone = rig.hosts["a"]
        for other in ("b", "c"):
            server = rig.hosts[other].peer_server
            assert server is not None
            await server.close()
        with pytest.raises(SlowDown, match="too few hosts"):
            await alone.change_begins([parse_name(name)])

    rig.run(story)


def test_every_host_tells_of_every_other(rig: Rig) -> None:
    async def story() -> None:
        report = await rig.hosts["b"].cluster_status()
        assert [entry.name for entry in report.hosts] == ["b", "a", "c"]
        assert [entry.is_self for entry in report.hosts] == [True, False, False]
        assert not any(entry.error for entry in report.hosts)
        assert {entry.status.host for entry in report.hosts} == {"a", "b", "c"}
        server = rig.hosts["c"].peer_server
        assert server is not None
        await server.close()
        await until(lambda: not rig.hosts["b"].cluster.peers["c"].is_up)  # type: ignore[union-attr]
        (entry,) = (entry for entry in (await rig.hosts["b"].cluster_status()).hosts if entry.name == "c")
        assert entry.error

    rig.run(story)
