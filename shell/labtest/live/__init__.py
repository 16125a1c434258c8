"""Environments in the hands of a test or a notebook: one object that blocks, over hosts, processes, plans and faults."""

from __future__ import annotations

from labtest.live.environment import LiveEnvironment
from labtest.live.errors import ApplyFailed, CallLate, EnvironmentClosed, EnvironmentDiffers
from labtest.live.host import LiveHost
from labtest.live.process import LiveProcess
from labtest.live.ran import Ran

__all__ = [
    "LiveEnvironment",
    "LiveHost",
    "LiveProcess",
    "Ran",
    "ApplyFailed",
    "CallLate",
    "EnvironmentClosed",
    "EnvironmentDiffers",
]
