"""Three hosts as one cluster: whole daemons on loopback, read through clients and S3, with frames harmed and hosts that do not fit."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cashy.core.peer_frames import DATA_BYTES_MAX, HEADER_BYTES, MAGIC, Kind, pack_header, unpack_header
from cashy.errors import NoSuchObject

from .harness import NOT_HEDGED, DevCluster, DevHost, free_port, s3_client, started_store, wait_until
from .reading import MIB, Readers, digest, digest_of, read_everywhere, total, wait_until_joined, write_objects

pytestmark = pytest.mark.system


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "data"
    made.mkdir()
    yield made
    for path in made.rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.slow
def test_three_hosts_read_a_gibibyte_at_once_and_the_origin_is_asked_once_per_block(
    tmp_path: Path, folder: Path
) -> None:
    """The arenas are smaller than the data: guests give way, the home's blocks stay."""
    objects = write_objects(folder, 16, 64 * MIB)
    blocks = 1024
    with DevCluster(
        3, tmp_path, f"file={folder}", memory="640MiB", block="1MiB", workers=0, config=NOT_HEDGED
    ) as cluster:
        wait_until_joined(cluster)
        assert read_everywhere(cluster.hosts, objects) == []
        shares = [host.counters()["blocks_from_origin"] for host in cluster.hosts]
        assert sum(shares) == total(cluster, "origin_reads") == blocks
        for share in shares:
            assert abs(share - blocks / 3) < 60, shares  # four standard deviations of a fair draw
        assert total(cluster, "blocks_from_peer") >= 2 * blocks - 2 * blocks // 100
        assert total(cluster, "peer_reads_failed") == 0


def test_an_object_overwritten_at_the_origin_is_seen_through_every_host(tmp_path: Path) -> None:
    with started_store() as store, contextlib.closing(s3_client(store)) as direct:
        direct.create_bucket(Bucket="bucket")
        config = "[freshness]\nrevalidate_after_s = 0.25\n"
        with DevCluster(
            3, tmp_path, f"s3={store}", memory="64MiB", block="1MiB", workers=0, config=config
        ) as cluster:
            wait_until_joined(cluster)
            caches = [host.connect() for host in cluster.hosts]
            for size in (3 * MIB + 17, 5 * MIB, 100, 0, 2 * MIB):
                data = os.urandom(size)
                direct.put_object(Bucket="bucket", Key="key", Body=data)
                # As long as two hosts may take together, were they not told how old their knowledge is.
                time.sleep(0.55)
                for cache in caches:
                    assert bytes(cache.read("s3://bucket/key")) == data
            direct.delete_object(Bucket="bucket", Key="key")
            time.sleep(0.55)
            for cache in caches:
                with pytest.raises(NoSuchObject):
                    cache.read("s3://bucket/key")
            for cache in caches:
                cache.close()


def test_a_write_through_one_host_is_read_through_every_host_at_once(tmp_path: Path) -> None:
    """However long metadata counts as current: overwritten, copied onto, completed in parts, deleted."""
    with started_store() as store, contextlib.closing(s3_client(store)) as direct:
        direct.create_bucket(Bucket="bucket")
        config = "[freshness]\nrevalidate_after_s = 600.0\n"
        with DevCluster(3, tmp_path, f"s3={store}", memory="64MiB", block="1MiB", config=config) as cluster:
            wait_until_joined(cluster)
            clients = [host.s3() for host in cluster.hosts]

            def check(expected: bytes) -> None:
                for host, client in zip(cluster.hosts, clients, strict=True):
                    with contextlib.closing(client.get_object(Bucket="bucket", Key="key")["Body"]) as body:
                        assert body.read() == expected
                    with host.connect() as cache:
                        assert bytes(cache.read("s3://bucket/key")) == expected

            for turn, writer in enumerate(clients * 2):
                data = os.urandom(100_000 * turn + 1)
                writer.put_object(Bucket="bucket", Key="key", Body=data)
                check(data)
            writer = clients[1]
            writer.put_object(Bucket="bucket", Key="source", Body=b"copied")
            writer.copy_object(Bucket="bucket", Key="key", CopySource="bucket/source")
            check(b"copied")
            parts = [os.urandom(5 * MIB), os.urandom(MIB)]
            upload = writer.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
            done = [
                {
                    "PartNumber": number,
                    "ETag": clients[number].upload_part(
                        Bucket="bucket", Key="key", UploadId=upload, PartNumber=number, Body=part
                    )["ETag"],
                }
                for number, part in enumerate(parts, 1)
            ]
            writer.complete_multipart_upload(
                Bucket="bucket", Key="key", UploadId=upload, MultipartUpload={"Parts": done}
            )
            check(b"".join(parts))
            clients[2].delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "key"}]})
            for host, client in zip(cluster.hosts, clients, strict=True):
                with pytest.raises(client.exceptions.NoSuchKey):
                    client.get_object(Bucket="bucket", Key="key")
                with host.connect() as cache, pytest.raises(NoSuchObject):
                    cache.read("s3://bucket/key")


