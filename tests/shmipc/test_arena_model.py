"""The owner and its clients, any order of calls, against a model that only knows who holds what."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.shmipc.support import FAMILY, CellArena, Client, digest_of, pattern, remove_instance

from shmipc.fence import register_reader
from shmipc.instance import Instance
from shmipc.layout import PAGE_BYTES
from shmipc.states import State

CELLS = 5
NUMBERS = st.integers(0, 7)
_names = itertools.count()


@dataclass
class Content:
    """What the model knows of one slot's present content."""

    number: int
    generation: int
    state: State
    written: bool = False
    attached: int = 0
    held: int = 0
    pins: list[tuple[int, int]] = field(default_factory=list)  # client, entry

    @property
    def is_in_use(self) -> bool:
        return bool(self.attached or self.held or self.pins)


class ArenaModel(RuleBasedStateMachine):
    """Slots that are pinned, held or attached are never reused and their bytes never change."""

    def __init__(self) -> None:
        super().__init__()
        register_reader()
        self.name = f"{os.getpid()}-model{next(_names)}"
        self.instance = Instance(FAMILY, self.name)
        self.instance.acquire()
        self.arena = CellArena(self.instance, cells=CELLS, spare_slots=2)
        self.clients: dict[int, Client] = {}
        self.slots: dict[int, Content] = {}
        self.generations: dict[int, int] = {}
        self.serial = itertools.count()

    @initialize()
    def two_clients(self) -> None:
        self.connect()
        self.connect()

    def _in(self, *states: State) -> list[int]:
        return sorted(slot for slot, content in self.slots.items() if content.state in states)

    # --- the owner fills ---

    @precondition(lambda self: self.arena.free_cells)
    @rule(number=NUMBERS)
    def lease(self, number: int) -> None:
        slot = self.arena.lease(digest_of(number))
        assert slot not in self.slots, "a slot in use was leased"
        generation = self.arena.owner.generation(slot)
        assert generation == self.generations.get(slot, 0) + 1
        self.generations[slot] = generation
        self.slots[slot] = Content(number, generation, State.FILLING)

    @precondition(lambda self: self._in(State.FILLING))
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self._in(State.FILLING)))
        self._write(slot)
        self.arena.owner.publish(slot, 0)
        self.slots[slot].state = State.READY

    def _write(self, slot: int) -> None:
        self.arena.write(slot)
        self.arena.owner.advance(slot, PAGE_BYTES)
        self.slots[slot].written = True

    @precondition(lambda self: self._in(State.FILLING))
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        self._write(data.draw(st.sampled_from(self._in(State.FILLING))))

    @precondition(lambda self: self._in(State.FILLING))
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self._in(State.FILLING)))
        self.arena.owner.abort(slot)
        self.slots[slot].state = State.RETIRED

    @precondition(lambda self: self._in(State.READY))
    @rule(data=st.data())
    def invalidate(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self._in(State.READY)))
        self.arena.owner.invalidate(slot)
        self.slots[slot].state = State.RETIRED

    # --- the owner holds ---

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), attach=st.booleans())
    def take(self, data: st.DataObject, attach: bool) -> None:
        slot = data.draw(st.sampled_from(sorted(self.slots)))
        if attach:
            self.arena.owner.attach(slot)
            self.slots[slot].attached += 1
        else:
            self.arena.owner.hold(slot)
            self.slots[slot].held += 1

    @precondition(lambda self: any(c.attached or c.held for c in self.slots.values()))
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        taken = [slot for slot, content in self.slots.items() if content.attached or content.held]
        slot = data.draw(st.sampled_from(sorted(taken)))
        content = self.slots[slot]
        if content.attached:
            self.arena.owner.detach(slot)
            content.attached -= 1
        else:
            self.arena.owner.unhold(slot)
            content.held -= 1

    # --- clients ---

    @precondition(lambda self: len(self.clients) < 4)
    @rule()
    def connect(self) -> None:
        self.clients[next(self.serial)] = Client(self.arena.owner)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), number=NUMBERS)
    def pin(self, data: st.DataObject, number: int) -> None:
        client = data.draw(st.sampled_from(sorted(self.clients)))
        hit = self.clients[client].pin(digest_of(number))
        ready = {slot for slot in self._in(State.READY) if self.slots[slot].number == number}
        if hit is None:
            # the index keeps the newest slot of a digest; with that one gone an older one may be missed
            assert len(ready) == 0 or self.arena.owner.find(digest_of(number)) == -1
            return
        assert hit.slot in ready
        assert hit.generation == self.slots[hit.slot].generation
        self.slots[hit.slot].pins.append((client, hit.entry))

    @precondition(lambda self: self.clients and self._in(State.FILLING))
    @rule(data=st.data())
    def pin_filling(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.clients)))
        slot = data.draw(st.sampled_from(self._in(State.FILLING)))
        content, connection = self.slots[slot], self.clients[client]
        digest = digest_of(content.number)
        pin_slot = connection.reader.pin_slot
        assert pin_slot(connection.table, digest, slot, content.generation) is None, (
            "not without asking for it"
        )
        assert pin_slot(connection.table, digest, slot, content.generation + 1, filling=True) is None
        assert pin_slot(connection.table, digest_of(99), slot, content.generation, filling=True) is None
        hit = pin_slot(connection.table, digest, slot, content.generation, filling=True)
        assert hit is not None
        content.pins.append((client, hit.entry))

    @precondition(lambda self: any(content.pins for content in self.slots.values()))
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(s for s, content in self.slots.items() if content.pins)))
        client, entry = self.slots[slot].pins.pop(0)
        self.clients[client].table.unpin(entry)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.clients)))
        connection = self.clients.pop(client)
        for content in self.slots.values():
            for holder, entry in list(content.pins):
                if holder == client:
                    connection.table.unpin(entry)
                    content.pins.remove((holder, entry))
        connection.close()
        assert connection.serial in self.arena.owner.tables.retire_abandoned()

    # --- the owner frees ---

    @precondition(lambda self: self._in(State.READY))
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        slots = data.draw(st.lists(st.sampled_from(self._in(State.READY)), unique=True, min_size=1))
        held = self.arena.evict(*slots)
        assert set(held) == {slot for slot in slots if self.slots[slot].is_in_use}
        for slot in set(slots) - set(held):
            del self.slots[slot]

    @rule()
    def reclaim_retired(self) -> None:
        free = {slot for slot in self._in(State.RETIRED) if not self.slots[slot].is_in_use}
        assert self.arena.reclaim_retired() == len(free)
        for slot in free:
            del self.slots[slot]

    @rule()
    def restart(self) -> None:
        """The owner dies and another one takes over: holds and transfers die with it, pins do not."""
        self.arena.close()
        self.instance.close()
        self.instance = Instance(FAMILY, self.name)
        self.instance.acquire()
        self.arena = CellArena(self.instance, cells=CELLS, spare_slots=2)
        assert self.arena.adopted
        assert len(self.arena.owner.tables) == len(self.clients)
        for slot, content in list(self.slots.items()):
            content.attached = content.held = 0
            if content.state is not State.READY:
                content.state = State.RETIRED
                if not content.pins:
                    del self.slots[slot]

    # --- always ---

    @invariant()
    def states_and_generations_are_the_models(self) -> None:
        owner = self.arena.owner
        for slot in range(owner.geometry.slot_count):
            content = self.slots.get(slot)
            assert owner.state(slot) is (content.state if content else State.FREE)
            assert owner.generation(slot) == self.generations.get(slot, 0)
        assert owner.retired_slots() == set(self._in(State.RETIRED))
        assert owner.free_slots == owner.geometry.slot_count - len(self.slots)
        assert len(self.arena.free_cells) == CELLS - len(self.slots)

    @invariant()
    def what_was_written_is_unchanged(self) -> None:
        for slot, content in self.slots.items():
            if content.written:
                expected = pattern(digest_of(content.number), content.generation, PAGE_BYTES)
                assert self.arena.owner.content(slot) == expected

    @invariant()
    def the_owner_finds_only_what_is_ready(self) -> None:
        for number in range(8):
            slot = self.arena.owner.find(digest_of(number))
            assert slot == -1 or self.slots[slot].number == number

    def teardown(self) -> None:
        for client in list(self.clients.values()):
            client.close()
        self.arena.close()
        self.instance.close()
        remove_instance(self.name)


ArenaModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestArenaModel = ArenaModel.TestCase
