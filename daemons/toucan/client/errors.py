"""Errors of the client library, typed by whose move it is; the class is the contract, the message is for a person.

* Yours, and nothing was done: :class:`InvalidRequest` (found here, never sent), :class:`Denied` (a limit), :class:`Refused` (it makes no sense as
  things stand), :class:`NotEntitled`, :class:`Unauthenticated`.
* Nobody's, and nothing was done; try again later: :class:`ServerUnavailable`.
* Yours, with care: :class:`OutcomeUnknown`. The request may have been carried out; asking again under its key is always safe.
* The operator's: :class:`ServerFault`.

A *rejection* is none of these: that is the venue's word, and comes as an order's status.
"""

from __future__ import annotations

from toucan.client.values import Denial, RequestKey

__all__ = [
    "Denied",
    "InvalidRequest",
    "NotEntitled",
    "OutcomeUnknown",
    "Refused",
    "ServerFault",
    "ServerUnavailable",
    "ToucanError",
    "Unauthenticated",
    "UnknownInstrument",
]


class ToucanError(Exception):
    """Base of all errors that the client raises on purpose. ``code`` is for programs, ``message`` for people."""

    code = "ERROR"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidRequest(ToucanError, ValueError):
    """Not sent: a number between two steps, an unknown symbol, an account that is not said and cannot be inferred."""

    code = "INVALID_REQUEST"


class UnknownInstrument(InvalidRequest):
    """The instrument table has no such symbol."""

    code = "UNKNOWN_INSTRUMENT"


class Denied(ToucanError):
    """A limit would be passed; nothing was sent to the venue. If :attr:`can_be_confirmed`, the same request with ``is_confirmed`` passes."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.text or f"denied by {denial.limit or denial.code}", denial.code)
        self.denial = denial

    @property
    def can_be_confirmed(self) -> bool:
        """Whether it was a soft limit."""
        return self.denial.can_be_confirmed


class Refused(ToucanError):
    """Not carried out: it makes no sense as things stand. :attr:`code` is one such as ``UNKNOWN_ORDER``."""


class NotEntitled(ToucanError, PermissionError):
    """The server knows who asks, and he may not do this."""

    code = "NOT_ENTITLED"


class Unauthenticated(ToucanError, PermissionError):
    """The server does not know who asks: the token or certificate is missing, wrong or expired."""

    code = "UNAUTHENTICATED"


class ServerUnavailable(ToucanError, ConnectionError):
    """Nobody answers, and nothing was done: the request never reached an engine."""

    code = "SERVER_UNAVAILABLE"


class ServerFault(ToucanError):
    """A bug in the server, or two different versions of aviary; the server's log says more."""

    code = "SERVER_FAULT"


class OutcomeUnknown(ToucanError, TimeoutError):
    """No answer came in time: it was carried out, or will be, or never. :attr:`key` makes it safe to ask again.

    ``toucan.ask_again(error)`` sends it again under the same key: what it returns is the answer to the one execution; a :class:`Refused` with the
    code ``REQUEST_SUPERSEDED`` says that it never was and never will be executed.
    """

    code = "OUTCOME_UNKNOWN"

    def __init__(self, message: str, key: RequestKey, request: object) -> None:
        super().__init__(message)
        self.key = key
        #: For ``ask_again``.
        self.request = request