def test_s3_clients_of_one_host_stream_what_another_host_reads(tmp_path: Path, folder: Path) -> None:
    objects = write_objects(folder, 3, 24 * MIB)
    with DevCluster(
        3, tmp_path, f"file={folder}", memory="128MiB", block="4MiB", config=NOT_HEDGED
    ) as cluster:
        wait_until_joined(cluster)
        for number, (name, due) in enumerate(objects.items()):
            client = cluster.hosts[number].s3()
            with contextlib.closing(
                client.get_object(Bucket="bucket", Key=name.rpartition("/")[2])["Body"]
            ) as body:
                assert digest(body.read()) == due
        assert total(cluster, "origin_reads") == 18
        assert total(cluster, "blocks_from_peer") > 0


def lone_host(
    folder: Path, name: str, key: bytes, ports: dict[str, int], origin: str, origin_name: str = "data"
) -> DevHost:
    """A host with settings of its own, which may not fit the others'."""
    home = folder / name
    home.mkdir()
    key_file = home / "cluster.key"
    key_file.write_bytes(key)
    key_file.chmod(0o600)
    config = "[freshness]\nrevalidate_after_s = 0.2\n"
    config += f'{NOT_HEDGED}host = "{name}"\nkey_file = "{key_file}"\ninsecure = true\n'
    config += f'[[origin]]\nkind = "directory"\npath = "{origin}"\nname = "{origin_name}"\n'
    for peer, port in ports.items():
        config += f'[[peer]]\nname = "{peer}"\naddress = "127.0.0.1:{port}"\n'
    return DevHost(home, memory="64MiB", block="1MiB", workers=0, config=config)


class HostileWire:
    """A TCP relay between two hosts. Armed, it does one harm to the bytes towards the asking one, once; being slow, to all until it is disarmed."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._choose = random.Random(7)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.harm = ""
        self.harmed = 0
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target_port), 5)
            except OSError:
                if self._is_closed:
                    return
                near.close()
                continue
            for source, target, is_harmed in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(source, target, is_harmed), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_harmed: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_harmed and self.harm:
                    data = self._do_harm(data)
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _do_harm(self, data: bytes) -> bytes:
        header = data.find(MAGIC + bytes([Kind.DATA]))
        if len(data) < 65536 or 0 <= header > len(data) - HEADER_BYTES:
            return data  # of no great part of a block
        harm = self.harm
        at = self._choose.randrange(
            HEADER_BYTES, len(data) - HEADER_BYTES
        )  # not in a header that is cut in two
        if harm == "payload corrupted" and MAGIC not in data:
            self._done()
            return data[:at] + bytes([data[at] ^ 1 << self._choose.randrange(8)]) + data[at + 1 :]
        if harm == "header corrupted" and header >= 0:
            self._done()
            at = header + self._choose.randrange(HEADER_BYTES)
            return data[:at] + bytes([data[at] ^ 1 << self._choose.randrange(8)]) + data[at + 1 :]
        if harm == "oversize" and header >= 0:
            self._done()
            _, sequence, request_id, _, offset, crc = unpack_header(data, header)
            longer = pack_header(Kind.DATA, sequence, request_id, DATA_BYTES_MAX + 1, offset, crc)
            return data[:header] + longer + data[header + HEADER_BYTES :]
        if harm == "cut out":
            self._done()
            return data[:at] + data[at + 1 :]
        if harm == "reordered":
            self._done()
            return data[at:] + data[:at]
        if harm == "slow":
            self.harmed += 1
            time.sleep(0.004)
        if harm == "cut off":
            self._done()
            raise OSError("cut off")
        return data

    def _done(self) -> None:
        self.harmed += 1
        self.harm = ""

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def joined_by_wire(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[HostileWire, DevHost, DevHost, Path]]:
    """The wire, the host that asks through it, the other, and their origin's folder."""
    tmp_path = tmp_path_factory.mktemp("wire")
    folder = tmp_path / "data"
    folder.mkdir()
    ports = {"a": free_port(), "b": free_port()}
    wire = HostileWire(ports["b"])
    key = os.urandom(32)
    with (
        contextlib.closing(wire),
        lone_host(tmp_path, "b", key, ports, str(folder)) as second,
        lone_host(tmp_path, "a", key, ports | {"b": wire.port}, str(folder)) as first,
    ):
        yield wire, first, second, folder


