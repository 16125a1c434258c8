"""A host that is connected and answers no reads is passed over at once, and comes back by one read that tries."""

from __future__ import annotations

from cashy.core.breaker import FAILURES_MAX, State
from cashy.errors import NoSuchObject
from cashy.peer.errors import PeerCorrupt, PeerTimeout, PeerUnavailable

from .hosts import Ask, MemoryService, Served, on_both_loops, pair, pattern, until

DATA = pattern(5, 10_000)
SILENCE_S = 1.1


def _silent(served: Served) -> None:
    """Answers nothing, and is at no origin."""


@on_both_loops
async def test_a_host_that_gives_no_sign_is_passed_over_and_tried_again() -> None:
    service = MemoryService({"o": DATA}, on_read=_silent)
    async with pair(service) as (peer, _):
        for error in [
            await ask.error() for ask in [Ask(peer, "o", silence_s=SILENCE_S) for _ in range(FAILURES_MAX)]
        ]:
            assert isinstance(error, PeerTimeout)
        assert peer.is_up
        assert not peer.is_worth_trying()
        assert peer.counters()["breaker_state"] == State.OPEN.value
        seen = len(service.reads)
        error = await Ask(peer, "o").error()
        assert isinstance(error, PeerUnavailable)
        assert "passed over" in error.message
        assert len(service.reads) == seen, "it was not asked"
        await until(peer.is_worth_trying)
        service.on_read = None
        assert await Ask(peer, "o").data() == DATA
        assert peer.counters()["breaker_state"] == State.CLOSED.value
        assert peer.counters()["breaker_opened_total"] == 1


@on_both_loops
async def test_a_host_whose_bytes_are_wrong_each_time_is_passed_over() -> None:
    async with pair(MemoryService({"o": DATA})) as (peer, _):
        ask = Ask(peer, "o")
        assert await ask.data() == DATA
        for number in range(FAILURES_MAX):
            assert peer.is_worth_trying(), number
            peer._judge(ask.read.state, PeerCorrupt("the checksum is wrong"))
        assert not peer.is_worth_trying()


@on_both_loops
async def test_answers_that_say_no_and_readers_in_a_hurry_do_not_count() -> None:
    service = MemoryService({"o": DATA})
    async with pair(service) as (peer, _):
        for _ in range(FAILURES_MAX):
            assert isinstance(await Ask(peer, "none").error(), NoSuchObject)
        service.on_read = _silent
        for _ in range(FAILURES_MAX):
            ask = Ask(peer, "o")
            await until(lambda: service.reads)
            ask.cancel()
        assert isinstance(await Ask(peer, "o", deadline_s=0.1).error(), PeerTimeout)
        assert peer.is_worth_trying()
        assert peer.counters()["breaker_state"] == State.CLOSED.value
