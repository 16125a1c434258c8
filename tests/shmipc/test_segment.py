"""Segments, instance folders and arenas that are not as they should be: each a clear error that names what to do."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.shmipc.support import FAMILY, CellArena, Client, descriptor_count, digest_of, in_child

from shmipc import tables as tables_module
from shmipc.arena import ArenaOwner, ArenaReader
from shmipc.errors import (
    ArenaLayoutError,
    OutOfSharedMemory,
    OwnerAlive,
    QuotaExceeded,
    ShmError,
    SquattedName,
    StateError,
)
from shmipc.instance import Instance
from shmipc.layout import (
    H_ARENA_ID,
    H_LAYOUT_VERSION,
    H_MAGIC,
    H_OWNER_EPOCH,
    H_OWNER_PID,
    LAYOUT_VERSION,
    PAGE_BYTES,
    TABLE_BYTES,
    WORD_BYTES,
)
from shmipc.segment import SHM_FOLDER, Segment, unlink_segment
from shmipc.states import Event, State

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, or mounts")


def _open(instance: Instance) -> tuple[ArenaOwner, bool]:
    return ArenaOwner.open(instance, data_bytes=8 * PAGE_BYTES, slab_bytes=PAGE_BYTES, slot_count=8)


def _segments(instance: Instance) -> list[str]:
    return sorted(path.name for path in Path(SHM_FOLDER).glob(f"{instance.prefix}.*"))


def _error_of(kind: type[Exception], work: Callable[[], object]) -> str:
    """The message of the error that ``work`` raises; no frame (and so no mapping of it) is kept."""
    try:
        work()
    except kind as error:
        return str(error)
    pytest.fail(f"no {kind.__name__}")


# --- segments ---


def test_a_new_segment_is_zero_private_and_allocated(instance: Instance) -> None:
    name = instance.segment_name(1)
    segment = Segment.create(name, 5 * PAGE_BYTES)
    found = os.stat(f"{SHM_FOLDER}/{name}")
    assert (found.st_size, found.st_mode & 0o777, found.st_blocks * 512) == (
        5 * PAGE_BYTES,
        0o600,
        5 * PAGE_BYTES,
    )
    assert segment.memory[:] == bytes(5 * PAGE_BYTES)
    assert not os.get_inheritable(segment.fd)
    segment.close()
    assert unlink_segment(name)
    assert not unlink_segment(name)


def test_a_taken_segment_name_is_a_squatter(instance: Instance) -> None:
    name = instance.segment_name(1)
    Segment.create(name, PAGE_BYTES).close()
    before = descriptor_count()
    with pytest.raises(SquattedName, match="exists already and was not made by this process"):
        Segment.create(name, PAGE_BYTES)
    assert descriptor_count() == before
    assert os.path.exists(f"{SHM_FOLDER}/{name}"), "it is not ours to remove"


@pytest.mark.parametrize("name", ["", "a/b", "..\0", "a" * 201, "../x", "ü"])
def test_impossible_segment_names(name: str) -> None:
    with pytest.raises(ShmError, match="is no segment name"):
        Segment.create(name, PAGE_BYTES)
    with pytest.raises(ShmError, match="is no segment name"):
        Segment.open(name, writable=False)


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "a" * 65])
def test_impossible_instance_names(name: str) -> None:
    with pytest.raises(ShmError, match="is no instance name"):
        Instance(FAMILY, name)


def test_a_link_is_not_opened(instance: Instance, tmp_path: Path) -> None:
    name = instance.segment_name(1)
    (tmp_path / "target").write_bytes(bytes(PAGE_BYTES))
    os.symlink(tmp_path / "target", f"{SHM_FOLDER}/{name}")
    with pytest.raises(SquattedName, match="is a symbolic link and was not opened: remove it"):
        Segment.open(name, writable=False)


@as_root
def test_another_users_segment_is_not_opened(instance: Instance) -> None:
    name = instance.segment_name(1)
    Segment.create(name, PAGE_BYTES).close()
    os.chown(f"{SHM_FOLDER}/{name}", NOBODY, -1)
    before = descriptor_count()
    with pytest.raises(
        SquattedName, match=f"belongs to user {NOBODY}, not to 0: remove it or use another instance"
    ):
        Segment.open(name, writable=False)
    assert descriptor_count() == before


@as_root
def test_no_permission_is_a_clear_error(instance: Instance) -> None:
    name = instance.segment_name(1)
    Segment.create(name, PAGE_BYTES).close()

    def child() -> None:
        os.setuid(NOBODY)
        with pytest.raises(
            SquattedName, match=f"user {NOBODY} may not open .*: run as its owner, or use another"
        ):
            Segment.open(name, writable=False)

    assert in_child(child) == 0


@as_root
def test_a_folder_that_may_not_be_made_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    def child() -> None:
        os.setuid(NOBODY)
        with pytest.raises(ShmError, match=r"cannot make .*: Permission denied"):
            Instance(FAMILY, "x", shm_folder=str(tmp_path)).acquire()

    for parent in (*tmp_path.parents[:-2],):
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(0o755)
    assert in_child(child) == 0


# --- two owners, dead owners, squatters ---


def test_two_owners_of_one_name(instance: Instance) -> None:
    second = Instance(FAMILY, instance.name)
    before = descriptor_count()
    with pytest.raises(
        OwnerAlive, match=f"owned by the running process {os.getpid()}: stop it, or choose another"
    ):
        second.acquire()
    assert descriptor_count() == before
    instance.close()
    second.acquire()
    second.close()


def test_a_dead_owners_instance_is_taken_over(instance: Instance) -> None:
    instance.close()
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        instance.acquire()
        owner, adopted = _open(instance)
        assert not adopted
        slot = owner.lease(digest_of(1), owner.geometry.data_offset, PAGE_BYTES, 10)
        owner.publish(slot, 0)
        owner.lease(digest_of(2), owner.geometry.data_offset + PAGE_BYTES, PAGE_BYTES, 10)
        os.write(into, b".")
        signal.pause()
    os.read(out, 1)
    with pytest.raises(OwnerAlive, match=f"running process {pid}"):
        instance.acquire()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    instance.acquire()
    owner, adopted = _open(instance)
    assert adopted
    assert owner.find(digest_of(1)) >= 0
    assert owner.free_slots == 7, "what was FILLING is freed"
    header = ArenaReader(Segment.from_fd(owner.segment.read_only_fd()))
    assert header.header_word(H_OWNER_EPOCH) == 2
    assert header.header_word(H_OWNER_PID) == os.getpid()
    header.close()
    owner.close()


def test_a_lock_on_a_removed_folder_is_no_ownership(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old owner removes the folder between our open of its lock file and our flock."""
    instance.close()
    second = Instance(FAMILY, instance.name)
    flock, calls = fcntl.flock, list[int]()

    def removed_before(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            instance.remove()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    second.acquire()
    assert len(calls) == 2, "locked again, on the new file"
    monkeypatch.undo()
    with pytest.raises(OwnerAlive):
        instance.acquire()
    second.close()


@pytest.mark.parametrize("squat", ["link", "mode", "file"])
def test_a_squatted_folder(instance_name: str, tmp_path: Path, squat: str) -> None:
    instance = Instance(FAMILY, instance_name)
    if squat == "link":
        instance.folder.symlink_to(tmp_path)
    elif squat == "mode":
        instance.folder.mkdir(mode=0o700)
        instance.folder.chmod(0o755)
    else:
        instance.folder.write_text("")
    try:
        with pytest.raises(
            SquattedName, match=r"must be a folder of user .* mode 0700.*: remove it, or choose another"
        ):
            instance.acquire()
    finally:
        if squat != "mode":
            instance.folder.unlink()


@as_root
def test_a_folder_of_another_user(instance_name: str) -> None:
    instance = Instance(FAMILY, instance_name)
    instance.folder.mkdir(mode=0o700)
    os.chown(instance.folder, NOBODY, -1)
    with pytest.raises(SquattedName, match=f"has owner {NOBODY} and mode 0700: remove it, or choose another"):
        instance.acquire()


# --- arenas ---


def _edit(instance: Instance, word: int, value: int) -> None:
    name = instance.current_segment()
    assert name is not None
    with open(f"{SHM_FOLDER}/{name}", "r+b") as file:
        file.seek(word * WORD_BYTES)
        file.write(value.to_bytes(WORD_BYTES, "little"))


def _truncate(size: int) -> Callable[[Instance], None]:
    return lambda instance: os.truncate(f"{SHM_FOLDER}/{instance.current_segment()}", size)


SPOILERS: dict[str, tuple[Callable[[Instance], None], str]] = {
    "layout": (
        lambda i: _edit(i, H_LAYOUT_VERSION, LAYOUT_VERSION + 1),
        rf"has layout {LAYOUT_VERSION + 1}, this program knows layout {LAYOUT_VERSION}: .*same version",
    ),
    "unfinished": (lambda i: _edit(i, H_MAGIC, 0), r"is no finished arena \(magic 0x0\)"),
    "arena": (lambda i: _edit(i, H_ARENA_ID, 5), "is arena 0000000000000005, not"),
    "truncated": (_truncate(9 * PAGE_BYTES), "its header says .*: truncated"),
    "header": (_truncate(100), "has 100 bytes: no arena"),
    "empty": (_truncate(0), "is empty: its owner has not finished making it.*start the owner again"),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_reader_refuses_a_wrong_segment(instance: Instance, spoiler: str) -> None:
    owner, _ = _open(instance)
    fd, arena_id = owner.segment.read_only_fd(), owner.arena_id
    owner.close()
    del owner
    spoil, message = SPOILERS[spoiler]
    spoil(instance)
    before = descriptor_count()

    def attach() -> None:
        segment = Segment.from_fd(fd)
        try:
            ArenaReader(segment, arena_id)
        finally:
            segment.close()

    assert re.search(message, _error_of(ArenaLayoutError, attach))
    assert descriptor_count() == before - 1, "the descriptor is closed"


@pytest.mark.parametrize("spoiler", [name for name in SPOILERS if name != "arena"])
def test_an_owner_replaces_a_wrong_segment_and_leaves_it_to_its_readers(
    instance: Instance, spoiler: str
) -> None:
    owner, _ = _open(instance)
    old = owner.segment.name
    owner.close()
    SPOILERS[spoiler][0](instance)
    with open(f"{SHM_FOLDER}/{old}", "rb") as kept:
        owner, adopted = _open(instance)
        assert not adopted
        assert owner.segment.name != old
        assert _segments(instance) == [owner.segment.name]
        assert instance.current_segment() == owner.segment.name
        assert owner.free_slots == 8
        kept.read(1)
    owner.close()


def test_another_size_is_a_new_arena_and_old_views_stay(arena: CellArena) -> None:
    arena.fill(digest_of(1))
    client = Client(arena.owner)
    view = client.view(digest_of(1))
    before = bytes(view)
    arena.close()
    larger = CellArena(arena.instance, cells=16)
    assert not larger.adopted
    assert len(larger.owner.tables) == 0, "pins of another arena do not count here"
    larger.refill_everything(100)
    assert bytes(view) == before
    larger.close()


def test_what_a_killed_owner_had_not_finished_is_removed(instance: Instance) -> None:
    Segment.create(instance.segment_name(77), PAGE_BYTES).close()  # killed before it became the current one
    owner, _ = _open(instance)
    assert _segments(instance) == [owner.segment.name]
    owner.close()
    foreign = Instance(FAMILY, f"{instance.name}-2")
    assert not foreign.segment_name(5).startswith(f"{instance.prefix}."), "names of others are not touched"


def test_an_arena_that_cannot_be_named_is_not_left_behind(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Instance, name: str) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(Instance, "set_current_segment", fail)
    before = descriptor_count()
    assert _error_of(OSError, lambda: _open(instance)) == "disk on fire"
    assert _segments(instance) == []
    assert descriptor_count() == before


def test_a_second_life_keeps_what_is_pinned_and_frees_what_was_in_motion(
    arena: CellArena, instance: Instance
) -> None:
    owner = arena.owner
    ready, invalid = arena.fill(digest_of(1)), arena.fill(digest_of(2))
    filling, idle = arena.lease(digest_of(3)), arena.lease(digest_of(4))
    client = Client(owner)
    held = client.view(digest_of(2))
    word = owner.generation(filling)
    assert client.reader.pin_slot(client.table, digest_of(3), filling, word, filling=True) is not None
    owner.invalidate(invalid)
    marked = arena.fill(digest_of(5))
    owner._change(marked, Event.MARK)  # killed between mark and scan
    arena.close()

    second = CellArena(instance)
    assert second.adopted
    assert [second.owner.state(slot) for slot in (ready, invalid, filling, idle, marked)] == [
        State.READY, State.RETIRED, State.RETIRED, State.FREE, State.FREE,
    ]  # fmt: skip
    assert second.owner.find(digest_of(1)) == ready
    assert len(second.owner.tables) == 1
    assert bytes(held) == bytes(second.owner.content(invalid))
    _, fd = second.owner.tables.create()
    assert len(second.owner.tables) == 2, "a new serial"
    os.close(fd)
    second.close()


def test_bad_leases_and_evictions_are_state_errors_and_change_nothing(arena: CellArena) -> None:
    owner = arena.owner
    geometry = owner.geometry
    for offset, capacity, length in (
        (geometry.data_offset - PAGE_BYTES, PAGE_BYTES, 1),
        (geometry.total_bytes - PAGE_BYTES, PAGE_BYTES + 1, 1),
        (geometry.data_offset, PAGE_BYTES, PAGE_BYTES + 1),
    ):
        with pytest.raises(StateError, match="outside the data area"):
            owner.lease(digest_of(1), offset, capacity, length)
    assert owner.free_slots == 8
    slots = [arena.fill(digest_of(number)) for number in range(8)]
    with pytest.raises(StateError, match="no slot is FREE: evict first"):
        owner.lease(digest_of(9), geometry.data_offset, PAGE_BYTES, 1)
    with pytest.raises(StateError, match="EVICTING cannot mark"):
        owner.evict([slots[0], slots[1], slots[0]])
    owner.invalidate(slots[2])
    with pytest.raises(StateError, match="RETIRED cannot mark"):
        owner.evict(slots)
    assert [owner.state(slot) for slot in slots[:2]] == [State.READY, State.READY]
    for wrong in (owner.abort, owner.invalidate):
        with pytest.raises(StateError):
            wrong(slots[2])
    with pytest.raises(StateError, match="READY cannot publish"):
        owner.publish(slots[0], 0)


# --- room ---


def test_more_shared_memory_than_there_is(instance: Instance) -> None:
    room = os.statvfs(SHM_FOLDER)
    too_much = (room.f_blocks + 1) * room.f_frsize
    before = descriptor_count()
    with pytest.raises(
        OutOfSharedMemory, match=r"needs [\d,]+ bytes but /dev/shm has [\d,]+ free of [\d,]+: ask for less"
    ):
        Segment.create(instance.segment_name(1), too_much)
    assert isinstance(OutOfSharedMemory(), MemoryError)
    assert _segments(instance) == []
    assert descriptor_count() == before


def _in_small_shm(size: str, script: str) -> str:
    """Runs Python in a mount namespace of its own whose /dev/shm is ``size`` large; gives what it printed."""
    as_root_there = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = f"mount -t tmpfs -o size={size} tmpfs {SHM_FOLDER} && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", *as_root_there, "--mount", "--propagation", "private", "sh", "-c", command],
        input=textwrap.dedent(script), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


_PROLOGUE = """
import os
from shmipc.arena import ArenaOwner
from shmipc.errors import OutOfSharedMemory
from shmipc.instance import Instance
def fds(): return len(os.listdir("/proc/self/fd"))
instance = Instance("shmipctest", "small")
def fill():
    fd = os.open("/dev/shm/ballast", os.O_CREAT | os.O_RDWR)
    try:
        while True: os.write(fd, bytes(4096))
    except OSError: pass
    os.close(fd)
"""


def test_a_small_dev_shm_is_a_clear_error_and_not_a_bus_error() -> None:
    script = (
        _PROLOGUE
        + """
instance.acquire()
before = fds()
try:
    ArenaOwner.open(instance, data_bytes=64 << 20, slab_bytes=1 << 20, slot_count=64)
except OutOfSharedMemory as error:
    print(error)
print(sorted(os.listdir("/dev/shm")) == [instance.prefix], fds() - before)
owner, adopted = ArenaOwner.open(instance, data_bytes=2 << 20, slab_bytes=1 << 20, slot_count=64)
owner._memory[owner.geometry.data_offset:] = bytes(owner.geometry.data_bytes)
print("fits", adopted)
"""
    )
    lines = _in_small_shm("4m", script).splitlines()
    assert "needs 67,125,248 bytes but /dev/shm has 4,1" in lines[0]
    assert "ask for less memory, or enlarge it (mount -o remount,size=" in lines[0]
    assert lines[1:] == ["True 0", "fits False"], "nothing was left, and a smaller one works"


def test_a_resized_arena_needs_room_for_itself_only() -> None:
    script = (
        _PROLOGUE
        + """
instance.acquire()
for size in (3 << 20, 2 << 20, 3 << 20):
    owner, adopted = ArenaOwner.open(instance, data_bytes=size, slab_bytes=1 << 20, slot_count=64)
    owner.close()
    del owner
    print(adopted)
"""
    )
    assert _in_small_shm("4m", script).split() == ["False"] * 3


def test_a_full_dev_shm_while_starting_or_making_a_pin_table() -> None:
    script = (
        _PROLOGUE
        + """
fill()
before = fds()
try:
    instance.acquire()
except OutOfSharedMemory as error:
    print(error)
print(fds() - before)
os.unlink("/dev/shm/ballast")
instance.acquire()
owner, _ = ArenaOwner.open(instance, data_bytes=1 << 20, slab_bytes=1 << 20, slot_count=64)
fill()
before = fds()
try:
    owner.tables.create()
except OutOfSharedMemory as error:
    print(error)
print(fds() - before, len(owner.tables), os.listdir(instance.tables_folder))
os.unlink("/dev/shm/ballast")
serial, fd = owner.tables.create()
print(serial, len(owner.tables))
"""
    )
    lines = _in_small_shm("4m", script).splitlines()
    assert "no room for a file in" in lines[0]
    assert "remove what fills" in lines[0]
    assert lines[1] == "0"
    assert f"needs {TABLE_BYTES:,} bytes but /dev/shm has 0 free" in lines[2]
    assert lines[3:] == ["0 0 []", "2 1"]


def test_too_many_tables_until_one_is_left(arena: CellArena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "TABLES_MAX", 3)
    clients = [Client(arena.owner) for _ in range(3)]
    before = descriptor_count()
    with pytest.raises(QuotaExceeded, match="all 3 pin tables are in use by clients that live: close some"):
        arena.owner.tables.create()
    assert descriptor_count() == before
    clients.pop().close()
    assert Client(arena.owner).serial == 4, "a dead client's place is given away"


def test_a_table_that_cannot_be_opened_leaves_nothing(
    arena: CellArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, serial: int) -> None:
        raise OSError("too many open files")

    before = descriptor_count()
    monkeypatch.setattr(tables_module, "Table", fail)
    with pytest.raises(OSError, match="too many open files"):
        arena.owner.tables.create()
    assert descriptor_count() == before
    assert list(arena.instance.tables_folder.iterdir()) == []


def test_a_predecessors_broken_tables_are_retired(arena: CellArena) -> None:
    folder = arena.instance.tables_folder
    (folder / "70").write_bytes(b"")  # killed before it was allocated
    (folder / "71").write_bytes(bytes(TABLE_BYTES))  # killed before its header
    (folder / "notes").write_text("not ours")
    client = Client(arena.owner)
    arena.close()
    second = CellArena(arena.instance)
    assert [table.serial for table in second.owner.tables.tables()] == [client.serial]
    assert sorted(path.name for path in folder.iterdir()) == sorted([str(client.serial), "notes"])
    assert Client(second.owner).serial == 72
    second.close()


def test_a_segment_stays_mapped_for_who_has_it(instance: Instance) -> None:
    segment = Segment.create(instance.segment_name(1), PAGE_BYTES)
    memory: mmap.mmap = segment.memory
    memory[:5] = b"hello"
    segment.close()
    segment.close()
    unlink_segment(segment.name)
    assert memory[:5] == b"hello"
