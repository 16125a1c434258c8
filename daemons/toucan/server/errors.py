"""How a call can fail, typed by whose move it is; each carries the gRPC status and the machine-readable code that its client sees.

* the caller's: :class:`InvalidRequest`, :class:`NotAuthenticated`, :class:`NotEntitled`, :class:`NotFound`, :class:`Conflict`;
* nobody's, send it again: :class:`Exhausted`, :class:`Away`, :class:`Expired`;
* unknown until it is sent again: :class:`OutcomeUnknown`.

What the engine answers is no error here: :mod:`toucan.server.translate.statuses` turns it into one of the same form, :class:`EngineSaid`.
"""

from __future__ import annotations

import enum

import grpc

from toucan.core.outcomes import Denial
from toucan.server.limits import ERROR_TEXT_CHARACTERS_MAX

__all__ = [
    "Away",
    "CallError",
    "Conflict",
    "EngineSaid",
    "Exhausted",
    "Expired",
    "FrontCode",
    "InvalidRequest",
    "NotAuthenticated",
    "NotEntitled",
    "NotFound",
    "OutcomeUnknown",
]


class FrontCode(enum.StrEnum):
    """Codes of refusals that a front end makes itself, beside the engine's (:class:`toucan.core.outcomes.Refusal`)."""

    #: A field of a message cannot be understood; the detail google.rpc.BadRequest names it. (INVALID_ARGUMENT)
    INVALID_REQUEST = "INVALID_REQUEST"
    #: The number was used for a request of another kind or for another order: what was answered then is no answer to this one. (INVALID_ARGUMENT)
    KEY_REUSED = "KEY_REUSED"
    #: Nobody knows who asks: no token, a wrong one, or a certificate of nobody's. (UNAUTHENTICATED)
    UNAUTHENTICATED = "UNAUTHENTICATED"
    #: Who asks may not do this, or not on this account, symbol or node. (PERMISSION_DENIED)
    NOT_ENTITLED = "NOT_ENTITLED"
    #: Too many requests of the session, or of all, are waiting; nothing was done, send it again. (RESOURCE_EXHAUSTED)
    QUEUE_FULL = "QUEUE_FULL"
    #: The user, or all users together, have as many streams open as there may be. (RESOURCE_EXHAUSTED)
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    #: The engine is away; nothing was sent, or its answer was lost: it is known after the same key was sent again. (UNAVAILABLE)
    ENGINE_AWAY = "ENGINE_AWAY"
    #: The event that ``min_seq`` asks for has not come in time. (DEADLINE_EXCEEDED)
    NOT_CAUGHT_UP = "NOT_CAUGHT_UP"
    #: A stream's client did not take what it was sent; it can resume. (RESOURCE_EXHAUSTED)
    SLOW_CONSUMER = "SLOW_CONSUMER"
    #: Another stream of the same session has taken its place. (ABORTED)
    SESSION_TAKEN_OVER = "SESSION_TAKEN_OVER"
    #: What the user may do has changed: open the stream again. (ABORTED)
    ENTITLEMENTS_CHANGED = "ENTITLEMENTS_CHANGED"
    #: The front end is being stopped: go to another one, or come back. (UNAVAILABLE)
    STOPPING = "STOPPING"
    #: A bug of ours; the log of the front end says more. (INTERNAL)
    INTERNAL = "INTERNAL"


class CallError(Exception):
    """Ends a call with a status. ``code`` is for programs, the text for people."""

    status = grpc.StatusCode.INTERNAL
    code: str = FrontCode.INTERNAL

    def __init__(
        self, text: str, *, code: str | None = None, field: str = "", denial: Denial | None = None
    ) -> None:
        text = text if len(text) <= ERROR_TEXT_CHARACTERS_MAX else text[: ERROR_TEXT_CHARACTERS_MAX - 1] + "…"
        super().__init__(text)
        self.text = text
        self.code = self.code if code is None else code
        #: The request's field that is wrong, such as ``terms.side``.
        self.field = field
        self.denial = denial

    @property
    def outcome(self) -> str:
        """One of a bounded number of words, for logs and metrics."""
        return "DENIED" if self.denial is not None else self.code or self.status.name


class InvalidRequest(CallError):
    """A message that makes no sense by itself."""

    status = grpc.StatusCode.INVALID_ARGUMENT
    code = FrontCode.INVALID_REQUEST


class NotAuthenticated(CallError):
    """Nobody knows who asks."""

    status = grpc.StatusCode.UNAUTHENTICATED
    code = FrontCode.UNAUTHENTICATED


class NotEntitled(CallError):
    """Who asks may not."""

    status = grpc.StatusCode.PERMISSION_DENIED
    code = FrontCode.NOT_ENTITLED


class NotFound(CallError):
    """There is no such thing, or not for the one who asks; which of the two is not told."""

    status = grpc.StatusCode.NOT_FOUND


class Conflict(CallError):
    """Somebody else's action came first; what to do is in the code."""

    status = grpc.StatusCode.ABORTED


class Exhausted(CallError):
    """A limit of this front end; nothing was done."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Away(CallError):
    """The engine or this front end is away. The outcome is unknown until the same is sent again."""

    status = grpc.StatusCode.UNAVAILABLE
    code = FrontCode.ENGINE_AWAY


class Expired(CallError):
    """The deadline has passed before anything was done."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class OutcomeUnknown(CallError):
    """The deadline has passed while the engine was asked. The only status without a refusal beside it: it may or may not have been carried out."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED
    code = ""


class EngineSaid(CallError):
    """The engine's refusal or denial."""

    def __init__(
        self, status: grpc.StatusCode, text: str, *, code: str = "", denial: Denial | None = None
    ) -> None:
        super().__init__(text, code=code, denial=denial)
        self.status = status
