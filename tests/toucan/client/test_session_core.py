"""A session over any sequence of breaks: each request has one result, in order, within its window, and nothing is carried out twice."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client.calls import NO_TABLE, cancel
from toucan.client.errors import OutcomeUnknown, Refused, ServerUnavailable
from toucan.client.limits import SESSION_QUEUE_MAX, SESSION_WINDOW_MAX
from toucan.client.session_core import Result, SessionCore
from toucan.client.streams import OrderBatch

find = NO_TABLE.find


class Server:
    """The other end: answers each number once, and the same again."""

    def __init__(self) -> None:
        self.last_number = 0
        self.executed: list[int] = []
        self._answers: dict[int, int] = {}

    def answer(self, request: pb.SessionRequest) -> pb.SessionResponse:
        number = request.cancel.key.number
        if number not in self._answers:
            if number <= self.last_number:
                refusal = pb.SessionError(code=9)
                refusal.refusal.code = "REQUEST_SUPERSEDED"
                return pb.SessionResponse(tag=request.tag, error=refusal)
            self.last_number = number
            self.executed.append(request.cancel.order_id)
            self._answers[number] = len(self.executed)
        return pb.SessionResponse(tag=request.tag, cancel=pb.CancelOrderResponse(seq=self._answers[number]))


def open_core(core: SessionCore, last_number: int, now_s: float = 0.0) -> list[Result]:
    request, results = core.begin(now_s, 0.5)
    assert request.open.session == core.name
    core.take(pb.SessionResponse(opened=pb.SessionOpened(last_number=last_number, seq=1)), find, now_s, 0.5)
    return results


def outgoing(core: SessionCore, now_s: float) -> list[pb.SessionRequest]:
    found = []
    while (message := core.next_message(now_s)) is not None:
        found.append(message)
    return found


#: Per stream: requests added, how many of the sent ones arrive, how many of the answers come back, and how long it lasts.
_STREAMS = st.lists(
    st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(0, 90), st.floats(0, 3)), max_size=8
)


@settings(deadline=None)
@given(_STREAMS, st.integers(0, 50))
def test_each_request_has_one_true_result(
    streams: list[tuple[int, int, int, float]], used_before: int
) -> None:
    core, server, ids, now_s = SessionCore("s"), Server(), count(1), 0.0
    server.last_number = used_before
    results: list[Result] = []
    results += open_core(core, server.last_number)
    added = 0
    for adding, arriving, returning, lasting_s in [*streams, (0, 10**6, 10**6, 0.0), (0, 10**6, 10**6, 0.0)]:
        for _ in range(adding):
            core.add(cancel(next(ids)), now_s + 5.0)
            added += 1
        sent = outgoing(core, now_s)
        assert len(sent) <= SESSION_WINDOW_MAX
        numbers = [message.cancel.key.number for message in sent]
        assert numbers == sorted(numbers)
        assert all(number > used_before for number in numbers)
        answers = [server.answer(message) for message in sent[:arriving]]
        for answer in answers[:returning]:
            results += [one for one in core.take(answer, find, now_s, 0.5) if isinstance(one, Result)]
        now_s += lasting_s
        results += core.expire(now_s, 0.5)
        results += open_core(core, server.last_number, now_s)  # the stream broke off
    results += core.expire(now_s + 10.0, 0.5)
    assert core.unanswered == 0
    assert sorted(result.ticket.number for result in results) == sorted(
        {result.ticket.number for result in results}
    )
    assert len(results) == added
    assert len(server.executed) == len(set(server.executed))
    for result in results:
        order_id = result.ticket.message.cancel.order_id
        if result.error is None:
            assert order_id in server.executed
        elif not isinstance(result.error, OutcomeUnknown):
            assert order_id not in server.executed


def test_window_at_its_limit_and_one_more() -> None:
    core = SessionCore("s")
    open_core(core, 0)
    for order_id in range(SESSION_WINDOW_MAX + 1):
        core.add(cancel(order_id), 10.0)
    sent = outgoing(core, 0.0)
    assert len(sent) == SESSION_WINDOW_MAX
    assert core.wakes_at_s() is None
    core.take(pb.SessionResponse(tag=sent[0].tag, cancel=pb.CancelOrderResponse()), find, 0.0, 0.5)
    assert len(outgoing(core, 0.0)) == 1


def test_queue_at_its_limit_and_one_more() -> None:
    core = SessionCore("s")
    for order_id in range(SESSION_QUEUE_MAX):
        core.add(cancel(order_id), 10.0)
    with pytest.raises(Refused, match="wait to be sent; nothing was done with this one"):
        core.add(cancel(1), 10.0)


def test_numbers_go_on_after_the_last_one_that_was_answered() -> None:
    core = SessionCore("s")
    open_core(core, 41)
    assert core.add(cancel(1), 10.0).key.number == 42


def test_an_overloaded_server_is_asked_again_in_order() -> None:
    core = SessionCore("s")
    open_core(core, 0)
    core.add(cancel(1), 10.0)
    (first,) = outgoing(core, 0.0)
    core.add(cancel(2), 10.0)
    error = pb.SessionError(code=8)
    error.refusal.code = "ENGINE_OVERLOADED"
    assert core.take(pb.SessionResponse(tag=first.tag, error=error), find, 0.0, 0.5) == []
    assert outgoing(core, 0.0) == []  # the second one waits behind the first
    wakes_at_s = core.wakes_at_s()
    assert wakes_at_s is not None
    assert [message.tag for message in outgoing(core, wakes_at_s)] == [1, 2]


def test_never_sent_is_unavailable_and_sent_is_unknown() -> None:
    core = SessionCore("s")
    open_core(core, 0)
    core.add(cancel(1), 1.0)
    outgoing(core, 0.0)
    core.begin(0.5, 0.5)
    core.add(cancel(2), 1.0)
    sent, unsent = core.expire(1.0, 0.5)
    assert isinstance(sent.error, OutcomeUnknown)
    assert str(sent.error.key) == "s/1"
    assert isinstance(unsent.error, ServerUnavailable)


def test_the_end_of_the_session_ends_every_request() -> None:
    core = SessionCore("s")
    open_core(core, 0)
    core.add(cancel(1), 1.0)
    outgoing(core, 0.0)
    core.add(cancel(2), 1.0)
    sent, unsent = core.end(Refused("taken over", "SESSION_TAKEN"))
    assert isinstance(sent.error, OutcomeUnknown)
    assert isinstance(unsent.error, Refused)


def test_updates_resume_after_the_last_one_told() -> None:
    core = SessionCore("s", cancel_on_disconnect_ms=1500)
    request, _ = core.begin(0.0, 0.5)
    assert request.open.cancel_on_disconnect_ms == 1500
    assert not request.open.HasField("after_seq")
    core.take(pb.SessionResponse(opened=pb.SessionOpened(seq=7)), find, 0.0, 0.5)
    assert core.begin(0.0, 0.5)[0].open.after_seq == 7
    (batch,) = core.take(pb.SessionResponse(updates=pb.WatchOrdersResponse(seq=9)), find, 0.0, 0.5)
    assert isinstance(batch, OrderBatch)
    assert core.begin(0.0, 0.5)[0].open.after_seq == 9


def test_a_snapshot_that_broke_off_does_not_go_on_in_the_next_stream() -> None:
    core = SessionCore("s")
    open_core(core, 0)
    core.take(pb.SessionResponse(updates=pb.WatchOrdersResponse(is_snapshot=True)), find, 0.0, 0.5)
    open_core(core, 0)
    (batch,) = core.take(pb.SessionResponse(updates=pb.WatchOrdersResponse(seq=9)), find, 0.0, 0.5)
    assert isinstance(batch, OrderBatch)
    assert not batch.is_snapshot
