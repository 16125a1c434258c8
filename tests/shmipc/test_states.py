"""The slot's life cycle: complete, closed, drawn."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from shmipc.errors import StateError
from shmipc.states import TRANSITIONS, Event, State, after, diagram

DIAGRAM = Path(__file__).resolve().parents[2] / "docs" / "slot-states.md"


def test_every_state_is_reached_from_free_and_leads_back_to_it() -> None:
    def reached(start: State) -> set[State]:
        seen = {start}
        while True:
            more = {to for (state, _), to in TRANSITIONS.items() if state in seen} - seen
            if not more:
                return seen
            seen |= more

    for state in State:
        assert reached(state) == set(State), f"from {state.name}"


def test_every_event_is_used() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_a_pair_is_in_the_table_or_an_error(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(StateError, match=f"{state.name} cannot {event.value}"):
            after(state, event)


def test_only_free_slots_are_leased_and_only_two_states_become_free() -> None:
    assert [state for state, event in TRANSITIONS if event is Event.LEASE] == [State.FREE]
    assert {state for (state, _), to in TRANSITIONS.items() if to is State.FREE} == {
        State.EVICTING,
        State.RETIRED,
    }


def test_the_diagram_in_the_documentation_is_that_of_the_table() -> None:
    assert f"```mermaid\n{diagram()}```" in DIAGRAM.read_text(), (
        "regenerate: python -m shmipc.states, between the mermaid fences of docs/slot-states.md"
    )
