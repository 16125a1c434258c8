"""A pin lives exactly as long as anything made from its view."""

from __future__ import annotations

import gc
import mmap
import os
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.shmipc.support import CellArena, Client, descriptor_count, digest_of, in_child, pattern

from shmipc import view as view_module
from shmipc.errors import QuotaExceeded, ShmError
from shmipc.layout import PAGE_BYTES
from shmipc.view import Piece, PlacedSpan, SpanningMap, spanning_view


def _expected(numbers: list[int]) -> bytes:
    return b"".join(pattern(digest_of(number), 1, PAGE_BYTES) for number in numbers)


@pytest.fixture
def filled(make_arena: Callable[..., CellArena]) -> CellArena:
    """64 READY blocks, not in the order of their numbers."""
    arena = make_arena(cells=64)
    random.Random(1).shuffle(arena.free_cells)
    for number in range(64):
        arena.fill(digest_of(number))
    return arena


def _one(client: Client) -> memoryview:
    return client.view(digest_of(7))


def _several(client: Client) -> memoryview:
    return client.spanning([digest_of(number) for number in (7, 3, 50)])


@pytest.mark.parametrize("make_view", [_one, _several])
@pytest.mark.parametrize(
    "make",
    [
        lambda view: np.frombuffer(view, np.uint64),
        lambda view: np.frombuffer(view, np.uint8)[100:200][::2],
        lambda view: pa.py_buffer(view),
        lambda view: pa.Array.from_buffers(pa.uint8(), len(view), [None, pa.py_buffer(view)])[5:9],
        lambda view: pa.py_buffer(np.frombuffer(view, np.uint8)[10:]),
        lambda view: np.asarray(pa.Array.from_buffers(pa.uint8(), len(view), [None, pa.py_buffer(view)])),
        lambda view: view[64:128],
        lambda view: memoryview(view).cast("Q"),
        lambda view: view.toreadonly(),
    ],
    ids=["numpy", "numpy-slice", "arrow", "arrow-array-slice", "arrow-of-numpy", "numpy-of-arrow", "slice", "cast", "readonly"],
)  # fmt: skip
def test_whatever_is_made_from_a_view_keeps_the_pin(
    filled: CellArena, make: Callable[[memoryview], object], make_view: Callable[[Client], memoryview]
) -> None:
    client = Client(filled.owner)
    view = make_view(client)
    pins = client.table.pinned_entries
    made = make(view)
    before = bytes(memoryview(made)) if not isinstance(made, pa.Array) else made.to_pylist()  # type: ignore[arg-type]
    with suppress(BufferError):  # see test_a_view_that_somebody_uses_directly…
        view.release()
    del view
    gc.collect()
    assert client.table.pinned_entries == pins
    filled.refill_everything(1000)
    after = bytes(memoryview(made)) if not isinstance(made, pa.Array) else made.to_pylist()  # type: ignore[arg-type]
    assert before == after
    del made
    gc.collect()
    assert client.table.pinned_entries == 0


def test_an_array_outlives_its_with_and_our_view_raises_afterwards(filled: CellArena) -> None:
    client = Client(filled.owner)
    with client.view(digest_of(7)) as view:
        array = np.frombuffer(view, np.uint8)
    for use in (
        lambda: view[0],
        lambda: len(view),
        lambda: bytes(view),
        lambda: np.frombuffer(view, np.uint8),
    ):
        with pytest.raises(ValueError, match="released memoryview"):
            use()
    filled.refill_everything(1000)
    assert array.tobytes() == _expected([7])
    del array
    assert client.table.pinned_entries == 0


