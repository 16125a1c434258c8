"""Mappings are kept for the next view of the same pieces, within limits, and hold nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.shmipc.support import CellArena, Client, digest_of, in_child, pattern

from shmipc import kept_spans
from shmipc import view as view_module
from shmipc.errors import QuotaExceeded
from shmipc.kept_spans import KeptSpans
from shmipc.layout import PAGE_BYTES
from shmipc.view import Piece, SpanningMap, address_of, spanning_map


class Quota:
    """Counts mappings that were taken and not given back."""

    def __init__(self) -> None:
        self.taken = 0

    def reserve(self, mappings: int) -> Callable[[], object]:
        self.taken += mappings

        def give_back() -> None:
            self.taken -= mappings

        return give_back


class Reader:
    """Views of numbered blocks of an arena."""

    def __init__(self, arena: CellArena, **limits: int) -> None:
        self.client = Client(arena.owner)
        self.quota = Quota()
        self.spans = KeptSpans(self.client.reader.segment.fd, **limits)

    def view(self, *numbers: int) -> memoryview:
        hits = [self.client.pin(digest_of(number)) for number in numbers]
        entries = [hit.entry for hit in hits if hit is not None]
        pieces = [Piece(hit.fields.offset, hit.fields.length) for hit in hits if hit is not None]
        assert len(pieces) == len(numbers)

        def release() -> None:
            for entry in entries:
                self.client.table.unpin(entry)

        return self.spans.view(pieces, release, self.quota.reserve)


def blocks(*numbers: int) -> bytes:
    return b"".join(pattern(digest_of(number), 1, PAGE_BYTES) for number in numbers)


@pytest.fixture
def filled(make_arena: Callable[..., CellArena]) -> CellArena:
    arena = make_arena(cells=16)
    for number in range(12):
        arena.fill(digest_of(number))
    return arena


def test_the_same_pieces_are_mapped_once(filled: CellArena) -> None:
    reader = Reader(filled)
    first = reader.view(3, 1, 7)
    assert first == blocks(3, 1, 7)
    at = address_of(first)
    again, other = reader.view(3, 1, 7), reader.view(1, 3, 7)
    assert address_of(again) == at
    assert again == blocks(3, 1, 7)
    assert address_of(other) != at
    assert other == blocks(1, 3, 7)
    assert reader.client.table.pinned_entries == 9
    array = np.frombuffer(first, np.uint8)
    del first, again, other
    assert reader.client.table.pinned_entries == 3
    del array
    assert reader.client.table.pinned_entries == 0
    last = reader.view(3, 1, 7)
    assert (address_of(last), last.readonly) == (at, True)


def test_what_is_kept_holds_no_block_and_shows_the_next_one(filled: CellArena) -> None:
    reader = Reader(filled)
    view = reader.view(3, 1)
    at = address_of(view)
    del view
    held = filled.evict(*(filled.owner.find(digest_of(number)) for number in (3, 1)))
    assert held == []
    filled.free_cells[-2:] = reversed(filled.free_cells[-2:])  # the same cells, in the same order
    for number in (33, 31):
        filled.fill(digest_of(number))
    again = reader.view(33, 31)
    assert address_of(again) == at
    generations = (filled.owner.generation(filled.owner.find(digest_of(number))) for number in (33, 31))
    expected = [
        pattern(digest_of(33), next(generations), PAGE_BYTES),
        pattern(digest_of(31), next(generations), PAGE_BYTES),
    ]
    assert again == b"".join(expected)


def test_the_oldest_goes_and_is_unmapped_with_its_last_view(filled: CellArena) -> None:
    reader = Reader(filled, spans_max=2)
    view = reader.view(0, 2)
    reader.view(4, 6).release()
    assert reader.quota.taken == 4
    reader.view(0, 2).release()  # used again: the other one is the oldest
    reader.view(8, 10).release()
    assert reader.quota.taken == 4
    reader.view(4, 6).release()
    assert reader.quota.taken == 6, "the first is no longer kept, and has a view"
    assert view == blocks(0, 2)
    del view
    assert reader.quota.taken == 4
    reader.spans.forget()
    assert reader.quota.taken == 0


def test_a_view_that_is_too_large_is_not_kept(filled: CellArena) -> None:
    reader = Reader(filled, bytes_max=2 * PAGE_BYTES)
    assert reader.view(0, 2, 4) == blocks(0, 2, 4)
    assert reader.quota.taken == 0
    reader.view(0, 2).release()
    reader.view(4, 6).release()
    assert reader.quota.taken == 2, "both together are too large"


def test_what_is_kept_gives_way_where_the_kernel_refuses(
    filled: CellArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(filled)
    reader.view(0, 2).release()

    def full(fd: int, pieces: tuple[Piece, ...], release: Callable[[], object]) -> SpanningMap:
        if reader.quota.taken > 2:
            raise QuotaExceeded("no room")
        return spanning_map(fd, pieces, release)

    monkeypatch.setattr(kept_spans, "spanning_map", full)
    view = reader.view(4, 6)
    assert view == blocks(4, 6)
    assert reader.quota.taken == 2
    with pytest.raises(QuotaExceeded):
        reader.view(8, 10)
    assert reader.quota.taken == 2


def test_a_forked_child_keeps_nothing_of_its_parents_and_its_views_stay(filled: CellArena) -> None:
    reader = Reader(filled)
    view = reader.view(0, 2)

    def child() -> None:
        reader.spans.after_fork_in_child()
        assert view == blocks(0, 2)
        assert not reader.spans._kept

    assert in_child(child) == 0
    assert address_of(reader.view(0, 2)) == address_of(view)


def test_mappings_have_few_sizes() -> None:
    """Each size has a type of exporter, which nothing forgets."""
    sizes = [1, PAGE_BYTES, PAGE_BYTES + 1, 17 * PAGE_BYTES, *range(1 << 20, 2 << 20, 4099), (1 << 40) + 1]
    classes = [view_module._size_class(size) for size in sizes]
    assert classes[:3] == [PAGE_BYTES, PAGE_BYTES, 2 * PAGE_BYTES]
    assert all(
        size <= found <= size * 9 // 8 + PAGE_BYTES and not found % PAGE_BYTES
        for size, found in zip(sizes, classes, strict=True)
    )
    assert len({found for found in classes if 1 << 20 < found <= 2 << 20}) == 8
