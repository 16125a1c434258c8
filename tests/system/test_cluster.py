"""Three hosts as one cluster: whole daemons on loopback, read through clients and S3, with hosts killed, frozen, cut off and lied to."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cashy
from cashy.errors import NoSuchObject

from .harness import DevCluster, DevHost, s3_client, started_store, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20


def write_objects(folder: Path, count: int, size: int) -> dict[str, str]:
    """Objects of a directory origin, by name, with the digest of their bytes; no two blocks are alike."""
    bucket = folder / "bucket"
    bucket.mkdir(exist_ok=True)
    made = {}
    piece = os.urandom(MIB)
    for number in range(count):
        digest = hashlib.blake2b()
        with (bucket / f"object-{number}").open("wb") as file:
            for at in range(0, size, MIB):
                head = b"%d %d " % (number, at)
                block = (head + piece[: MIB - len(head)])[: size - at]
                file.write(block)
                digest.update(block)
        made[f"file://{bucket}/object-{number}"] = digest.hexdigest()
    return made


def digest_of(cache: cashy.Cache, name: str) -> str:
    """Reads an object to its end, block by block."""
    digest = hashlib.blake2b()
    with cache.open(name) as item:
        for block in item.blocks():
            digest.update(block)
    return digest.hexdigest()


def is_joined(cluster: DevCluster) -> bool:
    """Whether every host hears every other."""
    try:
        for host in cluster.hosts:
            with host.connect() as cache:
                if any(other.error for other in cache.cluster().hosts):
                    return False
    except (cashy.CashyError, OSError):
        return False
    return True


def wait_until_joined(cluster: DevCluster) -> None:
    wait_until(lambda: is_joined(cluster), 30, "all hosts know each other")


def read_everywhere(cluster: DevCluster, objects: dict[str, str], hosts: range, rounds: int = 1) -> list[str]:
    """All hosts named read all objects at the same time, each beginning with another; returns what went wrong."""
    problems: list[str] = []

    def read(number: int) -> None:
        try:
            with cluster.hosts[number].connect(timeout_s=60) as cache:
                for turn in range(rounds):
                    names = sorted(
                        objects, key=lambda name: hashlib.sha1(f"{name}{number}{turn}".encode()).digest()
                    )
                    for name in names:
                        if digest_of(cache, name) != objects[name]:
                            problems.append(f"host {number}: wrong bytes of {name}")
        except Exception as error:
            problems.append(f"host {number}: {error!r}")

    threads = [threading.Thread(target=read, args=(number,)) for number in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), "a read hangs"
    return problems


def total(cluster: DevCluster, counter: str) -> int:
    """A counter over all hosts."""
    return cluster.counters().get(counter, 0)


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
    with DevCluster(3, tmp_path, f"file={folder}", memory="640MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        assert read_everywhere(cluster, objects, range(3)) == []
        shares = [host.counters()["blocks_from_origin"] for host in cluster.hosts]
        assert sum(shares) == total(cluster, "origin_reads") == blocks
        for share in shares:
            assert abs(share - blocks / 3) < 60, shares  # four standard deviations of a fair draw
        assert total(cluster, "blocks_from_peer") >= 2 * blocks - 2 * blocks // 100
        assert total(cluster, "peer_reads_failed") == 0


def start_readers(
    cluster: DevCluster, objects: dict[str, str], hosts: range, rounds: int
) -> Callable[[], list[str]]:
    """Readers in the background; call the result to wait for them."""
    problems: list[str] = []
    thread = threading.Thread(
        target=lambda: problems.extend(read_everywhere(cluster, objects, hosts, rounds))
    )
    thread.start()

    def finished() -> list[str]:
        thread.join(300)
        assert not thread.is_alive()
        return problems

    return finished


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_host_that_dies_or_freezes_fails_nobodys_read(tmp_path: Path, folder: Path, how: str) -> None:
    objects = write_objects(folder, 12, 16 * MIB)
    with DevCluster(3, tmp_path, f"file={folder}", memory="128MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        finished = start_readers(cluster, objects, range(2), 3)
        wait_until(lambda: total(cluster, "blocks_from_peer") > 40, 30, "reads from peers")
        victim = cluster.hosts[2].master_pid()
        if how == "frozen":
            os.kill(victim, signal.SIGSTOP)
            time.sleep(5)
            os.kill(victim, signal.SIGCONT)
        else:
            for _ in range(3):
                cluster.hosts[2].wait_for_other_master(cluster.hosts[2].kill_master())
        assert finished() == []
        wait_until_joined(cluster)
        before = [host.counters()["blocks_from_peer"] for host in cluster.hosts[:2]]
        more = write_objects(folder, 14, 4 * MIB)
        fresh = {name: digest for name, digest in more.items() if name not in objects}
        assert read_everywhere(cluster, fresh, range(2)) == []
        after = [host.counters()["blocks_from_peer"] for host in cluster.hosts[:2]]
        assert after > before


def test_an_object_overwritten_at_the_origin_is_seen_through_every_host(tmp_path: Path) -> None:
    with started_store() as store, contextlib.closing(s3_client(store)) as direct:
        direct.create_bucket(Bucket="bucket")
        config = "[freshness]\nrevalidate_after_s = 0.5\n"
        with DevCluster(
            3, tmp_path, f"s3={store}", memory="64MiB", block="1MiB", workers=0, config=config
        ) as cluster:
            wait_until_joined(cluster)
            caches = [host.connect() for host in cluster.hosts]
            for size in (3 * MIB + 17, 5 * MIB, 100, 0, 2 * MIB):
                data = os.urandom(size)
                direct.put_object(Bucket="bucket", Key="key", Body=data)
                time.sleep(
                    1.1
                )  # as long as two hosts may take together, were they not told how old their knowledge is
                for cache in caches:
                    assert bytes(cache.read("s3://bucket/key")) == data
            direct.delete_object(Bucket="bucket", Key="key")
            time.sleep(1.1)
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
    with DevCluster(3, tmp_path, f"file={folder}", memory="128MiB", block="4MiB") as cluster:
        wait_until_joined(cluster)
        for number, (name, digest) in enumerate(objects.items()):
            client = cluster.hosts[number].s3()
            with contextlib.closing(
                client.get_object(Bucket="bucket", Key=name.rpartition("/")[2])["Body"]
            ) as body:
                assert hashlib.blake2b(body.read()).hexdigest() == digest
        assert total(cluster, "origin_reads") == 18
        assert total(cluster, "blocks_from_peer") > 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    config += f'[cluster]\nhost = "{name}"\nkey_file = "{key_file}"\n'
    config += f'[[origin]]\nkind = "directory"\npath = "{origin}"\nname = "{origin_name}"\n'
    for peer, port in ports.items():
        config += f'[[peer]]\nname = "{peer}"\naddress = "127.0.0.1:{port}"\n'
    return DevHost(home, memory="64MiB", block="1MiB", workers=0, config=config)


class HostileWire:
    """A TCP relay between two hosts that does to the bytes towards the asking one what ``harm`` says, once in a while."""

    def __init__(self, target_port: int, harm: str, seed: int) -> None:
        self._target_port = target_port
        self._harm = harm
        self._choose = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.harmed = 0
        self._is_closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

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
                self._threads.append(
                    threading.Thread(target=self._pump, args=(source, target, is_harmed), daemon=True)
                )
                self._threads[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, is_harmed: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                if is_harmed and passed > 200_000 and self._choose.random() < 0.05:
                    self.harmed += 1
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
        at = self._choose.randrange(len(data))
        if self._harm == "corrupted":
            return data[:at] + bytes([data[at] ^ 1 << self._choose.randrange(8)]) + data[at + 1 :]
        if self._harm == "cut out":
            return data[:at] + data[at + 1 :]
        if self._harm == "reordered":
            return data[at:] + data[:at]
        if self._harm == "slow":
            time.sleep(0.2)
            return data
        raise OSError("cut off")

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("harm", ["corrupted", "cut out", "reordered", "cut off", "slow"])
def test_whatever_a_network_does_to_frames_bytes_are_right_and_no_read_fails(
    tmp_path: Path, folder: Path, harm: str
) -> None:
    objects = write_objects(folder, 8, 8 * MIB)
    ports = {"a": free_port(), "b": free_port()}
    wire = HostileWire(ports["b"], harm, seed=7)
    key = os.urandom(32)
    with (
        contextlib.closing(wire),
        lone_host(tmp_path, "b", key, ports, str(folder)) as second,
        lone_host(tmp_path, "a", key, ports | {"b": wire.port}, str(folder)) as first,
    ):
        for _ in range(3):  # a broken connection is made anew, and broken again
            read_on_both(first, second, objects)
            objects = write_objects(folder, 8, 8 * MIB)  # new versions: nothing is cached
            time.sleep(0.5)
        counters = first.counters()
        assert wire.harmed
        if harm in ("corrupted", "cut out", "reordered"):
            assert counters["peer.b.protocol_errors_total"] > 0
        if harm != "slow":
            assert counters["peer_reads_failed"] > 0
            assert counters["peer.b.connects_total"] > 1


def read_on_both(first: DevHost, second: DevHost, objects: dict[str, str]) -> None:
    for host in (first, second):
        with host.connect() as cache:
            for name, digest in objects.items():
                assert digest_of(cache, name) == digest


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
        for name, digest in objects.items():
            key_name = name.rpartition("/")[2]
            assert digest_of(cache, f"s3://bucket/{key_name}") == digest
        assert second.counters()["clients"] == 1


def test_strangers_at_the_peer_port_are_refused_counted_and_harm_nobody(tmp_path: Path, folder: Path) -> None:
    objects = write_objects(folder, 6, 4 * MIB)
    with DevCluster(2, tmp_path, f"file={folder}", memory="64MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        assert cluster.hosts[0].peer is not None
        host, _, port = cluster.hosts[0].peer.rpartition(":")
        address = (host, int(port))
        finished = start_readers(cluster, objects, range(2), 4)
        for garbage in (b"GET / HTTP/1.1\r\nHost: cashy\r\n\r\n" * 2, os.urandom(4096), b"\0" * 65536, b""):
            for _ in range(5):
                with (
                    socket.create_connection(address, 5) as stranger,
                    contextlib.suppress(ConnectionError, BrokenPipeError),
                ):
                    stranger.sendall(garbage)
                    stranger.shutdown(socket.SHUT_WR)
                    while stranger.recv(65536):
                        pass
        silent = [socket.create_connection(address, 5) for _ in range(50)]
        assert finished() == []
        for one in silent:
            one.close()
        counters = cluster.hosts[0].counters()
        assert counters["peer_server.protocol_errors_total"] + counters["peer_server.refused_total"] >= 15
        assert total(cluster, "peer_reads_failed") == 0


def test_a_block_that_is_used_again_stays_near(tmp_path: Path, folder: Path) -> None:
    """The home is asked for a hot object once or twice, whatever else passes through the host's memory."""
    hot = write_objects(folder, 1, 8 * MIB)
    with DevCluster(2, tmp_path, f"file={folder}", memory="32MiB", block="1MiB", workers=0) as cluster:
        wait_until_joined(cluster)
        objects = write_objects(folder, 30, 8 * MIB)
        hot = {name: objects[name] for name in hot}
        cold = {name: digest for name, digest in objects.items() if name not in hot}
        with cluster.hosts[0].connect() as cache:
            for _ in range(4):
                assert all(digest_of(cache, name) == digest for name, digest in hot.items())
            for name, digest in cold.items():
                assert digest_of(cache, name) == digest
                for hot_name in hot:
                    digest_of(cache, hot_name)
            before = cluster.hosts[0].counters()
            assert all(digest_of(cache, name) == digest for name, digest in hot.items())
            after = cluster.hosts[0].counters()
        assert after["blocks_filled"] == before["blocks_filled"]