def test_views_are_read_only(filled: CellArena) -> None:
    client = Client(filled.owner)
    for view in (_one(client), _several(client)):
        array = np.frombuffer(view, np.uint8)
        assert view.readonly
        assert not array.flags.writeable
        assert pa.py_buffer(view).is_mutable is False
        with pytest.raises(TypeError, match="read-only memory"):
            view[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


@pytest.mark.parametrize("make_view", [_one, _several])
def test_a_view_that_somebody_uses_directly_is_not_released(
    filled: CellArena, make_view: Callable[[Client], memoryview]
) -> None:
    """CPython refuses it (numpy takes a memoryview of its own, Arrow uses ours): then our view stays valid, and the pin stays."""
    client = Client(filled.owner)
    view = make_view(client)
    buffer = pa.py_buffer(view)
    with pytest.raises(BufferError, match="exported buffer"):
        view.release()
    assert len(view) == buffer.size
    del buffer
    view.release()
    assert client.table.pinned_entries == 0


@pytest.mark.parametrize("length", [0, 1, 100, PAGE_BYTES - 1, PAGE_BYTES])
def test_a_view_is_as_long_as_the_content(arena: CellArena, length: int) -> None:
    arena.fill(digest_of(1), length)
    client = Client(arena.owner)
    view = client.view(digest_of(1))
    assert (len(view), view.format, view.ndim, view.contiguous) == (length, "B", 1, True)
    assert bytes(view) == pattern(digest_of(1), 1, length)
    del view
    assert client.table.pinned_entries == 0


def test_a_spanning_view_of_shuffled_slots_with_a_partial_last_page(filled: CellArena) -> None:
    filled.evict(filled.owner.find(digest_of(60)))
    filled.fill(digest_of(99), 1234)
    numbers = random.Random(2).sample(range(60), 60)
    client = Client(filled.owner)
    view = client.spanning([*(digest_of(number) for number in numbers), digest_of(99)])
    assert len(view) == 60 * PAGE_BYTES + 1234
    last = filled.owner.generation(filled.owner.find(digest_of(99)))
    assert bytes(view) == _expected(numbers) + pattern(digest_of(99), last, 1234)
    assert client.table.pinned_entries == 61
    array = np.frombuffer(view, np.uint8)
    del view
    filled.refill_everything(1000)
    assert array[: 60 * PAGE_BYTES].tobytes() == _expected(numbers)
    del array
    assert client.table.pinned_entries == 0


def test_neighbours_share_one_mapping(monkeypatch: pytest.MonkeyPatch, arena: CellArena) -> None:
    arena.free_cells.reverse()  # pop from the end: ascending offsets
    arena.free_cells.sort(reverse=True)
    for number in range(8):
        arena.fill(digest_of(number))
    lengths: list[int] = []
    overlay = view_module._overlay

    def counted(address: int, piece: Piece, fd: int) -> None:
        lengths.append(piece.length)
        overlay(address, piece, fd)

    monkeypatch.setattr(view_module, "_overlay", counted)
    client = Client(arena.owner)
    view = client.spanning([digest_of(number) for number in (0, 1, 2, 5, 6, 4)])
    assert lengths == [3 * PAGE_BYTES, 2 * PAGE_BYTES, PAGE_BYTES]
    assert bytes(view) == _expected([0, 1, 2, 5, 6, 4])


def test_the_map_behind_a_view_cannot_be_closed_under_an_array(filled: CellArena) -> None:
    client = Client(filled.owner)
    view = _several(client)
    array = np.frombuffer(view, np.uint8)
    whole = view.obj
    assert isinstance(whole, SpanningMap)
    view.release()
    with pytest.raises(BufferError):
        whole.close()
    del whole
    assert array.tobytes() == _expected([7, 3, 50])


def test_views_survive_the_readers_close_and_the_owners_end(filled: CellArena) -> None:
    client = Client(filled.owner)
    arrays = [np.frombuffer(view, np.uint8) for view in (_one(client), _several(client))]
    table = client.table
    client.close()
    del client
    filled.close()
    filled.instance.remove()  # even its names are gone
    gc.collect()
    assert arrays[0].tobytes() == _expected([7])
    assert arrays[1].tobytes() == _expected([7, 3, 50])
    arrays.clear()
    assert table.pinned_entries == 0


def test_the_last_view_takes_the_mapping_with_it(filled: CellArena) -> None:
    client = Client(filled.owner)
    name = filled.owner.segment.name

    def mappings() -> int:
        with open("/proc/self/maps") as lines:
            return sum(name in line for line in lines)

    before, descriptors = mappings(), descriptor_count()
    view = client.view(digest_of(7))
    client.close()
    del client
    assert mappings() == before
    del view
    assert mappings() == before - 1, "the owner's own is left"
    assert descriptor_count() < descriptors


def _pieces(client: Client, count: int) -> list[Piece]:
    first = client.reader.geometry.data_offset
    return [Piece(first + number % 64 * PAGE_BYTES, PAGE_BYTES) for number in range(0, 2 * count, 2)]


def test_too_little_address_space_is_a_quota_error(filled: CellArena) -> None:
    client = Client(filled.owner)

    def child() -> None:
        room = 1 << 40
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        piece = Piece(client.reader.geometry.data_offset, room)
        with pytest.raises(
            QuotaExceeded, match=r"mapping 1,099,511,627,776 bytes failed: Cannot allocate.*ulimit -v"
        ):
            spanning_view(client.reader.segment.fd, [piece], lambda: pytest.fail("not released"))

    assert in_child(child) == 0


def test_too_many_mappings_is_a_quota_error_and_releases_nothing(filled: CellArena) -> None:
    """In a child: at vm.max_map_count every mmap of a process fails, malloc's too."""
    with open("/proc/sys/vm/max_map_count") as limit:
        mappings_max = int(limit.read())
    if mappings_max > 1 << 20:
        pytest.skip(f"vm.max_map_count is {mappings_max}")
    client = Client(filled.owner)
    released: list[int] = []

    def child() -> None:
        pieces = _pieces(client, mappings_max + 10)
        error: QuotaExceeded | None = None
        try:
            spanning_view(client.reader.segment.fd, pieces, lambda: released.append(1))
        except QuotaExceeded as caught:
            error = caught.with_traceback(None)
        assert error is not None
        assert "vm.max_map_count" in str(error)
        assert released == []
        whole = mmap.mmap(-1, PAGE_BYTES)  # the refused view is gone, and with it its mappings
        whole.close()

    assert in_child(child) == 0


def test_a_refused_overlay_releases_nothing(filled: CellArena) -> None:
    client = Client(filled.owner)
    with pytest.raises(QuotaExceeded, match="Bad file descriptor"):
        spanning_view(-1, _pieces(client, 1), lambda: pytest.fail("not released"))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "at least one piece"),
        ([Piece(PAGE_BYTES, 0)], "no empty one"),
        ([Piece(PAGE_BYTES, 100), Piece(0, 1)], "not whole pages"),
        ([Piece(PAGE_BYTES, 0), Piece(0, 1)], "not whole pages"),
        ([Piece(100, PAGE_BYTES)], "does not begin a page"),
    ],
)
def test_impossible_pieces(filled: CellArena, pieces: list[Piece], message: str) -> None:
    with pytest.raises(ShmError, match=message):
        spanning_view(filled.owner.segment.fd, pieces, lambda: None)


