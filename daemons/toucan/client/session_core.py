"""A session stream without its socket: which request goes next, which answer belongs to whom, what is sent again after a break.

Law: messages and values; no channel, no thread, time and chance are arguments. A request that was added gets exactly one result: its answer, an
error that says it was not carried out, or OutcomeUnknown when its time is over. Requests go out in the order of their numbers, no more than a
window of them unanswered, and after a break all that are unanswered go out again before anything new. Numbers begin after the last one that the
server has answered in this session, which is also right after a restart of the program.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client.calls import NO_TABLE, Call, unknown_outcome
from toucan.client.decode import Find
from toucan.client.errors import Refused, ServerUnavailable, ToucanError
from toucan.client.failures import Failure, failure_of_session_error
from toucan.client.keys import check_session_name
from toucan.client.limits import SESSION_QUEUE_MAX, SESSION_WINDOW_MAX
from toucan.client.resending import Again, GiveUp, Renumber, Resending, Unknown
from toucan.client.streams import OrderBatch, OrderResume
from toucan.client.values import RequestKey

__all__ = ["Result", "SessionCore", "Ticket"]

_BODIES: dict[type[Any], str] = {
    pb.SubmitOrderRequest: "submit",
    pb.CancelOrderRequest: "cancel",
    pb.ReplaceOrderRequest: "replace",
    pb.MassCancelRequest: "mass_cancel",
}


@dataclass(slots=True, order=True)
class Ticket:
    """A request on its way; ordered by its number, which is also its tag."""

    number: int
    key: RequestKey = field(compare=False)
    call: Call[Any] = field(compare=False)
    message: pb.SessionRequest = field(compare=False)
    deadline_s: float = field(compare=False)
    resending: Resending = field(compare=False)
    #: Not sent (again) sooner than this.
    not_before_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request: ``value`` is its answer unless there is an ``error``."""

    ticket: Ticket
    value: Any = None
    error: ToucanError | None = None