#: What each harm adds to the asking host's counters: violations, connections lost, corrupt reads (None: what comes of it depends on the place; where
#: no header is among what is reordered, the read alone is corrupt).
HARMS = {
    "payload corrupted": (0, 0, 1),
    "header corrupted": (1, 1, 0),
    "cut out": (1, 1, None),
    "reordered": (None, None, None),
    "oversize": (1, 1, 0),
    "cut off": (0, 1, 0),
    "slow": (0, 0, 0),
}


@pytest.mark.parametrize("harm", HARMS)
def test_whatever_a_network_does_to_frames_bytes_are_right_and_no_read_fails(
    joined_by_wire: tuple[HostileWire, DevHost, DevHost, Path], harm: str
) -> None:
    wire, first, second, folder = joined_by_wire
    wait_until(lambda: first.counters()["peer.b.is_up"] == 1, 30, "the connection")
    objects = write_objects(folder, 4, 8 * MIB)  # new versions: nothing is cached
    time.sleep(0.25)  # until both hosts look for them
    names = [
        f"peer.b.{name}_total"
        for name in ("protocol_errors", "connections_lost", "corrupt_reads", "timeouts")
    ]
    before = Counter(first.counters())
    wire.harmed, wire.harm = 0, harm
    read_on_both(first, second, objects)
    wire.harm = ""
    after = first.counters()
    assert wire.harmed >= 1
    violations, lost, corrupt, late = (after[name] - before[name] for name in names)
    due = HARMS[harm]
    assert late == 0
    assert violations == lost or harm == "cut off"
    for found, expected in zip((violations, lost, corrupt), due, strict=True):
        assert expected is None or found == expected
    assert harm == "slow" or violations + lost + corrupt >= 1
    failed = after.get("peer_reads_failed", 0) - before["peer_reads_failed"]
    assert failed >= 1 if harm != "slow" else failed == 0


def read_on_both(first: DevHost, second: DevHost, objects: dict[str, str]) -> None:
    for host in (first, second):
        with host.connect() as cache:
            for name, due in objects.items():
                assert digest_of(cache, name) == due


def test_hosts_that_do_not_share_the_key_refuse_each_other_and_serve_right_bytes_alone(
    tmp_path: Path, folder: Path
) -> None:
    objects = write_objects(folder, 4, 4 * MIB)
    ports = {"a": free_port(), "b": free_port()}
    with (
        lone_host(tmp_path, "a", b"a" * 32, ports, str(folder)) as first,
        lone_host(tmp_path, "b", b"b" * 32, ports, str(folder)) as second,
    ):
        read_on_both(first, second, objects)
        for host in (first, second):
            assert host.counters().get("blocks_from_peer", 0) == 0
            assert host.counters()["blocks_from_origin"] == 16
        with first.connect() as cache:
            wait_until(lambda: any("key" in host.error for host in cache.cluster().hosts), 20, "the reason")


