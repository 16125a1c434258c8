"""What was prepared, and what came of it."""

from __future__ import annotations

import enum

import msgspec

from labtest.core.actual import Actual
from labtest.core.ask import Ask
from labtest.core.change_values import Change
from labtest.core.plan import Planned
from labtest.core.steps import Plan
from labtest.core.target import Blobs, Target

__all__ = ["Ending", "Outcome", "Prepared", "Problem"]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, pinned to what it was made from, with all that carrying it out needs."""

    #: ``apply``, ``rollback``, ``resume``, ``down``, or whatever it was planned for, e.g. ``restart``.
    title: str
    planned: Planned
    target: Target
    #: Contents that the state folder may not have yet.
    blobs: Blobs
    #: Where a rollback leads.
    before: Target
    ask: Ask
    actual: Actual
    #: In effect when it ends well.
    changes: tuple[Change, ...]
    pending: tuple[Change, ...]
    #: In effect where a rollback leads.
    changes_before: tuple[Change, ...]
    pending_before: tuple[Change, ...]
    spec_sha256: str
    serial: int
    #: What people should know beforehand.
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        return self.planned.plan


class Ending(enum.StrEnum):
    """How carrying out a plan has ended."""

    DONE = "done"
    #: Something failed, and all is as it was before.
    ROLLED_BACK = "rolled back"
    #: Something failed, and all is as it was when it did: :attr:`Outcome.left` says how that differs.
    FAILED = "failed"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A step that failed, or of which nobody knows."""

    host: str
    title: str
    error: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What carrying out a plan came to."""

    title: str
    ending: Ending
    steps_done: int
    #: In order of the steps; those of a rollback after those that led to it.
    problems: tuple[Problem, ...] = ()
    #: How what is there differs from the target that it should be at now: of ``FAILED``, from where it came from, if going back was tried, else
    #: from where it was to go; of ``DONE``, what was left as it is on purpose, with the reason.
    left: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Of a command that ends with it."""
        return 0 if self.ending is Ending.DONE else 1

    def lines(self) -> list[str]:
        """For people."""
        said = {
            Ending.DONE: f"{self.title}: done, {self.steps_done} steps",
            Ending.ROLLED_BACK: f"{self.title} failed, and everything is as it was before",
            Ending.FAILED: f"{self.title} failed after {self.steps_done} steps",
        }
        lines = [f"{one.host}: {one.title}: {one.error}" for one in self.problems]
        lines += [f"still different: {text}" for text in self.left]
        if self.unreachable:
            lines.append(f"not known, since they do not answer: {', '.join(self.unreachable)}")
        return [said[self.ending], *lines]