def test_release_runs_exactly_once(filled: CellArena) -> None:
    runs: list[int] = []
    view = spanning_view(filled.owner.segment.fd, [Piece(0, 10)], lambda: runs.append(1))
    parts = [view[1:], np.frombuffer(view, np.uint8)]
    view.release()
    assert runs == []
    parts.clear()
    gc.collect()
    assert runs == [1]


def test_a_span_is_put_together_of_files_that_are_closed_and_deleted_and_keeps_its_bytes(
    tmp_path: Path,
) -> None:
    page = mmap.PAGESIZE
    released: list[int] = []
    span = PlacedSpan(2 * page + 5)
    for at, data in ((2 * page, b"tail!"), (0, b"a" * page), (page, b"b" * page)):
        path = tmp_path / "piece"
        path.write_bytes(data + b"what is behind it")
        fd = os.open(path, os.O_RDONLY)
        span.place(at, fd, Piece(0, len(data)))
        os.close(fd)
        path.unlink()
    view = span.view(lambda: released.append(1))
    del span
    assert view.readonly
    assert bytes(view) == b"a" * page + b"b" * page + b"tail!"
    part = view[page:]
    view.release()
    assert not released
    assert bytes(part[:1]) == b"b"
    part.release()
    gc.collect()
    assert released == [1]


@pytest.mark.parametrize(
    ("at", "offset", "length"), [(1, 0, 1), (0, 1, 1), (0, 0, 0), (0, 0, 10), (8192, 0, 2), (0, 0, 8194)]
)
def test_pieces_that_do_not_fit_a_span_are_refused(at: int, offset: int, length: int) -> None:
    with pytest.raises(ShmError, match="piece"):
        PlacedSpan(8193).place(at, -1, Piece(offset, length))