def test_hosts_whose_origins_have_different_names_still_serve_right_bytes(
    tmp_path: Path, folder: Path
) -> None:
    """A wrong peer costs a question, and never a wrong answer."""
    objects = write_objects(folder, 4, 4 * MIB)
    ports = {"a": free_port(), "b": free_port()}
    key = os.urandom(32)
    with (
        lone_host(tmp_path, "a", key, ports, str(folder)) as first,
        lone_host(tmp_path, "b", key, ports, str(folder), "other-name") as second,
    ):
        read_on_both(first, second, objects)
        assert first.counters().get("blocks_from_peer", 0) == 0


def test_a_host_whose_mount_is_missing_does_not_hide_objects_from_the_others(
    tmp_path: Path, folder: Path
) -> None:
    """Its "no such object" is not the origin's word: whoever asked looks for himself."""
    objects = write_objects(folder, 4, 4 * MIB)
    empty = tmp_path / "empty"
    (empty / "bucket").mkdir(parents=True)
    ports = {"a": free_port(), "b": free_port()}
    key = os.urandom(32)
    with (
        lone_host(tmp_path, "a", key, ports, str(folder)) as first,
        lone_host(tmp_path, "b", key, ports, str(empty)) as second,
        first.connect() as cache,
    ):
        for name, due in objects.items():
            key_name = name.rpartition("/")[2]
            assert digest_of(cache, f"s3://bucket/{key_name}") == due
        assert second.counters()["clients"] == 1


def test_strangers_at_the_peer_port_are_refused_counted_and_harm_nobody(tmp_path: Path, folder: Path) -> None:
    objects = write_objects(folder, 6, 4 * MIB)
    with DevCluster(2, tmp_path, f"file={folder}", memory="64MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        assert cluster.hosts[0].peer is not None
        host, _, port = cluster.hosts[0].peer.rpartition(":")
        address = (host, int(port))
        readers = Readers(cluster.hosts, objects)
        for garbage in (b"GET / HTTP/1.1\r\nHost: cashy\r\n\r\n" * 2, os.urandom(4096), b"\0" * 65536, b""):
            for _ in range(5):
                with (
                    socket.create_connection(address, 5) as stranger,
                    contextlib.suppress(OSError),
                ):
                    stranger.sendall(garbage)
                    stranger.shutdown(socket.SHUT_WR)
                    while stranger.recv(65536):
                        pass
        silent = [socket.create_connection(address, 5) for _ in range(50)]
        assert readers.go_on()
        assert readers.stop() == []
        for one in silent:
            one.close()
        counters = cluster.hosts[0].counters()
        assert counters["peer_server.protocol_errors_total"] + counters["peer_server.refused_total"] >= 15
        assert total(cluster, "peer_reads_failed") == 0


def test_a_block_that_is_used_again_stays_near(tmp_path: Path, folder: Path) -> None:
    """Whatever else passes through the host's memory, what it reads again and again stays, though its home is elsewhere.

    Four uses are known to the host before the first block has to go, however late it looks (:mod:`cashy.core.uses`): the block is proven then,
    and nothing proven goes while newcomers fill a tenth (:mod:`cashy.core.eviction`). So it is never fetched again. First in, first out would
    do so 160 times. What else is read comes once: what is read ahead may go unread in so small a memory, and is not counted.
    """
    with DevCluster(2, tmp_path, f"file={folder}", memory="32MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        (hot, *others), again = write_objects(folder, 30, 12 * MIB).items(), 0
        with cluster.hosts[0].connect() as cache:
            for name, due in (hot, hot, hot, hot):  # there is room for all of it
                assert digest_of(cache, name) == due
            for name, due in others:
                assert digest_of(cache, name) == due
                before = cluster.hosts[0].counters()["blocks_filled"]
                assert digest_of(cache, hot[0]) == hot[1]
                again += cluster.hosts[0].counters()["blocks_filled"] - before
        counters = cluster.hosts[0].counters()
    assert counters["blocks_from_peer"] > 0
    assert counters["slots_evicted"] > 100
    assert again == 0
