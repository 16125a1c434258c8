"""fork with live views, SIGSTOP, and processes that die: pins live as long as anybody who may read."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from tests.readable import readable
from tests.shmipc.support import CellArena, Client, digest_of, pattern

from shmipc.errors import PinTableFull
from shmipc.layout import PAGE_BYTES
from shmipc.states import State


class _Gate:
    """A one-way signal between processes."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def open(self) -> None:
        os.write(self.into, b".")

    def wait(self) -> None:
        assert readable(self.out, timeout_s=30), "the other process has failed or hangs"
        assert os.read(self.out, 1) == b"."


@contextmanager
def _forked(work: Callable[[], None]) -> Iterator[int]:
    """A child that does ``work``; its exit code must be 0 at the end of the block."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    finished = False
    try:
        yield pid
        finished = True
    finally:
        if not finished:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if finished:
            assert os.waitstatus_to_exitcode(status) == 0


def _block(number: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(pattern(digest_of(number), 1, PAGE_BYTES), np.uint8)


def test_an_array_from_before_the_fork_stays_right_in_the_child(arena: CellArena) -> None:
    slots = [arena.fill(digest_of(number)) for number in range(8)]
    client = Client(arena.owner)
    arrays = [np.frombuffer(client.view(digest_of(3)), np.uint8)]
    refilled, checked, leave = _Gate(), _Gate(), _Gate()

    def child() -> None:
        client.table.freeze()
        with pytest.raises(PinTableFull, match="fork"):
            client.table.pin(0, 1, 1)
        refilled.wait()
        assert np.array_equal(arrays[0], _block(3))
        checked.open()
        leave.wait()

    client.table.freeze()  # as a before-fork handler does
    with _forked(child):
        client.table.freeze()
        arrays.clear()  # the parent drops it ...
        arena.refill_everything(100)  # ... and the owner refills all it can get
        assert arena.owner.state(slots[3]) is State.READY
        assert arena.owner.generation(slots[3]) == 1
        refilled.open()
        checked.wait()
        assert arena.owner.tables.retire_abandoned() == [], "the child still has the table"
        assert arena.evict(slots[3]) == [slots[3]]
        leave.open()
    assert arena.owner.tables.retire_abandoned() == [client.serial]
    assert arena.evict(slots[3]) == []


def test_an_array_from_before_the_fork_stays_right_in_the_parent(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)
    arrays = [np.frombuffer(client.view(digest_of(1)), np.uint8)]

    def child() -> None:
        client.table.freeze()
        arrays.clear()  # unpins nothing: the parent reads it

    client.table.freeze()
    with _forked(child):
        pass
    arena.refill_everything(100)
    assert arena.owner.generation(slot) == 1
    assert np.array_equal(arrays[0], _block(1))
    arrays.clear()
    assert arena.owner.tables.retire_abandoned() == [client.serial]


def test_a_table_without_views_closes_at_the_fork(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.freeze()
    assert arena.owner.tables.retire_abandoned() == [client.serial]


def _worker(array: np.ndarray[tuple[int], np.dtype[np.uint8]], client: Client, refilled: int) -> None:
    client.table.freeze()
    assert os.read(refilled, 1)
    assert np.array_equal(array, _block(2))


def test_multiprocessing_by_fork(arena: CellArena) -> None:
    for number in range(8):
        arena.fill(digest_of(number))
    client = Client(arena.owner)
    array = np.frombuffer(client.view(digest_of(2)), np.uint8)
    gate = _Gate()
    client.table.freeze()
    workers = [
        multiprocessing.get_context("fork").Process(target=_worker, args=(array, client, gate.out))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    try:
        del array
        arena.refill_everything(100)
        for _ in workers:
            gate.open()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
                worker.join()
    workers.clear()
    arena.owner.tables.retire_abandoned()


def test_a_new_table_serves_after_the_fork(arena: CellArena) -> None:
    arena.fill(digest_of(1))
    old = Client(arena.owner)
    before = old.view(digest_of(1))
    new_table = Client(arena.owner)  # as the handshake of the child would get one

    def child() -> None:
        old.table.freeze()
        view = new_table.view(digest_of(1))
        assert bytes(view) == bytes(before)

    old.table.freeze()
    with _forked(child):
        pass
    assert new_table.table.pinned_entries == 0


def test_a_stopped_client_keeps_its_slots_and_stops_nobody(arena: CellArena) -> None:
    slots = [arena.fill(digest_of(number)) for number in range(8)]
    client = Client(arena.owner)
    pinned, go = _Gate(), _Gate()

    def child() -> None:
        view = client.view(digest_of(5))
        pinned.open()
        go.wait()
        assert bytes(view) == pattern(digest_of(5), 1, PAGE_BYTES)

    with _forked(child) as pid:
        pinned.wait()
        os.kill(pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
            for start in range(100, 160, 10):
                assert len(arena.refill_everything(start)) == 7, "all others are freed and filled"
            assert arena.owner.generation(slots[5]) == 1
            assert arena.owner.tables.retire_abandoned() == [], "stopped is not dead"
        finally:
            os.kill(pid, signal.SIGCONT)
        go.open()


def test_the_pins_of_a_killed_client_are_dropped_with_its_table(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    serial, table_fd = arena.owner.tables.create()
    pinned = _Gate()
    pid = os.fork()
    if pid == 0:
        from shmipc.pins import PinTable

        table = PinTable(table_fd, arena.owner.arena_id, pin_bytes_max=1 << 20)
        table.pin(slot, 1, PAGE_BYTES)
        pinned.open()
        signal.pause()
    os.close(table_fd)
    pinned.wait()
    assert arena.evict(slot) == [slot]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert arena.evict(slot) == [slot], "until the owner has looked for dead clients"
    assert arena.owner.tables.retire_abandoned() == [serial]
    assert arena.evict(slot) == []


def test_registration_survives_fork(arena: CellArena) -> None:
    """The fence reaches children of a registered client without a call of theirs; the kernel reports no way to ask, so: it may be repeated."""
    from shmipc.fence import fence_readers, is_supported, register_reader

    assert is_supported()

    def child() -> None:
        fence_readers()
        register_reader()

    with _forked(child):
        fence_readers()
