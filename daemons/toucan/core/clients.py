"""What is remembered of each client: the answers to its last requests, and whether its session stream stands.

Law: a request is executed at most once. Its number decides: one that was answered gets the same answer; one below the newest that was never seen can
not be told from one that is still under way somewhere, so it is refused for good (``REQUEST_SUPERSEDED``); one so old that its answer is no longer
kept is refused as well (``REQUEST_FORGOTTEN``): its outcome stands in the journal. Rejected: random keys, of which all would have to be
kept for ever to make the same promise.
"""

from __future__ import annotations

import msgspec

from toucan.core.limits import ANSWERS_KEPT_MAX
from toucan.core.outcomes import Outcome, Refusal, Refused

__all__ = ["ClientRecord", "SessionRecord"]


class SessionRecord(msgspec.Struct):
    """A session stream; ``lost_at_ns`` is set while it is broken off and its grace time runs."""

    #: None: its orders stay when it breaks off.
    grace_ns: int | None = None
    lost_at_ns: int | None = None
    #: The event that opened it.
    opened_seq: int = 0


class ClientRecord(msgspec.Struct):
    """One client's answers, the oldest first, and its session."""

    last_number: int = 0
    answers: dict[int, Outcome] = msgspec.field(default_factory=dict)
    #: Of what was asked under each of these numbers.
    fingerprints: dict[int, int] = msgspec.field(default_factory=dict)
    #: Whether answers were dropped: a number below all that are kept may then have been executed.
    has_forgotten: bool = False
    last_at_ns: int = 0
    session: SessionRecord | None = None

    def recall(self, number: int, fingerprint: int | None = None) -> Outcome | None:
        """The answer for a number that may not be executed (any more); None: it is new.

        ``fingerprint`` is of what is asked now: another question under an answered number is not answered with that.
        """
        known = self.answers.get(number)
        if known is not None:
            if fingerprint is not None and self.fingerprints.get(number, fingerprint) != fingerprint:
                return Refused(
                    Refusal.KEY_REUSED,
                    f"request {number} of this session was another one; send this with a new number",
                )
            return known
        if number > self.last_number:
            return None
        if self.has_forgotten and number < next(iter(self.answers)):
            return Refused(
                Refusal.REQUEST_FORGOTTEN,
                f"request {number} is older than the last {ANSWERS_KEPT_MAX} of this session: whether it was executed is in the audit trail",
            )
        return Refused(
            Refusal.REQUEST_SUPERSEDED,
            f"request {number} was never seen before {self.last_number}, and will not be executed; send what is still wanted with a new number",
        )

    def remember(self, number: int, outcome: Outcome, at_ns: int, fingerprint: int = 0) -> None:
        """Keeps an answer, and drops the oldest one too many."""
        self.answers[number] = outcome
        self.fingerprints[number] = fingerprint
        self.last_number = max(self.last_number, number)
        self.last_at_ns = at_ns
        if len(self.answers) > ANSWERS_KEPT_MAX:
            oldest = next(iter(self.answers))
            del self.answers[oldest]
            self.fingerprints.pop(oldest, None)
            self.has_forgotten = True
