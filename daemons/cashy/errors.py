"""Errors of cashy, typed by what went wrong; the class is the contract, the message is for a person.

Errors that travel over the client socket carry the name of their ``Failure.Code`` (``protos/aviary/cashy/v1/control.proto``) in
:attr:`CashyError.code`, so edges translate and never re-decide. The groups say whose move it is:

* the caller's: :class:`InvalidName`, :class:`NoSuchBucket`, :class:`NoSuchObject`, :class:`AccessDenied`, :class:`InvalidRequest`,
  :class:`TooLarge`, :class:`ViewTooLarge`, :class:`PinQuotaExceeded`, :class:`DeadlineExceeded`, :class:`ConfigError`, :class:`CannotStart`;
* nobody's, try again: :class:`VersionChanged`, :class:`SlowDown`, :class:`ArenaFull`, :class:`NotConnected`;
* the origin's: :class:`OriginUnavailable`, :class:`OriginTimeout`, :class:`OriginInvalid`;
* ours: :class:`InternalError`.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "ArenaFull",
    "CannotStart",
    "CashyError",
    "ConfigError",
    "DeadlineExceeded",
    "InternalError",
    "InvalidName",
    "InvalidRequest",
    "NoSuchBucket",
    "NoSuchObject",
    "NotConnected",
    "OriginInvalid",
    "OriginTimeout",
    "OriginUnavailable",
    "PinQuotaExceeded",
    "SlowDown",
    "TooLarge",
    "VersionChanged",
    "ViewTooLarge",
    "error_for_code",
]


class CashyError(Exception):
    """Base of all errors that cashy raises on purpose."""

    code = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoSuchObject(CashyError, FileNotFoundError):
    """The origin has the bucket (or folder) but no such object."""

    code = "NO_SUCH_OBJECT"


class NoSuchBucket(CashyError, FileNotFoundError):
    """No configured origin has the bucket."""

    code = "NO_SUCH_BUCKET"


class InvalidName(CashyError, ValueError):
    """The object's name is malformed, or lies outside every configured origin."""

    code = "INVALID_NAME"


class VersionChanged(CashyError):
    """The object was replaced between two parts of one read; reading again gives the new version."""

    code = "VERSION_CHANGED"


class AccessDenied(CashyError, PermissionError):
    """The origin (or this daemon) refused the credentials used."""

    code = "ACCESS_DENIED"


class OriginUnavailable(CashyError, ConnectionError):
    """The origin refused or reset the connection, or answered with a server error."""

    code = "ORIGIN_UNAVAILABLE"


class OriginTimeout(CashyError, TimeoutError):
    """The origin gave no answer, or no further bytes, within its time limit."""

    code = "ORIGIN_TIMEOUT"


class OriginInvalid(CashyError):
    """The origin broke its protocol: a short body, another range than was asked, no size."""

    code = "ORIGIN_INVALID"


class DeadlineExceeded(CashyError, TimeoutError):
    """The deadline that the caller gave has passed; what was under way for it alone was given up."""

    code = "DEADLINE_EXCEEDED"


class ArenaFull(CashyError, MemoryError):
    """No room can be made: every slot that could be evicted is pinned or being filled."""

    code = "ARENA_FULL"


class SlowDown(CashyError):
    """A queue is at its limit; nothing was started, try again later."""

    code = "SLOW_DOWN"


class TooLarge(CashyError, ValueError):
    """The request is larger than what the daemon serves in one piece."""

    code = "TOO_LARGE"


class ViewTooLarge(TooLarge):
    """One contiguous view of this size cannot be had on this host; ``blocks()`` or ``read()`` in windows can."""


class PinQuotaExceeded(CashyError, MemoryError):
    """This client already holds as many pinned bytes as it may; it must drop views first."""

    code = "TOO_LARGE"


class NotConnected(CashyError, ConnectionError):
    """The host's daemon does not answer on its socket."""


class InvalidRequest(CashyError, ValueError):
    """The daemon did not understand the request: a bug, or two different versions of aviary."""

    code = "INVALID_REQUEST"


class InternalError(CashyError):
    """A bug in cashy; its log says more."""


class ConfigError(CashyError, ValueError):
    """A setting is wrong; the message names the file and line, or the option."""

    code = "INVALID_REQUEST"


class CannotStart(ConfigError):
    """The settings may be right, but this host does not allow what they ask for: a taken address, a missing mount. It may later."""


_BY_CODE: dict[str, type[CashyError]] = {
    cls.code: cls
    for cls in (
        NoSuchObject, NoSuchBucket, InvalidName, VersionChanged, AccessDenied, OriginUnavailable, OriginTimeout, OriginInvalid,
        ArenaFull, SlowDown, TooLarge, InvalidRequest, DeadlineExceeded,
    )
}  # fmt: skip


def error_for_code(code: str, message: str) -> CashyError:
    """Makes the error that ``Failure.Code`` name ``code`` stands for; an unknown code is an :class:`InternalError`."""
    return _BY_CODE.get(code, InternalError)(message)
