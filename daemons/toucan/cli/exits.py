"""Exit codes, and what a person is told of each error: what was wrong and what to do. One table; the reference page is written from it."""

from __future__ import annotations

import enum

from toucan.client.errors import (
    Denied,
    InvalidRequest,
    NotEntitled,
    OutcomeUnknown,
    Refused,
    ServerUnavailable,
    ToucanError,
    Unauthenticated,
)
from toucan.client.values import RequestKey

__all__ = ["EXIT_MEANINGS", "Exit", "Interrupted", "NeedsConfirmation", "advice", "exit_of", "kind_of"]


class Exit(enum.IntEnum):
    """Exit codes; numbers never change their meaning."""

    OK = 0
    ERROR = 1
    USAGE = 2
    DENIED = 3
    REFUSED = 4
    OUTCOME_UNKNOWN = 5
    UNREACHABLE = 6
    NOT_ENTITLED = 7
    NEEDS_CONFIRMATION = 8
    REJECTED = 9
    #: 128 + SIGINT, as shells report it.
    INTERRUPTED = 130


EXIT_MEANINGS: dict[Exit, str] = {
    Exit.OK: "done; of a new order: it is durable and within all limits",
    Exit.ERROR: "something else went wrong: a fault of the server, an unreadable file",
    Exit.USAGE: "what was typed makes no sense: an unknown option, a price off the tick, an account that is not clear; nothing was sent",
    Exit.DENIED: "a limit would be passed; nothing went to the venue",
    Exit.REFUSED: "it makes no sense as things stand: the order is over or unknown, the node does not exist",
    Exit.OUTCOME_UNKNOWN: "no answer came in time; it may have been carried out. The message has the key for `--again`, which is always safe",
    Exit.UNREACHABLE: "nobody answers at the server's address; nothing was done",
    Exit.NOT_ENTITLED: "the server does not know who asks, or he may not do this",
    Exit.NEEDS_CONFIRMATION: "a soft limit would be passed and nobody was there to ask; nothing was done. `--yes` confirms",
    Exit.REJECTED: "the venue has rejected the order",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}


class NeedsConfirmation(ToucanError):
    """A question to a person could not be asked, or he said no."""

    code = "NEEDS_CONFIRMATION"


class Interrupted(ToucanError):
    """Ctrl-C while a request that changes something was under way; ``key`` is that under which it was sent."""

    code = "INTERRUPTED"

    def __init__(self, key: RequestKey) -> None:
        super().__init__("interrupted while a request was under way: it may have been carried out")
        self.key = key


_EXITS: tuple[tuple[type[ToucanError], Exit], ...] = (
    (Interrupted, Exit.INTERRUPTED),
    (NeedsConfirmation, Exit.NEEDS_CONFIRMATION),
    (InvalidRequest, Exit.USAGE),
    (Denied, Exit.DENIED),
    (Refused, Exit.REFUSED),
    (OutcomeUnknown, Exit.OUTCOME_UNKNOWN),
    (ServerUnavailable, Exit.UNREACHABLE),
    (NotEntitled, Exit.NOT_ENTITLED),
    (Unauthenticated, Exit.NOT_ENTITLED),
)


def exit_of(error: ToucanError) -> Exit:
    """The exit code of an error."""
    return next((code for kind, code in _EXITS if isinstance(error, kind)), Exit.ERROR)


def kind_of(error: ToucanError) -> str:
    """The error's kind in JSON, such as "denied"."""
    return exit_of(error).name.lower().replace("_", "-")


def advice(error: ToucanError, server: str) -> str:
    """The line that a person reads."""
    match error:
        case Denied(denial=denial) if denial.can_be_confirmed:
            return f"denied: {error.message}. It is a soft limit: --yes confirms it"
        case Denied():
            return f"denied: {error.message} ({error.code})"
        case Refused() if error.code == "REQUEST_SUPERSEDED":
            return "it was not carried out and never will be; give the command again without --again if it is still wanted"
        case Refused():
            return f"refused: {error.message} ({error.code})"
        case OutcomeUnknown() | Interrupted():
            return f"{error.message}. `toucan orders` shows what is there; the same command with --again {error.key} asks for the answer"
        case ServerUnavailable():
            return f"{error.message}. Is `toucan server` running there? --server or $TOUCAN_SERVER names another address ({server})"
        case NotEntitled():
            return f"not entitled: {error.message}. `toucan whoami` lists what you may do"
        case Unauthenticated():
            return f"not authenticated: {error.message}. --token-file or $TOUCAN_TOKEN_FILE, or --tls-certificate and --tls-key, say who you are"
        case InvalidRequest() if error.code == "WHICH_ACCOUNT":
            return f"{error.message}. Say it with --account or $TOUCAN_ACCOUNT"
    return error.message
