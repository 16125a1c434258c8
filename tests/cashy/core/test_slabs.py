"""The slab allocator against a naive model, and its rules one by one."""

from __future__ import annotations

import gc
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from cashy.core.slabs import SLAB_BYTES_DEFAULT, SlabAllocator, size_classes

KIB = 1024
SLAB = 64 * KIB


def test_size_classes_are_the_documented_steps() -> None:
    assert size_classes(SLAB) == (512, 1024, 2048, 4096, 8192, 12288, 16384, 24576, 32768, 65536)
    assert size_classes(SLAB_BYTES_DEFAULT)[-4:] == (1024 * KIB, 1536 * KIB, 2048 * KIB, 4096 * KIB)


@pytest.mark.parametrize("power", range(16, 31))
def test_size_classes_are_page_multiples_that_waste_little(power: int) -> None:
    classes = size_classes(1 << power)
    assert classes[-1] == 1 << power
    assert list(classes) == sorted(set(classes))
    assert all(size % 4096 == 0 for size in classes if size >= 4096)
    assert all(larger <= 2 * smaller for smaller, larger in itertools.pairwise(classes))
    assert len(classes) <= 64


@pytest.mark.parametrize("slab_bytes", [0, 4096, 32 * KIB, 64 * KIB + 1, 96 * KIB, -65536])
def test_a_slab_that_is_no_power_of_two_or_too_small_is_refused(slab_bytes: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        size_classes(slab_bytes)


def test_an_area_without_a_whole_slab_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no slab"):
        SlabAllocator(SLAB - 1, SLAB)
    assert SlabAllocator(2 * SLAB - 1, SLAB).slab_count == 1


@pytest.mark.parametrize(
    ("size", "min_bytes", "cell"),
    [
        (0, 512, 512),
        (512, 512, 512),
        (513, 512, 1024),
        (100, 4096, 4096),
        (8193, 512, 12288),
        (12289, 512, 16384),
    ],
)
def test_class_for_is_the_smallest_that_fits(size: int, min_bytes: int, cell: int) -> None:
    allocator = SlabAllocator(SLAB, SLAB)
    assert allocator.class_sizes[allocator.class_for(size, min_bytes)] == cell


def test_class_for_at_the_limit_and_above() -> None:
    allocator = SlabAllocator(SLAB, SLAB)
    assert allocator.class_sizes[allocator.class_for(SLAB)] == SLAB
    with pytest.raises(ValueError, match="do not fit"):
        allocator.class_for(SLAB + 1)


def test_slabs_fill_up_before_another_is_opened_and_come_back_when_empty() -> None:
    allocator = SlabAllocator(3 * SLAB, SLAB)
    half = allocator.class_for(SLAB // 2)
    offsets = [allocator.take(half) for _ in range(6)]
    assert offsets == [0, SLAB // 2, SLAB, SLAB + SLAB // 2, 2 * SLAB, 2 * SLAB + SLAB // 2]
    assert allocator.take(half) is None
    assert allocator.take(allocator.class_for(1)) is None
    allocator.give(SLAB)
    assert allocator.take(allocator.class_for(1)) is None
    allocator.give(SLAB + SLAB // 2)
    assert allocator.class_of(1) is None
    assert allocator.take(allocator.class_for(1)) == SLAB
    allocator.check_invariants()


def test_the_leftover_of_a_slab_is_unused_and_accounted_for() -> None:
    allocator = SlabAllocator(SLAB, SLAB)
    index = allocator.class_for(12288)
    assert [allocator.take(index) for _ in range(6)] == [0, 12288, 24576, 36864, 49152, None]
    assert (allocator.used_bytes, allocator.free_bytes, allocator.leftover_bytes) == (5 * 12288, 0, 4096)


@pytest.mark.parametrize("offset", [0, 512, 1024, 100, SLAB, 5 * SLAB, -512])
def test_giving_back_what_is_not_in_use_is_a_bug_that_raises(offset: int) -> None:
    allocator = SlabAllocator(2 * SLAB, SLAB)
    first, second = allocator.take(0), allocator.take(0)
    assert (first, second) == (0, 512)
    allocator.give(0)
    if offset == 512:
        allocator.give(512)
    with pytest.raises(ValueError, match="not that of a cell in use"):
        allocator.give(offset)
    allocator.check_invariants()


@pytest.mark.parametrize(
    ("offset", "class_index", "reason"),
    [
        (0, 0, "in use already"),
        (1024, 1, "has cells of 512 bytes already"),
        (SLAB + 100, 0, "no cell of 512"),
        (SLAB + 60 * KIB, 5, "no cell of 12288"),
        (2 * SLAB, 0, "no cell of 512"),
        (-512, 0, "no cell of 512"),
        (SLAB, 10, "no size class 10"),
        (SLAB, -1, "no size class -1"),
    ],
)
def test_adopting_what_contradicts_changes_nothing(offset: int, class_index: int, reason: str) -> None:
    allocator = SlabAllocator(2 * SLAB, SLAB)
    allocator.adopt(0, 0)
    with pytest.raises(ValueError, match=reason):
        allocator.adopt(offset, class_index)
    allocator.check_invariants()
    assert (allocator.used_cells, allocator.free_slab_count) == (1, 1)


def test_a_slab_of_one_cell_cannot_be_adopted_twice() -> None:
    allocator = SlabAllocator(2 * SLAB, SLAB)
    allocator.adopt(SLAB, 9)
    with pytest.raises(ValueError, match="in use already"):
        allocator.adopt(SLAB, 9)
    assert allocator.take(9) == 0
    assert allocator.take(9) is None


def test_a_million_cells_are_few_objects_for_the_garbage_collector() -> None:
    gc.collect()
    before = len(gc.get_objects())
    allocator = SlabAllocator(512 << 20, 1 << 20)
    offsets = sum(allocator.take(0) is not None for _ in range(1_000_000))
    assert offsets == 1_000_000
    assert len(gc.get_objects()) - before < 100


class AgainstTheNaiveModel(RuleBasedStateMachine):
    """The model is a dict of the cells in use: nothing overlaps, nothing is lost, None only when there is no room."""

    cells = Bundle("cells")
    class_indices = st.sampled_from([0, 1, 3, 4, 5, 6, 7, 8, 9])

    @initialize(slabs=st.integers(1, 5), slack=st.integers(0, SLAB - 1))
    def start(self, slabs: int, slack: int) -> None:
        self.arena_bytes = slabs * SLAB + slack
        self.allocator = SlabAllocator(self.arena_bytes, SLAB)
        self.model: dict[int, int] = {}

    def could_take(self, class_index: int) -> bool:
        sizes = self.allocator.class_sizes
        by_slab: dict[int, list[int]] = {}
        for offset, index in self.model.items():
            by_slab.setdefault(offset // SLAB, []).append(index)
        if len(by_slab) < self.arena_bytes // SLAB:
            return True
        return any(
            held[0] == class_index and len(held) < SLAB // sizes[class_index] for held in by_slab.values()
        )

    def record(self, offset: int, class_index: int) -> None:
        end = offset + self.allocator.class_sizes[class_index]
        assert offset >= 0
        assert end <= self.arena_bytes
        assert offset // SLAB == (end - 1) // SLAB
        for other, index in self.model.items():
            assert end <= other or other + self.allocator.class_sizes[index] <= offset
        self.model[offset] = class_index

    @rule(target=cells, class_index=class_indices, count=st.integers(1, 40))
    def take(self, class_index: int, count: int) -> object:
        taken = []
        for _ in range(count):
            possible = self.could_take(class_index)
            offset = self.allocator.take(class_index)
            assert (offset is not None) == possible
            if offset is None:
                break
            self.record(offset, class_index)
            taken.append(offset)
        return multiple(*taken)

    @rule(offset=consumes(cells))
    def give(self, offset: int) -> None:
        self.allocator.give(offset)
        del self.model[offset]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def empty_a_slab(self, data: st.DataObject) -> None:
        # Cells of the bundle that are gone by this rule are never given again: the slab is refilled at once.
        slab = self.allocator.slab_of(data.draw(st.sampled_from(sorted(self.model))))
        gone = list(self.allocator.cells_of(slab))
        assert gone == sorted(offset for offset in self.model if offset // SLAB == slab)
        class_index = self.model[gone[0]]
        for offset in gone:
            self.allocator.give(offset)
        assert self.allocator.class_of(slab) is None
        for offset in reversed(gone):
            self.allocator.adopt(offset, class_index)

    @rule(data=st.data())
    def rebuild(self, data: st.DataObject) -> None:
        rebuilt = SlabAllocator(self.arena_bytes, SLAB)
        for offset in data.draw(st.permutations(sorted(self.model))):
            rebuilt.adopt(offset, self.model[offset])
        assert rebuilt.free_bytes == self.allocator.free_bytes
        assert rebuilt.leftover_bytes == self.allocator.leftover_bytes
        self.allocator = rebuilt

    @invariant()
    def counts_agree(self) -> None:
        allocator = self.allocator
        allocator.check_invariants()
        sizes = allocator.class_sizes
        assert allocator.used_cells == len(self.model)
        assert allocator.used_bytes == sum(sizes[index] for index in self.model.values())
        assert (
            allocator.used_bytes + allocator.free_bytes + allocator.leftover_bytes
            == allocator.slab_count * SLAB
        )
        for class_index in range(len(sizes)):
            cells = sorted(offset for offset, index in self.model.items() if index == class_index)
            slabs = list(allocator.slabs_of(class_index))
            assert [offset for slab in slabs for offset in allocator.cells_of(slab)] == cells
            assert allocator.used_cells_of(class_index) == len(cells)
            assert allocator.slab_count_of(class_index) == len(slabs)


AgainstTheNaiveModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstTheNaiveModel = AgainstTheNaiveModel.TestCase
