"""What is told while a plan is carried out. Immutable, so that whoever listens may keep them."""

from __future__ import annotations

import msgspec

from labtest.core.choreography import RunState
from labtest.core.steps import Step

__all__ = ["DeployEvent", "RunBegan", "RunEnded", "StepBegan", "StepEnded"]


class RunBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A run begins. ``title``: ``apply``, ``rollback``, …"""

    title: str
    steps: tuple[Step, ...]


class StepBegan(msgspec.Struct, frozen=True, kw_only=True):
    """A step begins."""

    step: Step
    title: str


class StepEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A step has ended. ``said``: the agent's line, or what was wrong."""

    step: Step
    title: str
    is_ok: bool
    said: str = ""


class RunEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A run has ended."""

    title: str
    state: RunState
    text: str = ""


DeployEvent = RunBegan | StepBegan | StepEnded | RunEnded