class SessionCore:
    """One session over all its streams. Times are in s on any clock that does not go back."""

    def __init__(
        self, name: str, *, cancel_on_disconnect_ms: int | None = None, after_seq: int | None = None
    ) -> None:
        self.name = check_session_name(name)
        self._grace_ms = cancel_on_disconnect_ms
        self._resume = OrderResume(after_seq)
        self._next_number = 1
        self._waiting: list[Ticket] = []
        self._sent: dict[int, Ticket] = {}
        #: The server has said which number is next.
        self.is_open = False
        #: The server has taken the orderly end.
        self.is_closed = False

    @property
    def unanswered(self) -> int:
        """Requests without a result."""
        return len(self._waiting) + len(self._sent)

    # --- out ---

    def add(self, call: Call[Any], deadline_s: float) -> Ticket:
        """A request to be sent. Raises :class:`~toucan.client.errors.Refused` if far too many are waiting."""
        if len(self._waiting) >= SESSION_QUEUE_MAX:
            raise Refused(
                f"{SESSION_QUEUE_MAX} requests of this session wait to be sent; nothing was done with this one",
                "TOO_MANY_WAITING",
            )
        number, self._next_number = self._next_number, self._next_number + 1
        key = RequestKey(self.name, number)
        body: Any = type(call.request)()
        body.CopyFrom(call.request)
        body.key.session, body.key.number = key.session, key.number
        message = pb.SessionRequest(tag=number, **{_BODIES[type(body)]: body})
        ticket = Ticket(
            number, key, call, message, deadline_s, Resending(is_mutating=True, deadline_s=deadline_s)
        )
        self._waiting.append(ticket)
        return ticket

    def begin(self, now_s: float, chance: float) -> tuple[pb.SessionRequest, list[Result]]:
        """A new stream: its first message, and results of requests for which it comes too late."""
        self.is_open = False
        self._resume.begin()
        results: list[Result] = []
        for ticket in list(self._sent.values()):
            results += self._failed(ticket, Failure("UNAVAILABLE", "the stream broke off"), now_s, chance)
        for ticket in self._waiting:
            ticket.not_before_s = 0.0  # the pause was for the old stream
        opening = pb.OpenSession(
            session=self.name, cancel_on_disconnect_ms=self._grace_ms, after_seq=self._resume.after_seq
        )
        return pb.SessionRequest(open=opening), results

    def next_message(self, now_s: float) -> pb.SessionRequest | None:
        """What may be sent now."""
        if not self.is_open or not self._waiting or len(self._sent) >= SESSION_WINDOW_MAX:
            return None
        # In order: what has to wait before it is sent again holds up what comes after it.
        if self._waiting[0].not_before_s > now_s:
            return None
        ticket = self._waiting.pop(0)
        self._sent[ticket.number] = ticket
        return ticket.message

    def wakes_at_s(self) -> float | None:
        """When :meth:`next_message`, which has nothing now, may have something although nothing happened; None: never."""
        if not self.is_open or not self._waiting or len(self._sent) >= SESSION_WINDOW_MAX:
            return None
        return self._waiting[0].not_before_s

    def closing(self) -> pb.SessionRequest:
        """The orderly end."""
        return pb.SessionRequest(close=pb.CloseSession())

    # --- in ---

    def take(
        self, response: pb.SessionResponse, find: Find, now_s: float, chance: float
    ) -> list[Result | OrderBatch]:
        """What a message says. May raise :class:`~toucan.client.errors.UnknownInstrument`, and then nothing was taken."""
        body = response.WhichOneof("body")
        if body == "opened":
            self.is_open = True
            self._next_number = max(self._next_number, response.opened.last_number + 1)
            if self._resume.after_seq is None:
                self._resume.after_seq = response.opened.seq
        elif body == "updates":
            return [self._resume.take(response.updates, find)]
        elif body == "closed":
            self.is_closed = True
        elif body is not None and (ticket := self._sent.get(response.tag)) is not None:
            if body == "error":
                return list(self._failed(ticket, failure_of_session_error(response.error), now_s, chance))
            del self._sent[ticket.number]
            return [Result(ticket, ticket.call.read(getattr(response, body), NO_TABLE, ticket.key))]
        return []

    def _failed(self, ticket: Ticket, failure: Failure, now_s: float, chance: float) -> Iterable[Result]:
        del self._sent[ticket.number]
        match ticket.resending.after(failure, now_s, chance):
            case Again(pause):
                ticket.not_before_s = now_s + pause
                insort(self._waiting, ticket)
                return ()
            case GiveUp(error):
                return (Result(ticket, error=error),)
            case Unknown(text):
                return (Result(ticket, error=unknown_outcome(ticket.call, ticket.key, text)),)
            case Renumber():
                raise AssertionError("a session's requests keep their numbers")

    def expire(self, now_s: float, chance: float) -> list[Result]:
        """Results of the requests whose time is over."""
        results: list[Result] = []
        for ticket in [ticket for ticket in self._sent.values() if ticket.deadline_s <= now_s]:
            results += self._failed(
                ticket, Failure("DEADLINE_EXCEEDED", "no answer came in time"), now_s, chance
            )
        for ticket in [ticket for ticket in self._waiting if ticket.deadline_s <= now_s]:
            self._waiting.remove(ticket)
            results.append(self._never_answered(ticket, None))
        return results

    def end(self, error: ToucanError) -> list[Result]:
        """The session is over for good; results of all that is unanswered."""
        self.is_open = False
        results = [
            Result(ticket, error=unknown_outcome(ticket.call, ticket.key, error.message))
            for ticket in self._sent.values()
        ]
        results += [self._never_answered(ticket, error) for ticket in self._waiting]
        self._sent.clear()
        self._waiting.clear()
        return results

    def _never_answered(self, ticket: Ticket, error: ToucanError | None) -> Result:
        if ticket.resending.may_be_executed:
            text = error.message if error else "no answer came in time"
            return Result(ticket, error=unknown_outcome(ticket.call, ticket.key, text))
        return Result(
            ticket, error=error or ServerUnavailable("not sent: the session had no connection in time")
        )
