"""The protocol broken on purpose, one rule at a time: proof that the simulator would find it. Each is a context manager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock

from cashy.core.coherence import Grant, Leases, Promises, Round, Terms, quorums
from cashy.core.membership import Counting, Listed
from cashy.master.catalog import Catalog
from cashy.master.coherence import Coherence
from shmipc.arena import ArenaOwner
from shmipc.layout import NEVER_ENDS

__all__ = ["MUTATIONS"]

_Mutation = Callable[[], AbstractContextManager[object]]


def _over_as_soon_as_enough_know(self: Round) -> int | None:
    write, _ = quorums(len(self.hosts))
    return 0 if len(self._noted) >= write else None


def _without_waiting() -> AbstractContextManager[object]:
    """A change is over when enough hosts have noted it, whatever was promised to the others."""
    return mock.patch.object(Round, "over_at", _over_as_soon_as_enough_know)


def _messages_only() -> AbstractContextManager[object]:
    """Changes are told by messages and nothing else, as before there were leases."""
    stack = ExitStack()
    always = mock.Mock(side_effect=lambda now_ns: Terms(NEVER_ENDS, 0))
    stack.enter_context(mock.patch.object(Leases, "terms", always))
    stack.enter_context(mock.patch.object(Round, "over_at", _over_as_soon_as_enough_know))
    return stack


def _nothing_is_doubted() -> AbstractContextManager[object]:
    """After a gap, or a restart, what was validated before it counts again."""
    return mock.patch.object(ArenaOwner, "set_doubted_before", return_value=None)


def _counts_at_once() -> AbstractContextManager[object]:
    """A host that has just started counts among those that noted a change, though it has forgotten its promises."""
    return mock.patch.object(Promises, "counts_in_ns", return_value=0)


def _late_answers_are_kept() -> AbstractContextManager[object]:
    """An answer to a question from before a change is kept."""

    def is_outdated(self: Catalog, url: str, asked_at: int) -> bool:
        return url in self._being_changed or self._is_marked(url)

    return mock.patch.object(Catalog, "_is_outdated", is_outdated)


def _leases_tell_nothing() -> AbstractContextManager[object]:
    """Who was not told of a change learns nothing with its next lease."""
    real = Promises.grant

    def grant(self: Promises, *args: Any) -> Grant:
        return real(self, *args)._replace(changes=())

    return mock.patch.object(Promises, "grant", grant)


def _one_lease_is_enough() -> AbstractContextManager[object]:
    """A host believes what it knows with one lease less than it needs."""
    return mock.patch.object(
        Leases, "_needed", staticmethod(lambda names: max(1, quorums(len(names))[1] - 1))
    )


def _lease_from_the_answer() -> AbstractContextManager[object]:
    """A lease begins when the answer has come, and not when the question was sent."""
    real = Leases.granted

    def granted(self: Leases, host: str, grant: Grant, asked_ns: int, now_ns: int) -> None:
        real(self, host, grant, now_ns, now_ns)

    return mock.patch.object(Leases, "granted", granted)


def _incarnations_are_alike() -> AbstractContextManager[object]:
    """A host that starts anew goes on with the leases of its predecessor as if it knew its changes."""
    real = Leases.granted

    def granted(self: Leases, host: str, grant: Grant, asked_ns: int, now_ns: int) -> None:
        self._held[host].incarnation = grant.incarnation
        real(self, host, grant._replace(is_complete=True), asked_ns, now_ns)

    return mock.patch.object(Leases, "granted", granted)


def _answered_early() -> AbstractContextManager[object]:
    """A writer's answer does not wait for the others."""

    async def end(self: Coherence, names: object) -> None:
        self._begin_soon = [self._make_known(names, is_over=True)]  # type: ignore[attr-defined,arg-type]
        self._begin_soon[0].close()  # type: ignore[attr-defined]

    return mock.patch.object(Coherence, "end", end)


def _master_believes_always() -> AbstractContextManager[object]:
    """A master answers out of what it knows, clients and other hosts, though it is not coherent."""

    def current_until(self: Catalog, name: object, slot: int) -> int:
        return self._store.arena.fields(slot).valid_until_ns

    return mock.patch.object(Catalog, "_current_until", current_until)


def _newest_list_only() -> AbstractContextManager[object]:
    """A host counts by the list that it got last, whatever others go by."""
    return mock.patch.object(Counting, "electorates", lambda self: [self.newest.names])


def _nobody_is_waited_for() -> AbstractContextManager[object]:
    """A host forgets the older lists without the others' word."""
    return mock.patch.object(Counting, "unconfirmed", return_value=[])


def _newcomers_act() -> AbstractContextManager[object]:
    """A host without memory acts by the list that it finds."""

    def begun_with(own: str, listed: Listed) -> Counting:
        return Counting(own, [listed], forgot=False)

    return mock.patch.object(Counting, "begun_with", begun_with)


#: By name; each must be found.
MUTATIONS: dict[str, _Mutation] = {
    "messages-only": _messages_only,
    "without-waiting": _without_waiting,
    "nothing-is-doubted": _nothing_is_doubted,
    "counts-at-once": _counts_at_once,
    "late-answers-are-kept": _late_answers_are_kept,
    "leases-tell-nothing": _leases_tell_nothing,
    "one-lease-less": _one_lease_is_enough,
    "lease-from-the-answer": _lease_from_the_answer,
    "incarnations-are-alike": _incarnations_are_alike,
    "answered-early": _answered_early,
    "master-believes-always": _master_believes_always,
    "newest-list-only": _newest_list_only,
    "nobody-is-waited-for": _nobody_is_waited_for,
    "newcomers-act": _newcomers_act,
}
