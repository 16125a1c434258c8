"""What follows when an attempt at a request was not answered with OK: again, again under another number, or an error.

Law: a decision of values; time and chance are arguments. What is promised: as long as nobody knows whether a request was carried out, it is sent
again under the same key, and if the time is over before anybody knows, the error is OutcomeUnknown and nothing else. A request that is known never
to have been carried out is never reported as unknown, and another key is taken only when the engine has said that the first will never be
executed.
"""

from __future__ import annotations

from dataclasses import dataclass

from toucan.client.errors import Refused, ServerUnavailable, ToucanError
from toucan.client.failures import Failure
from toucan.client.limits import PAUSE_S_MAX, PAUSE_S_MIN

__all__ = ["Again", "GiveUp", "Renumber", "Resending", "Step", "Unknown", "pause_s"]

#: The number was never executed and never will be.
_SUPERSEDED = "REQUEST_SUPERSEDED"
#: The number is too old for its answer to be known.
_FORGOTTEN = "REQUEST_FORGOTTEN"
#: No answer to what was asked: the same may be asked again.
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN", "DATA_LOSS", "ABORTED")
#: Said before the engine was asked: they say nothing of an earlier attempt.
_NOT_THE_ENGINES = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED")
#: Said by the engine or for it, and final although the status sounds like trouble on the way.
_FINAL_REFUSAL_STATUSES = ("DEADLINE_EXCEEDED", "ABORTED")


@dataclass(frozen=True, slots=True)
class Again:
    """The same request under the same key, ``pause_s`` from now."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Renumber:
    """The same request under a new key; the old one is dead."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The time is over, and whether it was carried out is not known."""

    text: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It was not carried out."""

    error: ToucanError


Step = Again | Renumber | Unknown | GiveUp


def pause_s(attempt: int, chance: float) -> float:
    """The pause after ``attempt`` (from 0) failed attempts; ``chance`` in [0, 1) spreads clients that lost the same server."""
    longest = min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(attempt, 32))
    return longest * (0.5 + 0.5 * chance)


class Resending:
    """One request from its first attempt to its end. Times are in s on any clock that does not go back."""

    def __init__(
        self,
        *,
        is_mutating: bool,
        deadline_s: float,
        connect_deadline_s: float | None = None,
        may_renumber: bool = False,
    ) -> None:
        self._is_mutating = is_mutating
        self._deadline_s = deadline_s
        #: Until then a connection is tried for a request that never went out.
        self._connect_deadline_s = deadline_s if connect_deadline_s is None else connect_deadline_s
        self._may_renumber = may_renumber
        self._attempts = 0
        #: The text of the last failure that was more than a deadline; it says more than that the last attempt was cut off.
        self._last_reason = ""
        #: An attempt may have reached the engine.
        self.may_be_executed = False

    def after(self, failure: Failure, now_s: float, chance: float) -> Step:
        """What follows a failed attempt."""
        attempt, self._attempts = self._attempts, self._attempts + 1
        if failure.refusal_code or failure.status != "DEADLINE_EXCEEDED":
            self._last_reason = failure.text
        if failure.refusal_code in (_SUPERSEDED, _FORGOTTEN):
            return self._after_stale_number(failure)
        if not self._is_worth_another(failure):
            return self._end(failure)
        self.may_be_executed |= self._may_have_arrived(failure)
        pause = pause_s(attempt, chance)
        is_unsent = failure.is_unsent and not self.may_be_executed
        if now_s + pause >= (self._connect_deadline_s if is_unsent else self._deadline_s):
            return self._end(failure)
        return Again(pause)

    def _after_stale_number(self, failure: Failure) -> Step:
        if failure.refusal_code == _FORGOTTEN and (self.may_be_executed or not self._may_renumber):
            return Unknown(failure.text)
        if self._may_renumber:
            self.may_be_executed = self._may_renumber = False
            return Renumber()
        return GiveUp(failure.error())

    def _is_worth_another(self, failure: Failure) -> bool:
        if failure.denial is not None:
            return False
        if failure.status == "RESOURCE_EXHAUSTED":
            return bool(failure.refusal_code)
        if failure.refusal_code and failure.status in _FINAL_REFUSAL_STATUSES:
            return False
        if failure.status in ("INTERNAL", "UNKNOWN", "DATA_LOSS") and not self._is_mutating:
            return False
        return failure.status in _NO_ANSWER

    def _may_have_arrived(self, failure: Failure) -> bool:
        return not failure.is_unsent and failure.status != "RESOURCE_EXHAUSTED"

    def _end(self, failure: Failure) -> Step:
        is_answer = failure.denial is not None or (
            bool(failure.refusal_code) and failure.status not in _NOT_THE_ENGINES
        )
        if self._is_mutating and self.may_be_executed and not is_answer:
            return Unknown(self._last_reason or failure.text)
        if failure.status == "UNAVAILABLE" and failure.refusal_code:
            return GiveUp(ServerUnavailable(failure.text))
        if failure.status == "RESOURCE_EXHAUSTED" and failure.refusal_code:
            return GiveUp(Refused(failure.text, failure.refusal_code))
        return GiveUp(failure.error())
